"""Mutations: run, commit, run again on conflict; at most once for each request of a client (I1, I6).

Life of a mutation (data-model.md 7.4, sync-protocol.md 3.4): an attempt at the newest snapshot; its result goes into
the request's record and with the writes to the committer. A conflict starts it again from nothing: at once, in a
waiting line (`lines.py`), if it lost to a mutation of this node, else after a pause.
A client's resend is usually found out by the committer, which knows the record: nothing is looked up beforehand. But
whoever is about to report a failure, or to try again, looks whether the request had succeeded before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from concave.database.overlay import Overlay
from concave.functions.attempts import Attempts
from concave.functions.frames import Identity
from concave.functions.lines import SLOW_LOSSES, SLOW_S, Lines
from concave.functions.logs import LogLines
from concave.functions.permits import Permits
from concave.functions.served_app import CompiledFunction, ServedApp
from concave.storage.committer import CommitRequest, Committer, DuplicateRequestError
from concave.storage.store import RequestRecord, SnapshotTooOld, Store, StoredRequest, StoreError
from concave.storage.timeline import Timeline
from concave.values.codec import decode_json
from concave.values.errors import ConflictError, DeveloperError, EngineError, conflict
from concave.values.limits import Limits
from concave.values.runtime import Runtime
from concave.values.types import Timestamp, Value

logger = logging.getLogger(__name__)


@dataclass(slots=True, frozen=True)
class RequestKey:
    """A client's name for one mutation, which it keeps when it sends it again."""

    session_id: str
    request_id: int


@dataclass(slots=True)
class Finished:
    """A mutation's end: committed at `ts` with its value, or failed by its own fault, and then nothing was written."""

    ts: Timestamp
    value: Value
    value_json: bytes
    log_lines: list[str]
    failure: BaseException | None = None
    replayed: bool = False


@dataclass(slots=True, frozen=True)
class _Lost:
    """An attempt at `snapshot_ts` that has to be made again."""

    conflict: ConflictError
    snapshot_ts: Timestamp
    run_s: float = 0.0


Announce = Callable[[Finished], None]


@dataclass(slots=True, frozen=True)
class _Call:
    """One mutation, as it is run in each attempt."""

    served: Callable[[], ServedApp]
    function: CompiledFunction
    args: dict[str, Value]
    identity: Identity | None
    request: RequestKey | None
    announce: Announce | None


class Mutations:
    """Runs mutations and commits them."""

    __slots__ = ("_attempts", "_committer", "_limits", "_lines", "_permits", "_runtime", "_store", "_timeline")

    def __init__(
        self,
        attempts: Attempts,
        permits: Permits,
        store: Store,
        timeline: Timeline,
        committer: Committer,
        runtime: Runtime,
        limits: Limits,
    ) -> None:
        self._attempts = attempts
        self._permits = permits
        self._store = store
        self._timeline = timeline
        self._committer = committer
        self._runtime = runtime
        self._limits = limits
        self._lines = Lines(committer, permits, store, timeline, runtime, losses_max=limits.conflict_retries_max)

    async def run(
        self,
        served: Callable[[], ServedApp],
        function: CompiledFunction,
        args: dict[str, Value],
        *,
        identity: Identity | None,
        request: RequestKey | None = None,
        announce: Announce | None = None,
    ) -> Finished:
        """Run a mutation with checked arguments to its end. `announce` is called synchronously at the commit, before
        the commit is published; not for a failure, nor for a request that had been committed before.

        Raises `ConflictError` when all retries met conflicts, `OverloadError`, `EngineError`.
        """
        call = _Call(served, function, args, identity, request, announce)
        path = function.spec.path
        retries = own_losses = 0
        line = self._lines.of_function(path)
        lost_at = Timestamp(0)
        while True:
            end = await (self._attempt(call) if line is None else self._stand(call, line, lost_at))
            if not isinstance(end, _Lost):
                if end.failure is not None and (stored := await self._stored(request)) is not None:
                    return _replay(stored)
                return end
            lost_at, line = end.snapshot_ts, end.conflict.table
            if end.conflict.is_own and line is not None:
                own_losses += 1
                if end.run_s < SLOW_S or own_losses >= SLOW_LOSSES:
                    continue
            else:
                retries += 1
                if retries > self._limits.conflict_retries_max:
                    raise conflict(end.conflict.table, end.conflict.changed, lastly=True)
            await self._pause(retries + own_losses - 1, lost_at)
            line = self._lines.of_function(path)
            if (stored := await self._stored(request)) is not None:
                return _replay(stored)

    async def _attempt(self, call: _Call) -> Finished | _Lost:
        """Run by itself, beside others, and commit."""
        started = self._runtime.monotonic()
        # The permit covers the run and not the commit: the more wait for one commit, the better.
        async with self._permits:
            ts = self._timeline.latest_ts
            try:
                finished, request = await self._run(call, ts, None)
            except SnapshotTooOld:
                return _Lost(_outlived(call), ts)
        run_s = self._runtime.monotonic() - started
        if finished.failure is not None:
            return finished
        table = self._lines.reserving(request.writes)
        if table is not None:
            return _Lost(conflict(table, is_own=True), Timestamp(0))
        try:
            await self._committer.commit(request)
        except ConflictError as error:
            return _Lost(error, ts, run_s)
        except Exception as error:
            return _refused(finished, error)
        return finished

    async def _stand(self, call: _Call, table: str, lost_at: Timestamp) -> Finished | _Lost:
        """Run and commit in a line. It runs its members again at once; those that lost several times so come back."""
        last: list[Finished] = []

        async def prepare(ts: Timestamp, store: Overlay) -> CommitRequest:
            try:
                finished, request = await self._run(call, ts, store)
            except SnapshotTooOld:
                raise _outlived(call) from None
            last[:] = [finished]
            return request

        try:
            await self._lines.stand(table, call.function.spec.path, prepare, lost_at)
        except ConflictError as error:
            return _Lost(error, self._timeline.latest_ts)
        except Exception as error:
            if not last:
                raise
            return _refused(last[0], error)
        return last[0]

    async def _run(self, call: _Call, ts: Timestamp, store: Overlay | None) -> tuple[Finished, CommitRequest]:
        """Run at `ts`. What a function that failed has written is left out of what is to be committed."""
        log = LogLines(self._limits)
        attempt = await self._attempts.make(
            call.served(), call.function, call.args, identity=call.identity, ts=ts, log=log, store=store
        )
        tx = attempt.run.tx
        path = call.function.spec.path
        finished = Finished(tx.ts, attempt.value, attempt.value_json, log.finish(), attempt.failure)
        if finished.failure is not None:
            return finished, CommitRequest(tx.ts, tx.read_set, (), path)
        record = None
        if call.request is not None:
            lines = tuple(finished.log_lines)
            record = RequestRecord(call.request.session_id, call.request.request_id, finished.value_json, lines)

        def committed(ts: Timestamp) -> None:
            finished.ts = ts
            if call.announce is not None:
                try:
                    call.announce(finished)
                except Exception:  # the commit stands, whatever its listener does
                    logger.exception("the announcement of %s failed", path)

        return finished, CommitRequest(tx.ts, tx.read_set, tx.writes(), path, record, committed)

    async def _stored(self, request: RequestKey | None) -> StoredRequest | None:
        if request is None:
            return None
        return await find_request(self._store, request.session_id, request.request_id)

    async def _pause(self, retry: int, lost_at: Timestamp) -> None:
        """Full jitter: anything up to a bound that doubles with each retry. Then wait until there is a newer snapshot
        than the one that lost, because at that one it would lose again; no longer than the bound, because the commit
        that it lost to may have failed."""
        bound = min(self._limits.conflict_backoff_s_max, self._limits.conflict_backoff_first_s * 2**retry)
        share = int.from_bytes(self._runtime.random_bytes(4), "big") / 2**32
        await self._runtime.sleep(bound * share)
        with suppress(TimeoutError):
            async with asyncio.timeout(bound):
                await self._timeline.wait_for_ts(Timestamp(lost_at + 1))


async def find_request(store: Store, session_id: str, request_id: int) -> StoredRequest | None:
    """The stored outcome of a client's mutation, if it was committed. Raises `EngineError` if that cannot be told."""
    try:
        return await store.find_request(session_id, request_id)
    except StoreError as error:
        raise EngineError(f"the database did not say whether request {request_id} was committed: {error}") from error


def _replay(stored: StoredRequest) -> Finished:
    """What the request returned when it was committed."""
    record = stored.record
    value = decode_json(record.result_json)
    return Finished(stored.ts, value, record.result_json, list(record.log_lines), replayed=True)


def _refused(finished: Finished, error: Exception) -> Finished:
    """The end of a mutation that ran and whose commit raised `error`; raises it again if it is not the mutation's."""
    if isinstance(error, DuplicateRequestError):
        return _replay(error.stored)
    if isinstance(error, DeveloperError):  # a unique index, or a document that the database does not take
        finished.failure = error
        return finished
    raise error


def _outlived(call: _Call) -> ConflictError:
    return ConflictError(f"{call.function.spec.path} ran for longer than its snapshot is kept.")
