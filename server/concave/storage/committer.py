"""Group commit: one task per node that validates what is queued and writes it as one batch (design.md section 3.5).

Life of a batch: take the queue, validate each member's read set against everything published since its snapshot
and against the earlier members, refuse the losers, append the rest as one log entry, publish, resolve.

Invariants:

* I1: a member is appended only if nothing it read has changed between its snapshot and its place in the log.
* One append is in flight at a time; transactions that finish meanwhile form the next batch.
* A member's `on_committed` runs before any listener hears of the commit, so that a client is told of its own
  mutation before the Transition that shows it (I4).
* A batch that the store refuses for one member's fault is split; the other members go on.
* The members of a **chain** have each seen the writes of those before them. They stand in the log in their order, and
  when one of them fails, those after it fail, too.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from concave.storage.recent_log import Hit, Published, TableProbes, probes, writer_of
from concave.storage.store import (
    DocumentWrite,
    IndexKeyChange,
    LogEntry,
    RequestRecord,
    SeqTaken,
    Store,
    StoredRequest,
    StoreError,
    WriteConflict,
    WriteRefused,
)
from concave.storage.timeline import Timeline
from concave.storage.turns import Turns
from concave.values.errors import (
    ConcaveError,
    ConflictError,
    ConvexError,
    DeveloperError,
    EngineError,
    OverloadError,
    conflict,
)
from concave.values.intervals import IntervalSet
from concave.values.runtime import Runtime
from concave.values.types import Timestamp

logger = logging.getLogger(__name__)

QUEUE_MAX = 4_096
"""Transactions that may wait; beyond it the node is overloaded and says so."""

BATCH_WRITES_MAX = 4_000
"""Documents in one batch: keeps a log entry of ordinary documents well below MongoDB's 16 MiB."""

FENCE_PAUSE_S = 0.5

SEQ_WAIT_S = 5.0
"""How long the feed may take to bring the entry that took our number, before we look for ourselves."""


BUSY_MEMBERS = 4
"""A node whose batch has so many members will most likely have another one soon, and wants another turn."""

TURN_WAIT_S = 2.0
"""How long to wait for a turn at most. After that it is a race: turns are a courtesy, and the log decides."""


class DuplicateRequestError(ConcaveError):
    """The mutation's (session, request) was committed before; `stored` is what it returned then (I6)."""

    def __init__(self, stored: StoredRequest) -> None:
        super().__init__("DuplicateRequest", "this request was committed before")
        self.stored = stored


@dataclass(slots=True, frozen=True)
class CommitRequest:
    """A finished transaction. `on_committed` is called synchronously with the commit's timestamp."""

    snapshot_ts: Timestamp
    read_set: IntervalSet
    writes: tuple[DocumentWrite, ...]
    function: str
    record: RequestRecord | None = None
    on_committed: Callable[[Timestamp], None] | None = None


@dataclass(slots=True, eq=False)
class _Chain:
    """What ties the members of one chain together."""

    intact: int
    """So many members of it, from the first one on, have not failed."""


@dataclass(slots=True)
class _Member:
    request: CommitRequest
    outcome: asyncio.Future[Timestamp]
    chain: _Chain | None = None
    place: int = 0
    """In its chain."""

    @property
    def has_lost_its_chain(self) -> bool:
        return self.chain is not None and self.place > self.chain.intact

    def break_chain(self) -> None:
        """Those after this member in its chain must fail."""
        if self.chain is not None:
            self.chain.intact = min(self.chain.intact, self.place)

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


@dataclass(slots=True)
class CommitterStatistics:
    """Counters since the start of the node."""

    batches: int = 0
    commits: int = 0
    conflicts: int = 0
    lost_races: int = 0
    batch_members_max: int = 0


@dataclass(slots=True)
class _BatchKeys:
    """The sorted keys that accepted members of a batch wrote, by (table, index).

    What the members of a chain wrote counts for those outside of it only, so it is `held` until the chain ends.
    """

    keys: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    chain: _Chain | None = None
    held: list[TableProbes] = field(default_factory=list)

    def enter(self, chain: _Chain | None) -> None:
        """The next member is one of this chain, or of none."""
        if chain is not self.chain:
            self.chain = chain
            for table_probes in self.held:
                self._add(table_probes)
            self.held.clear()

    def add(self, table_probes: TableProbes) -> None:
        if self.chain is None:
            self._add(table_probes)
        else:
            self.held.append(table_probes)

    def _add(self, table_probes: TableProbes) -> None:
        for table, changed in table_probes.items():
            for index, key in changed:
                insort(self.keys.setdefault((table, index), []), key)

    def first_hit(self, read_set: IntervalSet) -> tuple[str, str, bytes] | None:
        """Table, index and key that an accepted member wrote and this read set holds, or None."""
        if not self.keys:
            return None
        for interval in read_set:
            written = self.keys.get((interval.table, interval.index))
            if written:
                position = bisect_left(written, interval.low)
                if position < len(written) and written[position] < interval.high:
                    return interval.table, interval.index, written[position]
        return None


class Committer:
    """Takes finished transactions and commits them in batches. `run` is the task that its owner keeps."""

    def __init__(self, store: Store, timeline: Timeline, runtime: Runtime, *, node: str) -> None:
        self._store = store
        self._timeline = timeline
        self._runtime = runtime
        self._node = node
        self._queue: deque[_Member] = deque()
        self._wanted = asyncio.Event()
        self._closed = False
        self._turns = Turns(node, runtime, self._wanted.set)
        timeline.inform(self._turns)
        self._statistics = CommitterStatistics()

    def statistics(self) -> CommitterStatistics:
        return self._statistics

    async def commit(self, request: CommitRequest) -> Timestamp:
        """Commit a transaction; returns its timestamp.

        Raises `ConflictError` (run the function again at a newer snapshot), `DuplicateRequestError`,
        `DeveloperError` when a document is at fault, `OverloadError` when too many wait, `EngineError` when the
        database does not answer (whether it was applied is then unknown to the caller; with a record it can ask again).
        """
        if not request.writes and request.record is None:
            # Nothing to write: the snapshot itself is a valid place in the history (data-model.md 7.4).
            if request.on_committed is not None:
                request.on_committed(request.snapshot_ts)
            return request.snapshot_ts
        if self._closed:
            raise OverloadError("CommitterClosed", "this node is shutting down")
        if len(self._queue) >= QUEUE_MAX:
            raise OverloadError("CommitterFullError", f"{QUEUE_MAX} transactions are waiting to be committed")
        member = _Member(request, asyncio.get_running_loop().create_future())
        self._queue.append(member)
        self._wanted.set()
        return await member.outcome

    async def commit_chain(self, requests: Sequence[CommitRequest]) -> list[Timestamp | Exception]:
        """Commit transactions that ran at one snapshot, each on top of the writes of those before it.

        Returns, for each, its timestamp or what `commit` would raise. Unlike there, one without writes is validated:
        what it saw need not have come about. When one fails, those after it get a `ConflictError` at least.
        """
        if self._closed:
            return [OverloadError("CommitterClosed", "this node is shutting down") for _ in requests]
        loop, chain = asyncio.get_running_loop(), _Chain(len(requests))
        members = [_Member(request, loop.create_future(), chain, place) for place, request in enumerate(requests)]
        self._queue.extend(members)
        self._wanted.set()
        outcomes: list[Timestamp | Exception] = []
        for member in members:
            try:
                outcomes.append(await member.outcome)
            except Exception as error:
                outcomes.append(error)
        return outcomes

    async def run(self) -> None:
        """Commit what is queued until cancelled; whoever still waits then is told that the node is closing."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._queue:
                    await self._wait_turn()
                    await self._commit(self._take())
                if self._turns.is_waited_for and not await self._wanted_within(self._turns.idle_s):
                    await self._pass_turn()
        finally:
            self._closed = True
            while self._queue:
                self._queue.popleft().fail(OverloadError("CommitterClosed", "this node is shutting down"))

    async def _wanted_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            return False
        return True

    async def _wait_turn(self) -> None:
        """Wait for this node's turn, or until there is no reason to, or it has been too long."""
        turns = self._turns
        waited_s = 0.0
        while (seconds := turns.wait_s()) > 0 and waited_s < TURN_WAIT_S:
            started = self._runtime.monotonic()
            await turns.wait_changed(seconds)
            waited_s += self._runtime.monotonic() - started

    async def _pass_turn(self) -> None:
        """Give up the turn, with an entry that says nothing else."""
        turns = self._turns.next_list(more=False)
        entry = LogEntry(self._timeline.begin_append(), self._node, self._runtime.uuid(), (), turns=turns)
        try:
            ts = await self._store.append(entry)
        except SeqTaken:
            self._timeline.abort_append()
            await self._learn_of(entry.seq)
        except StoreError as error:
            logger.info("the turn to commit could not be passed on: %s", error)
            await self._fence(entry.seq)
            await self._timeline.lose_append(self._store, self._runtime)
        except BaseException:
            self._timeline.abort_append()
            raise
        else:
            self._publish(entry, ts, [])

    def _take(self) -> list[_Member]:
        members: list[_Member] = []
        writes = 0
        while self._queue:
            member = self._queue[0]
            writes += len(member.request.writes)
            if members and writes > BATCH_WRITES_MAX:
                break
            members.append(self._queue.popleft())
        return members

    async def _commit(self, members: list[_Member]) -> None:
        """Settle every member, whatever happens."""
        try:
            while members:
                members = await self._attempt(members)
                if members:
                    await self._wait_turn()
        except Exception as error:
            # A look-up failed that follows a refusal: nothing of what is left was appended.
            logger.warning("a batch of %d could not be committed: %s", len(members), error)
            for member in members:
                member.break_chain()
                member.fail(_no_answer())
        except asyncio.CancelledError:
            for member in members:
                member.fail(OverloadError("CommitterClosed", "this node is shutting down"))
            raise

    async def _attempt(self, members: list[_Member]) -> list[_Member]:
        """Validate and append once; returns the members that have to be tried again, in smaller company."""
        members = self._validate(members)
        if not members:
            await self._ask_for_turn()
            return []
        batch = _Batch.of(members)
        if not batch.writes and all(member.request.record is None for member in members):
            self._settle(members, self._timeline.latest_ts)
            return []
        entry = LogEntry(
            seq=self._timeline.begin_append(),
            node=self._node,
            batch=self._runtime.uuid(),
            writes=tuple(batch.writes),
            requests=tuple([member.request.record for member in members if member.request.record is not None]),
            functions=tuple([owner.request.function for owner in batch.owners]),
            turns=self._turns.next_list(more=bool(self._queue) or len(members) >= BUSY_MEMBERS),
        )
        started = self._runtime.monotonic()
        try:
            ts = await self._store.append(entry)
        except SeqTaken:
            self._timeline.abort_append()
            self._statistics.lost_races += 1
            self._turns.race_lost()
            await self._learn_of(entry.seq)
            return members
        except WriteConflict:
            self._timeline.abort_append()
            if len(members) == 1:
                self._lose(members[0], Hit(self._timeline.latest_ts, _table_of(members[0])))
                return []
            return await self._split(members)
        except WriteRefused as refusal:
            self._timeline.abort_append()
            return await self._refuse(members, batch, refusal)
        except Exception as error:
            # The connection is gone and the outcome could not be settled: nobody may be told "committed".
            logger.warning("a batch of %d could not be committed: %s", len(members), error)
            for member in members:
                member.break_chain()
                member.fail(_no_answer())
            await self._fence(entry.seq)
            await self._timeline.lose_append(self._store, self._runtime)
            return []
        except BaseException:
            self._timeline.abort_append()
            raise
        self._turns.committed_in(self._runtime.monotonic() - started)
        self._publish(entry, ts, members)
        return []

    def _validate(self, members: Sequence[_Member]) -> list[_Member]:
        """Fail the members that lost to something published, or to an earlier member; return the others."""
        accepted: list[_Member] = []
        written = _BatchKeys()
        requests: set[tuple[str, int]] = set()
        for position, member in enumerate(members):
            request = member.request
            if member.outcome.done():  # its caller has gone (cancelled): nobody waits for it
                member.break_chain()
                continue
            written.enter(member.chain)
            hit = self._timeline.recent_log.first_hit(request.read_set, request.snapshot_ts)
            if hit is None and (key := written.first_hit(request.read_set)) is not None:
                hit = _hit_in(accepted, *key)
            if hit is not None:
                self._lose(member, hit)
                continue
            if member.has_lost_its_chain:
                self._lose(member, Hit(request.snapshot_ts, _table_of(member), is_own=True))
                continue
            record = request.record
            if record is not None:
                # One request from two connections of its client: no index finds them out within one log entry (I6).
                if (record.session_id, record.request_id) in requests:
                    member.break_chain()
                    member.fail(ConflictError(f"request {record.request_id} was sent twice at the same time"))
                    continue
                requests.add((record.session_id, record.request_id))
            accepted.append(member)
            if position + 1 < len(members):
                written.add(probes(request.writes))
        return accepted

    def _lose(self, member: _Member, hit: Hit) -> None:
        if member.chain is not None and not hit.is_own and not hit.is_foreign:
            # It runs again at once, and takes longer for it than the other node for its next commit of the kind.
            self._turns.chain_lost()
        member.break_chain()
        member.fail(self._conflict(member, hit))

    def _conflict(self, member: _Member, hit: Hit) -> ConflictError:
        self._statistics.conflicts += 1
        who = ""
        if hit.is_foreign:
            who = "Another MongoDB client"
        elif hit.function:
            same = hit.function == member.request.function
            who = "Another call to this mutation" if same else f'A call to "{hit.function}"'
        changed = f'{who} changed the document with ID "{hit.id}".' if who and hit.id else ""
        return conflict(hit.table, changed, is_own=hit.is_own)

    def _publish(self, entry: LogEntry, ts: Timestamp, members: Sequence[_Member]) -> None:
        def announce() -> None:
            for member in members:
                if member.request.on_committed is not None:
                    member.request.on_committed(ts)

        self._timeline.end_append(entry, Published(ts, entry.writes, functions=entry.functions, is_own=True), announce)
        self._statistics.batches += 1
        self._statistics.commits += len(members)
        self._statistics.batch_members_max = max(self._statistics.batch_members_max, len(members))
        _resolve(members, ts)

    def _settle(self, members: Sequence[_Member], ts: Timestamp) -> None:
        """Members of chains that wrote nothing: what they read holds at `ts`, and that is all there is to it."""
        for member in members:
            if member.request.on_committed is not None:
                member.request.on_committed(ts)
        _resolve(members, ts)

    async def _fence(self, seq: int) -> None:
        """Make sure that a batch of unknown outcome is in the log already, or never will be: its commit may still be on
        its way, and the feed would not tell us of it. Once the number is taken, by an empty entry if by nobody else,
        that is decided. Retries until the database answers.
        """
        while True:
            try:
                await self._store.append(LogEntry(seq, self._node, self._runtime.uuid(), ()))
            except SeqTaken:
                return
            except StoreError as error:
                logger.warning("log number %d cannot be settled (%s); trying again", seq, error)
                await self._runtime.sleep(FENCE_PAUSE_S)
            else:
                return

    async def _learn_of(self, seq: int) -> None:
        """Another node has entry `seq`: wait until the feed has brought it, so that we validate against it."""
        await self._ask_for_turn()
        try:
            async with asyncio.timeout(SEQ_WAIT_S):
                await self._timeline.wait_for_seq(seq)
        except TimeoutError:
            logger.warning("log entry %d is taken but the feed does not bring it; starting again from now", seq)
            await self._timeline.resync(self._store, self._runtime)

    async def _ask_for_turn(self) -> None:
        """Ask, if this node has lost to others and none of them knows that it waits."""
        if self._turns.must_ask:
            with suppress(StoreError):  # then it is a race once more
                await self._store.ask_for_turn()

    async def _split(self, members: list[_Member]) -> list[_Member]:
        """Commit the first half by itself; the second half is left to the caller. Bounded: halves shrink to one."""
        middle = len(members) // 2
        first = members[:middle]
        while first:
            first = await self._attempt(first)
        return members[middle:]

    async def _refuse(self, members: list[_Member], batch: _Batch, refusal: WriteRefused) -> list[_Member]:
        """Fail the member at fault and return the others."""
        culprit = _culprit(members, batch, refusal)
        if culprit is None:
            return await self._split(members)
        record = culprit.request.record
        if refusal.code == "duplicate_request" and record is not None:
            stored = await self._store.find_request(record.session_id, record.request_id)
            culprit.fail(
                DuplicateRequestError(stored)
                if stored is not None
                else EngineError("a request is stored and yet cannot be found")
            )
        else:
            culprit.fail(_refusal_error(refusal))
        culprit.break_chain()
        return [member for member in members if member is not culprit]


def _no_answer() -> EngineError:
    return EngineError("the database did not answer; the mutation may be sent again")


@dataclass(slots=True)
class _Batch:
    """The net writes of a batch: one for each document, whoever wrote it how often. `owners` wrote them last."""

    writes: list[DocumentWrite]
    owners: list[_Member]
    shared: set[int]
    """Positions of the writes that have several owners."""

    @classmethod
    def of(cls, members: Sequence[_Member]) -> _Batch:
        writes: list[DocumentWrite] = []
        owners: list[_Member] = []
        shared: set[int] = set()
        positions: dict[tuple[str, str], int] = {}
        for member in members:
            chained = member.chain is not None
            for write in member.request.writes:
                # Outside of chains nobody writes what another member of the batch wrote: it would not have passed.
                position = positions.get((write.table, write.id)) if chained else None
                if position is None:
                    if chained:
                        positions[write.table, write.id] = len(writes)
                    writes.append(write)
                    owners.append(member)
                else:
                    writes[position] = _net(writes[position], write)
                    owners[position] = member
                    shared.add(position)
        if any(write.before is None and write.after is None for write in writes):
            kept = [number for number, write in enumerate(writes) if not (write.before is None and write.after is None)]
            shared = {new for new, old in enumerate(kept) if old in shared}
            writes, owners = [writes[number] for number in kept], [owners[number] for number in kept]
        return cls(writes, owners, shared)


def _net(first: DocumentWrite, second: DocumentWrite) -> DocumentWrite:
    """One write that does what two to the same document do, one after the other."""
    keys = tuple(
        [IndexKeyChange(old.index, old.before, new.after) for old, new in zip(first.keys, second.keys, strict=True)]
    )
    return DocumentWrite(first.table, first.id, first.before, second.after, keys)


def _hit_in(members: Sequence[_Member], table: str, index: str, key: bytes) -> Hit:
    """Which of the accepted members wrote a key."""
    for member in reversed(members):
        writes = member.request.writes
        for name, found in probes(writes).items():
            if name == table and (index, key) in found:
                write = writes[writer_of(writes, table, index, key)]
                return Hit(member.request.snapshot_ts, table, member.request.function, write.id, is_own=True)
    raise AssertionError("the key is of none of the members")


def _table_of(member: _Member) -> str:
    writes = member.request.writes
    return writes[0].table if writes else ""


def _culprit(members: Sequence[_Member], batch: _Batch, refusal: WriteRefused) -> _Member | None:
    """The member that the refused write or record belongs to; None if the store could not tell."""
    if len(members) == 1:
        return members[0]
    position = refusal.position
    if position is None:
        return None
    if refusal.code == "duplicate_request":
        return [member for member in members if member.request.record is not None][position]
    return None if position in batch.shared else batch.owners[position]


def _resolve(members: Sequence[_Member], ts: Timestamp) -> None:
    for member in members:
        if not member.outcome.done():
            member.outcome.set_result(ts)


def _refusal_error(refusal: WriteRefused) -> DeveloperError:
    if refusal.code == "unique":
        return ConvexError(
            {
                "code": "unique",
                "table": refusal.table,
                "index": refusal.index,
                "fields": list(refusal.fields),
                "message": refusal.message,
            }
        )
    codes = {"validator": "SchemaEnforcementError", "too_large": "ValueTooLargeError"}
    return DeveloperError(codes.get(refusal.code, "WriteRefused"), refusal.message)
