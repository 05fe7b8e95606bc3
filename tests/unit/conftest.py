"""A node with a database of one table in memory, for tests of live queries and sessions.

The timeline, the refresh rounds, the cache and the invalidation index are the real ones; only the functions and the
store are not. Snapshot reads are exact: every version of a document is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest

from concave.functions.outcomes import ActionOutcome, MutationOutcome
from concave.reactive.content import Content, failure
from concave.reactive.invalidation import InvalidationIndex
from concave.reactive.live_query import LiveQuery, Version
from concave.reactive.query_cache import QueryCache
from concave.reactive.refresh import RefreshRounds
from concave.storage.recent_log import Published
from concave.storage.store import DocumentWrite, IndexKeyChange, LogEntry, RequestRecord, StoredRequest
from concave.storage.timeline import Timeline
from concave.values.errors import DeveloperError
from concave.values.intervals import IntervalSet, point, whole_table
from concave.values.keys import IndexKey, encode_column
from concave.values.runtime import SystemRuntime
from concave.values.types import Timestamp

TABLE = "counters"
START = Timestamp(1_000_000)


async def at_once(path: str) -> None:
    """The default pace: nothing waits."""


class FakeNode:
    """A `SyncBackend` over counters. Queries: `get {key}`, `all {}`, `parity {key}`, `page {}`, `bad {}`;
    `me {}` is who asks, and `hidden {}` there is for admins only.

    `pace` is awaited by every call with the function's path, before its snapshot is read; tests hold calls with it.
    """

    def __init__(self) -> None:
        self.runtime = SystemRuntime()
        self.timeline = Timeline(START, 0)
        self.invalidation = InvalidationIndex()
        self.cache = QueryCache(self.invalidation)
        self.rounds = RefreshRounds(self.execute, self.timeline, self.cache, self.invalidation, self.runtime)
        self.subscribe = self.rounds.subscribe
        self.unsubscribe = self.rounds.unsubscribe
        self.change_identity = self.rounds.change_identity
        self.request = self.rounds.request
        self.leave = self.rounds.leave
        self.pace: Callable[[str], Awaitable[None]] = at_once
        self.trouble: dict[str, list[Exception]] = {}
        """Exceptions that the next executions of a path raise instead of running."""
        self.runs: list[tuple[str, Timestamp]] = []
        """Executions of queries, in order of their beginning."""
        self.requests: dict[tuple[str, int], StoredRequest] = {}
        self.look_ups = 0
        self.callers: list[tuple[str, Any, bool]] = []
        """Mutations and actions: path, identity, and whether internal functions were open to the caller."""
        self.applied: list[tuple[str, int]] = []
        """Requests in order of their commits."""
        self._history: dict[str, list[tuple[Timestamp, int]]] = {}
        self._lock = asyncio.Lock()

    @property
    def latest_ts(self) -> Timestamp:
        return self.timeline.latest_ts

    # -- the database -------------------------------------------------------------------------------------------------

    def value_at(self, key: str, ts: Timestamp) -> int | None:
        found = None
        for at, value in self._history.get(key, ()):
            if at <= ts:
                found = value
        return found

    def all_at(self, ts: Timestamp) -> dict[str, int]:
        found = {key: self.value_at(key, ts) for key in sorted(self._history)}
        return {key: value for key, value in found.items() if value is not None}

    def write(self, key: str, value: int, announce: Callable[[Timestamp], None] | None = None) -> Timestamp:
        """Commit one document; `announce` is called at the commit, before anybody else hears of it."""
        ts = Timestamp(self.timeline.latest_ts + 1)
        before = self.value_at(key, ts)
        self._history.setdefault(key, []).append((ts, value))
        keys: tuple[tuple[str, IndexKey], ...] = (
            ("by_id", (encode_column(key),)),
            ("by_creation_time", (encode_column(0.0), encode_column(key))),
        )
        write = DocumentWrite(
            TABLE,
            key,
            None if before is None else {"_id": key},
            {"_id": key, "value": float(value)},
            tuple(IndexKeyChange(index, None if before is None else at, at) for index, at in keys),
        )
        entry = LogEntry(self.timeline.begin_append(), "node", str(ts), (write,), (), ts)
        self.timeline.end_append(
            entry, Published(ts, (write,)), (lambda: announce(ts)) if announce is not None else (lambda: None)
        )
        return ts

    # -- functions ----------------------------------------------------------------------------------------------------

    def evaluate(
        self, path: str, args: Any, ts: Timestamp, journal: str | None
    ) -> tuple[Content, IntervalSet, str | None]:
        read_set = IntervalSet()
        if path == "get":
            read_set.add(point(TABLE, args["key"]))
            return success(self.value_at(args["key"], ts)), read_set, None
        if path == "parity":
            read_set.add(point(TABLE, args["key"]))
            return success((self.value_at(args["key"], ts) or 0) % 2), read_set, None
        if path == "all":
            read_set.add(whole_table(TABLE))
            return success(self.all_at(ts)), read_set, None
        if path == "page":
            # A page remembers in its journal how many documents there were when it was first read.
            read_set.add(whole_table(TABLE))
            size = int(journal) if journal is not None else len(self.all_at(ts))
            return success({"pinned": size, "now": len(self.all_at(ts))}), read_set, str(size)
        read_set.add(whole_table(TABLE))
        return (
            failure(f"[Request ID: {len(self.runs):016x}] Server Error\nUncaught Error: no {path}"),
            read_set,
            journal,
        )

    async def execute(self, live: LiveQuery, ts: Timestamp) -> Version:
        self.runs.append((live.path, ts))
        if pending := self.trouble.get(live.path):
            raise pending.pop(0)
        await self.pace(live.path)
        if live.path == "me":
            return Version(success(live.identity), ts, IntervalSet(), read_identity=True)
        if live.path == "hidden" and live.internal_ok:
            return Version(success("seen"), ts, IntervalSet())
        content, read_set, journal = self.evaluate(live.path, orjson.loads(live.args_json), ts, live.journal)
        return Version(content, ts, read_set, journal=journal)

    async def mutation(
        self,
        path: str,
        args: Any,
        *,
        identity: Any,
        session_id: str,
        request_id: int,
        on_committed: Callable[[MutationOutcome], None],
        internal_ok: bool,
    ) -> MutationOutcome:
        """`add {key, by}`; `throw {}` fails; `crash {}` is trouble of ours."""
        self.callers.append((path, identity, internal_ok))
        await self.pace(path)
        if path == "crash":
            raise RuntimeError("the disk is on fire")
        if path == "throw":
            return MutationOutcome(False, error_message="Uncaught Error: thrown")
        async with self._lock:
            if stored := self.requests.get((session_id, request_id)):
                return MutationOutcome(True, value_json=stored.record.result_json, ts=stored.ts, replayed=True)
            value = (self.value_at(args["key"], self.timeline.latest_ts) or 0) + int(args["by"])
            outcome = MutationOutcome(True, value_json=orjson.dumps(float(value)))

            def announce(ts: Timestamp) -> None:
                outcome.ts = ts
                record = RequestRecord(session_id, request_id, outcome.value_json, ())
                self.requests[session_id, request_id] = StoredRequest(record, ts)
                self.applied.append((session_id, request_id))
                on_committed(outcome)

            self.write(args["key"], value, announce)
        await self.pace(path)
        return outcome

    async def action(self, path: str, args: Any, *, identity: Any, internal_ok: bool) -> ActionOutcome:
        self.callers.append((path, identity, internal_ok))
        await self.pace(path)
        if path == "throw":
            raise DeveloperError("Thrown", "an action outcome is expected, not this")
        return ActionOutcome(True, value_json=orjson.dumps(args))

    async def reach(self, ts: Timestamp) -> None:
        await self.timeline.wait_for_ts(ts)

    async def find_request(self, session_id: str, request_id: int) -> StoredRequest | None:
        self.look_ups += 1
        return self.requests.get((session_id, request_id))


def success(value: Any) -> Content:
    body = orjson.dumps(value)
    return Content(False, body, None, b"[]", body)


async def settle(condition: Callable[[], bool] = lambda: False, turns: int = 200) -> None:
    """Let tasks run until the condition holds, or until they have had every chance to."""
    for _ in range(turns):
        if condition():
            return
        await asyncio.sleep(0)


@pytest.fixture
async def node() -> AsyncIterator[FakeNode]:
    fake = FakeNode()
    fake.runtime.spawn(fake.rounds.run(), name="refresh rounds")
    yield fake
    await fake.runtime.close()


@pytest.fixture
def settled() -> Callable[..., Awaitable[None]]:
    return settle
