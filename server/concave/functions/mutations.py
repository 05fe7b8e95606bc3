"""Mutations: run, commit, run again on conflict; at most once for each request of a client (I1, I6).

Life of a mutation (data-model.md 7.4, sync-protocol.md 3.4): an attempt at the newest snapshot; its result goes into
the request's record and with the writes to the committer. A conflict starts it again from nothing, after a pause.
A client's resend is usually found out by the committer, which knows the record: nothing is looked up beforehand. But
whoever is about to report a failure, or to try again, looks whether the request had succeeded before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from concave.functions.attempts import Attempts
from concave.functions.frames import Identity
from concave.functions.logs import LogLines
from concave.functions.permits import Permits
from concave.functions.served_app import CompiledFunction, ServedApp
from concave.storage.committer import CommitRequest, Committer, DuplicateRequestError
from concave.storage.store import RequestRecord, SnapshotTooOld, Store, StoredRequest, StoreError
from concave.storage.timeline import Timeline
from concave.values.codec import decode_json
from concave.values.errors import ConflictError, DeveloperError, EngineError
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


Announce = Callable[[Finished], None]


class Mutations:
    """Runs mutations and commits them."""

    __slots__ = ("_attempts", "_committer", "_limits", "_permits", "_runtime", "_store", "_timeline")

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
        lost: _Lost | None = None
        for attempt in range(self._limits.conflict_retries_max + 1):
            if lost is not None:
                await self._pause(attempt - 1, lost.snapshot_ts)
                if (stored := await self._stored(request)) is not None:
                    return _replay(stored)
            end = await self._attempt(served(), function, args, identity, request, announce)
            if isinstance(end, _Lost):
                lost = end
            elif end.failure is not None and (stored := await self._stored(request)) is not None:
                return _replay(stored)
            else:
                return end
        assert lost is not None
        raise _exhausted(lost.conflict)

    async def _attempt(
        self,
        served: ServedApp,
        function: CompiledFunction,
        args: dict[str, Value],
        identity: Identity | None,
        request: RequestKey | None,
        announce: Announce | None,
    ) -> Finished | _Lost:
        log = LogLines(self._limits)
        # The permit covers the run and not the commit: the more wait for one commit, the better.
        async with self._permits:
            ts = self._timeline.latest_ts
            try:
                attempt = await self._attempts.make(served, function, args, identity=identity, ts=ts, log=log)
            except SnapshotTooOld:
                return _Lost(ConflictError(f"{function.spec.path} ran for longer than its snapshot is kept."), ts)
        tx = attempt.run.tx
        finished = Finished(tx.ts, attempt.value, attempt.value_json, log.finish(), attempt.failure)
        if finished.failure is not None:
            return finished
        record = None
        if request is not None:
            lines = tuple(finished.log_lines)
            record = RequestRecord(request.session_id, request.request_id, finished.value_json, lines)

        def committed(ts: Timestamp) -> None:
            finished.ts = ts
            if announce is not None:
                try:
                    announce(finished)
                except Exception:  # the commit stands, whatever its listener does
                    logger.exception("the announcement of %s failed", function.spec.path)

        try:
            await self._committer.commit(
                CommitRequest(tx.ts, tx.read_set, tx.writes(), function.spec.path, record, committed)
            )
        except ConflictError as conflict:
            return _Lost(conflict, tx.ts)
        except DuplicateRequestError as duplicate:
            return _replay(duplicate.stored)
        except DeveloperError as refusal:  # a unique index, or a document that the database does not take
            finished.failure = refusal
        return finished

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


def _exhausted(conflict: ConflictError) -> ConflictError:
    """Upstream's text for a mutation that met a conflict each time."""
    changed = (
        f'Documents read from or written to the "{conflict.table}" table changed'
        if conflict.table
        else "Documents read or written changed"
    )
    return ConflictError(
        f"{changed} while this mutation was being run and on every subsequent retry. {conflict.message} "
        "See https://docs.convex.dev/error#1",
        table=conflict.table,
    )
