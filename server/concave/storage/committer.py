"""Group commit: one task per node that validates what is queued and writes it as one batch (design.md section 3.5).

Life of a batch: take the queue, validate each member's read set against everything published since its snapshot
and against the earlier members, refuse the losers, append the rest as one log entry, publish, resolve.

Invariants:

* I1: a member is appended only if nothing it read has changed between its snapshot and its place in the log.
* One append is in flight at a time; transactions that finish meanwhile form the next batch.
* A member's `on_committed` runs before any listener hears of the commit, so that a client is told of its own
  mutation before the Transition that shows it (I4).
* A batch that the store refuses for one member's fault is split; the other members go on.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from concave.storage.recent_log import Published, TableProbes, probes
from concave.storage.store import (
    DocumentWrite,
    LogEntry,
    RequestRecord,
    SeqTaken,
    Store,
    StoredRequest,
    WriteConflict,
    WriteRefused,
)
from concave.storage.timeline import Timeline
from concave.values.errors import ConcaveError, ConflictError, ConvexError, DeveloperError, EngineError, OverloadError
from concave.values.intervals import IntervalSet
from concave.values.runtime import Runtime
from concave.values.types import Timestamp

logger = logging.getLogger(__name__)

QUEUE_MAX = 4_096
"""Transactions that may wait; beyond it the node is overloaded and says so."""

BATCH_WRITES_MAX = 4_000
"""Documents in one batch: keeps a log entry of ordinary documents well below MongoDB's 16 MiB."""

SEQ_WAIT_S = 5.0
"""How long the feed may take to bring the entry that took our number, before we look for ourselves."""


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


@dataclass(slots=True)
class _Member:
    request: CommitRequest
    outcome: asyncio.Future[Timestamp]

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)


@dataclass(slots=True)
class CommitterStatistics:
    """Counters since the start of the node."""

    batches: int = 0
    commits: int = 0
    conflicts: int = 0
    batch_members_max: int = 0


@dataclass(slots=True)
class _BatchKeys:
    """The sorted keys that accepted members of a batch wrote, by (table, index)."""

    keys: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)

    def add(self, table_probes: TableProbes) -> None:
        for table, changed in table_probes.items():
            for index, key in changed:
                insort(self.keys.setdefault((table, index), []), key)

    def first_hit(self, read_set: IntervalSet) -> str | None:
        """A table in which an accepted member wrote what this read set holds, or None."""
        if not self.keys:
            return None
        for interval in read_set:
            written = self.keys.get((interval.table, interval.index))
            if written:
                position = bisect_left(written, interval.low)
                if position < len(written) and written[position] < interval.high:
                    return interval.table
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

    async def run(self) -> None:
        """Commit what is queued until cancelled; whoever still waits then is told that the node is closing."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                while self._queue:
                    await self._commit(self._take())
        finally:
            self._closed = True
            while self._queue:
                self._queue.popleft().fail(OverloadError("CommitterClosed", "this node is shutting down"))

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
        except Exception as error:
            # A look-up failed that follows a refusal: nothing of what is left was appended.
            logger.warning("a batch of %d could not be committed: %s", len(members), error)
            for member in members:
                member.fail(_no_answer())
        except asyncio.CancelledError:
            for member in members:
                member.fail(OverloadError("CommitterClosed", "this node is shutting down"))
            raise

    async def _attempt(self, members: list[_Member]) -> list[_Member]:
        """Validate and append once; returns the members that have to be tried again, in smaller company."""
        members = self._validate(members)
        if not members:
            return []
        entry = LogEntry(
            seq=self._timeline.begin_append(),
            node=self._node,
            batch=self._runtime.uuid(),
            writes=tuple(write for member in members for write in member.request.writes),
            requests=tuple(member.request.record for member in members if member.request.record is not None),
        )
        try:
            ts = await self._store.append(entry)
        except SeqTaken:
            self._timeline.abort_append()
            await self._learn_of(entry.seq)
            return members
        except WriteConflict as error:
            self._timeline.abort_append()
            if len(members) == 1:
                members[0].fail(self._conflict(members[0], "", "another MongoDB client", str(error)))
                return []
            return await self._split(members)
        except WriteRefused as refusal:
            self._timeline.abort_append()
            return await self._refuse(members, refusal)
        except Exception as error:
            # The connection is gone and the outcome could not be settled: nobody may be told "committed".
            logger.warning("a batch of %d could not be committed: %s", len(members), error)
            for member in members:
                member.fail(_no_answer())
            await self._timeline.lose_append(self._store, self._runtime)
            return []
        except BaseException:
            self._timeline.abort_append()
            raise
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
                continue
            hit = self._timeline.recent_log.first_hit(request.read_set, request.snapshot_ts)
            if hit is not None:
                member.fail(self._conflict(member, hit.table, hit.writer))
                continue
            table = written.first_hit(request.read_set)
            if table is not None:
                member.fail(self._conflict(member, table, _writer_in(accepted, table)))
                continue
            record = request.record
            if record is not None:
                # One request from two connections of its client: no index finds them out within one log entry (I6).
                if (record.session_id, record.request_id) in requests:
                    member.fail(ConflictError(f"request {record.request_id} was sent twice at the same time"))
                    continue
                requests.add((record.session_id, record.request_id))
            accepted.append(member)
            if position + 1 < len(members):
                written.add(probes(request.writes))
        return accepted

    def _conflict(self, member: _Member, table: str, writer: str, detail: str = "") -> ConflictError:
        self._statistics.conflicts += 1
        by = "Another call to this mutation" if writer == member.request.function else writer
        message = f'Documents read from or written to the "{table}" table changed while this mutation was being run'
        if by:
            message += f" (changed by: {by})"
        return ConflictError(f"{message}. {detail}".rstrip() if detail else f"{message}.", table=table)

    def _publish(self, entry: LogEntry, ts: Timestamp, members: Sequence[_Member]) -> None:
        writers = {write.table: member.request.function for member in members for write in member.request.writes}

        def announce() -> None:
            for member in members:
                if member.request.on_committed is not None:
                    member.request.on_committed(ts)

        self._timeline.end_append(entry, Published(ts, entry.writes, writers=writers), announce)
        self._statistics.batches += 1
        self._statistics.commits += len(members)
        self._statistics.batch_members_max = max(self._statistics.batch_members_max, len(members))
        for member in members:
            if not member.outcome.done():
                member.outcome.set_result(ts)

    async def _learn_of(self, seq: int) -> None:
        """Another node has entry `seq`: wait until the feed has brought it, so that we validate against it."""
        try:
            async with asyncio.timeout(SEQ_WAIT_S):
                await self._timeline.wait_for_seq(seq)
        except TimeoutError:
            logger.warning("log entry %d is taken but the feed does not bring it; starting again from now", seq)
            await self._timeline.resync(self._store, self._runtime)

    async def _split(self, members: list[_Member]) -> list[_Member]:
        """Commit the first half by itself; the second half is left to the caller. Bounded: halves shrink to one."""
        middle = len(members) // 2
        first = members[:middle]
        while first:
            first = await self._attempt(first)
        return members[middle:]

    async def _refuse(self, members: list[_Member], refusal: WriteRefused) -> list[_Member]:
        """Fail the member at fault and return the others."""
        culprit = _culprit(members, refusal)
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
        return [member for member in members if member is not culprit]


def _no_answer() -> EngineError:
    return EngineError("the database did not answer; the mutation may be sent again")


def _writer_in(members: Sequence[_Member], table: str) -> str:
    for member in members:
        if any(write.table == table for write in member.request.writes):
            return member.request.function
    return ""


def _culprit(members: Sequence[_Member], refusal: WriteRefused) -> _Member | None:
    """The member that the refused write or record belongs to; None if the store could not tell."""
    if len(members) == 1:
        return members[0]
    position = refusal.position
    if position is None:
        return None
    for member in members:
        request = member.request
        if refusal.code == "duplicate_request":
            owned = 0 if request.record is None else 1
        else:
            owned = len(request.writes)
        if position < owned:
            return member
        position -= owned
    return None


def _refusal_error(refusal: WriteRefused) -> DeveloperError:
    if refusal.code == "unique":
        return ConvexError({"code": "unique", "index": refusal.index, "message": refusal.message})
    codes = {"validator": "SchemaEnforcementError", "too_large": "ValueTooLargeError"}
    return DeveloperError(codes.get(refusal.code, "WriteRefused"), refusal.message)
