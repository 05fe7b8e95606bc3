"""Refresh rounds over a fake database with exact snapshots."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson
import pytest

from concave.reactive.live_query import LiveState, Subscription, Version
from concave.reactive.refresh import FAILURES_MAX, RefreshedSubscriber
from concave.storage.store import FeedGap, ForeignWrite
from concave.values.errors import EngineError, OverloadError
from concave.values.types import Timestamp

Settled = Callable[..., Awaitable[None]]


class Watcher(RefreshedSubscriber):
    """A subscriber that keeps what each of its rounds brought."""

    def __init__(self, node: Any) -> None:
        super().__init__(node.rounds)
        self.node = node
        self.is_ready = True
        self.rounds: list[tuple[Timestamp, dict[object, Any]]] = []
        self.redone = 0
        self.broken_off: Exception | None = None

    def watch(self, tag: str, path: str, args: Any = None, journal: str | None = None) -> Subscription:
        subscription: Subscription = self.node.rounds.subscribe(
            self, tag, path, orjson.dumps(args or {}), journal=journal, identity=None
        )
        self.node.rounds.request(self)
        return subscription

    def open_round(self) -> bool:
        return self.is_ready

    def close_round(self, ts: Timestamp, results: Sequence[tuple[Subscription, Version]]) -> None:
        self.rounds.append((ts, {s.tag: orjson.loads(version.content.body) for s, version in results}))

    def reopen_round(self) -> None:
        self.redone += 1

    def break_off(self, error: Exception) -> None:
        self.broken_off = error


class Gate:
    """Holds the executions of some paths until they are let go."""

    def __init__(self, *paths: str) -> None:
        self.paths = set(paths)
        self.waiting: list[asyncio.Future[None]] = []

    async def __call__(self, path: str) -> None:
        if path in self.paths:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.waiting.append(future)
            await future

    def let_one_go(self) -> None:
        self.waiting.pop(0).set_result(None)


async def test_one_execution_serves_all_subscribers_once_per_change(node: Any, settled: Settled) -> None:
    watchers = [Watcher(node) for _ in range(50)]
    for watcher in watchers:
        watcher.watch("a", "get", {"key": "a"})
    await settled(lambda: all(w.rounds for w in watchers))
    assert [path for path, _ in node.runs] == ["get"]
    ts = node.write("a", 7)
    await settled(lambda: all(len(w.rounds) == 2 for w in watchers))
    assert len(node.runs) == 2
    assert {w.rounds[1][0] for w in watchers} == {ts}
    assert all(w.rounds[1][1] == {"a": 7} for w in watchers)


async def test_a_write_elsewhere_runs_nothing(node: Any, settled: Settled) -> None:
    watcher = Watcher(node)
    watcher.watch("a", "get", {"key": "a"})
    await settled(lambda: bool(watcher.rounds))
    node.write("b", 1)
    await settled()
    assert len(watcher.rounds) == 1
    assert len(node.runs) == 1


async def test_all_queries_of_a_round_are_valid_at_one_snapshot(node: Any, settled: Settled) -> None:
    gate = node.pace = Gate("all")
    watcher = Watcher(node)
    watcher.watch("get", "get", {"key": "a"})
    watcher.watch("all", "all")
    await settled(lambda: bool(gate.waiting))
    opened_at = node.latest_ts
    node.write("a", 1)
    gate.let_one_go()
    await settled(lambda: bool(watcher.rounds))
    assert watcher.rounds[0] == (opened_at, {"get": None, "all": {}})
    await settled(lambda: bool(gate.waiting))
    gate.let_one_go()
    await settled(lambda: len(watcher.rounds) == 2)
    assert watcher.rounds[1] == (node.latest_ts, {"get": 1, "all": {"a": 1}})


async def test_a_slow_query_delays_only_those_who_hold_it(node: Any, settled: Settled) -> None:
    gate = node.pace = Gate("all")
    slow, fast = Watcher(node), Watcher(node)
    slow.watch("all", "all")
    slow.watch("a", "get", {"key": "a"})
    fast.watch("a", "get", {"key": "a"})
    for value in range(3):
        node.write("a", value)
        await settled(lambda value=value: bool(fast.rounds) and fast.rounds[-1][1] == {"a": value})
    assert not slow.rounds
    while len(gate.waiting):
        gate.let_one_go()
        await settled(turns=50)
    assert slow.rounds[-1][1]["a"] == 2


async def test_a_commit_during_a_run_that_the_run_cannot_have_seen_is_not_lost(node: Any, settled: Settled) -> None:
    gate = node.pace = Gate("get")
    watcher = Watcher(node)
    watcher.watch("a", "get", {"key": "a"})
    await settled(lambda: bool(gate.waiting))
    node.write("a", 1)  # nothing is registered for the query yet: only the recent log knows
    gate.let_one_go()
    await settled(lambda: bool(gate.waiting))
    gate.let_one_go()
    await settled(lambda: len(watcher.rounds) == 2)
    assert [results for _, results in watcher.rounds] == [{"a": None}, {"a": 1}]


async def test_a_newcomer_joins_a_run_only_if_its_result_holds_for_him(node: Any, settled: Settled) -> None:
    gate = node.pace = Gate("get")
    first, second, third = Watcher(node), Watcher(node), Watcher(node)
    first.watch("a", "get", {"key": "a"})
    await settled(lambda: bool(gate.waiting))
    node.write("b", 1)
    second.watch("a", "get", {"key": "a"})  # may hope: nothing it reads was touched
    await settled()
    node.write("a", 2)
    third.watch("a", "get", {"key": "a"})
    await settled()
    gate.let_one_go()
    await settled(lambda: bool(second.rounds))
    assert second.rounds == [(second.rounds[0][0], {"a": None})]
    while not third.rounds:
        await settled(lambda: bool(gate.waiting))
        gate.let_one_go()
        await settled(turns=20)
    assert third.rounds[0][1] == {"a": 2}


async def test_a_page_keeps_its_end_and_a_newcomer_gets_a_fresh_page(node: Any, settled: Settled) -> None:
    node.write("a", 1)
    first, second = Watcher(node), Watcher(node)
    first.watch("page", "page")
    await settled(lambda: bool(first.rounds))
    node.write("b", 1)
    await settled(lambda: len(first.rounds) == 2)
    second.watch("page", "page")
    await settled(lambda: bool(second.rounds))
    assert first.rounds[1][1] == {"page": {"pinned": 1, "now": 2}}
    assert second.rounds[0][1] == {"page": {"pinned": 2, "now": 2}}
    node.write("c", 1)
    await settled(lambda: len(first.rounds) == 3 and len(second.rounds) == 2)
    assert first.rounds[2][1] == {"page": {"pinned": 1, "now": 3}}
    assert second.rounds[1][1] == {"page": {"pinned": 2, "now": 3}}


async def test_what_a_subscriber_is_not_ready_for_is_folded_together(node: Any, settled: Settled) -> None:
    watcher = Watcher(node)
    watcher.watch("a", "get", {"key": "a"})
    await settled(lambda: bool(watcher.rounds))
    watcher.is_ready = False
    for value in range(5):
        node.write("a", value)
        await settled(turns=10)
    assert len(watcher.rounds) == 1
    watcher.is_ready = True
    node.rounds.request(watcher)
    await settled(lambda: len(watcher.rounds) == 2)
    assert watcher.rounds[1][1] == {"a": 4}
    assert len(node.runs) == 2, "nobody ran a query for a subscriber that cannot take the result"


async def test_no_round_opens_before_the_subscribers_floor(node: Any, settled: Settled) -> None:
    watcher = Watcher(node)
    watcher.floor_ts = Timestamp(node.latest_ts + 2)
    watcher.watch("a", "get", {"key": "a"})
    await settled(turns=30)
    node.write("b", 1)
    await settled(turns=30)
    assert not watcher.rounds
    node.write("b", 2)
    await settled(lambda: bool(watcher.rounds))
    assert watcher.rounds[0][0] >= watcher.floor_ts


async def test_trouble_is_retried_at_a_newer_snapshot(node: Any, settled: Settled) -> None:
    node.trouble["get"] = [OverloadError("OutOfRetention", "too old")]
    watcher = Watcher(node)
    watcher.watch("a", "get", {"key": "a"})
    watcher.watch("b", "parity", {"key": "b"})
    await settled(lambda: bool(watcher.rounds))
    assert watcher.redone == 1
    assert watcher.rounds[0][1] == {"a": None, "b": 0}


async def test_trouble_that_stays_breaks_off(node: Any, settled: Settled, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_wait(seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(node.runtime, "sleep", no_wait)
    node.trouble["get"] = [EngineError("broken") for _ in range(FAILURES_MAX)]
    watcher = Watcher(node)
    watcher.watch("a", "get", {"key": "a"})
    await settled(lambda: watcher.broken_off is not None)
    assert isinstance(watcher.broken_off, EngineError)
    assert not watcher.rounds


async def test_foreign_writes_and_gaps_reach_everybody_concerned(node: Any, settled: Settled) -> None:
    watcher = Watcher(node)
    watcher.watch("a", "get", {"key": "a"})
    await settled(lambda: bool(watcher.rounds))
    node.timeline.receive(ForeignWrite("counters", Timestamp(node.latest_ts + 1), None, precise=False))
    await settled(lambda: len(watcher.rounds) == 2)
    node.timeline.receive(FeedGap(Timestamp(node.latest_ts + 5), 9))
    await settled(lambda: len(watcher.rounds) == 3)
    assert len(node.runs) == 3


async def test_a_foreign_write_heard_of_late_is_followed(node: Any, settled: Settled) -> None:
    watcher = Watcher(node)
    watcher.watch("a", "get", {"key": "a"})
    await settled(lambda: bool(watcher.rounds))
    node.timeline.receive(ForeignWrite("counters", Timestamp(node.latest_ts - 5), None, precise=False))
    await settled(lambda: len(watcher.rounds) == 2)
    assert len(node.runs) == 2


async def test_a_new_app_runs_everything_again_and_ignores_runs_of_the_old_one(node: Any, settled: Settled) -> None:
    gate = node.pace = Gate("get")
    watcher = Watcher(node)
    watcher.watch("a", "get", {"key": "a"})
    watcher.watch("p", "parity", {"key": "a"})
    await settled(lambda: bool(gate.waiting))
    node.rounds.discard_all()
    gate.let_one_go()
    await settled(lambda: bool(gate.waiting))
    assert not watcher.rounds
    gate.let_one_go()
    await settled(lambda: len(watcher.rounds) == 2)
    assert [path for path, _ in node.runs].count("get") == 2
    assert [path for path, _ in node.runs].count("parity") == 2


async def test_who_has_left_is_forgotten_in_the_middle_of_a_round(node: Any, settled: Settled) -> None:
    gate = node.pace = Gate("get")
    watcher = Watcher(node)
    subscription = watcher.watch("a", "get", {"key": "a"})
    await settled(lambda: bool(gate.waiting))
    node.rounds.leave(watcher)
    node.rounds.unsubscribe(watcher, subscription)
    gate.let_one_go()
    await settled()
    assert not watcher.rounds
    assert subscription.live.state is LiveState.FRESH


# -- one-off queries and the cache ------------------------------------------------------------------------------------


async def read(node: Any, path: str, args: Any = None) -> Any:
    version = await node.rounds.read(path, orjson.dumps(args or {}), ts=node.latest_ts, identity=None)
    return orjson.loads(version.content.body)


async def test_one_off_queries_share_a_run_and_then_the_cache(node: Any) -> None:
    results = await asyncio.gather(*(read(node, "get", {"key": "a"}) for _ in range(10)))
    assert results == [None] * 10
    assert await read(node, "get", {"key": "a"}) is None
    assert len(node.runs) == 1
    node.write("a", 3)
    assert node.cache.statistics().entries == 0, "a touched entry that nobody watches is dropped"
    assert await read(node, "get", {"key": "a"}) == 3
    assert len(node.runs) == 2


async def test_failures_are_not_cached(node: Any) -> None:
    await read(node, "bad")
    await read(node, "bad")
    assert len(node.runs) == 2
    assert node.cache.statistics().live == 0
    assert len(node.invalidation) == 0


async def test_one_off_callers_hear_of_trouble_at_once(node: Any) -> None:
    node.trouble["get"] = [EngineError("broken")]
    with pytest.raises(EngineError):
        await read(node, "get", {"key": "a"})
    assert await read(node, "get", {"key": "a"}) is None


async def test_a_result_that_lost_its_subscribers_serves_the_next_caller(node: Any, settled: Settled) -> None:
    watcher = Watcher(node)
    subscription = watcher.watch("a", "get", {"key": "a"})
    await settled(lambda: bool(watcher.rounds))
    node.rounds.unsubscribe(watcher, subscription)
    assert node.cache.statistics().entries == 1
    await read(node, "get", {"key": "a"})
    newcomer = Watcher(node)
    newcomer.watch("a", "get", {"key": "a"})
    await settled(lambda: bool(newcomer.rounds))
    assert len(node.runs) == 1
    assert node.cache.statistics().entries == 0


async def test_the_cache_is_bounded_and_forgets_the_least_recently_used(node: Any) -> None:
    node.cache._entries_max = 3
    for key in "abc":
        await read(node, "get", {"key": key})
    await read(node, "get", {"key": "a"})
    await read(node, "get", {"key": "d"})
    assert node.cache.statistics().entries == 3
    await read(node, "get", {"key": "a"})
    assert len(node.runs) == 4
    await read(node, "get", {"key": "b"})
    assert len(node.runs) == 5
    assert len(node.invalidation) == 3


# -- identity ---------------------------------------------------------------------------------------------------------


async def test_a_result_is_shared_between_callers_unless_it_looked_at_them(node: Any, settled: Settled) -> None:
    looks = False
    execute = node.execute

    async def executed(live: Any, ts: Timestamp) -> Version:
        version: Version = await execute(live, ts)
        version.read_identity = looks
        return version

    node.rounds._execute = executed
    ada, bob = {"subject": "ada"}, {"subject": "bob"}
    watchers = []
    for identity in (ada, bob, None):
        watcher = Watcher(node)
        node.rounds.subscribe(watcher, "a", "get", b'{"key":"a"}', journal=None, identity=identity)
        node.rounds.request(watcher)
        await settled(lambda watcher=watcher: bool(watcher.rounds))
        watchers.append(watcher)
    assert len(node.runs) == 1
    looks = True
    node.write("a", 1)
    await settled(lambda: all(len(w.rounds) == 2 for w in watchers))
    assert len(node.runs) == 4, "one shared run found out that it must not be shared, two more followed"
    node.write("a", 2)
    await settled(lambda: all(len(w.rounds) == 3 for w in watchers))
    assert len(node.runs) == 7
    assert len({id(s.live) for w in watchers for s in w_subscriptions(node, w)}) == 3
    looks = False
    node.write("a", 3)
    await settled(lambda: all(len(w.rounds) == 4 for w in watchers))
    version = await node.rounds.read("get", b'{"key":"a"}', ts=node.latest_ts, identity={"subject": "eve"})
    assert version.content.body == b"3"
    assert len(node.runs) == 10, "one of the three was filed for everybody"


def w_subscriptions(node: Any, watcher: Watcher) -> list[Subscription]:
    return [s for live in node.cache.live_queries() for s in live.subscriptions if s.subscriber is watcher]


async def test_a_one_off_caller_is_never_given_what_was_read_as_somebody_else(node: Any, settled: Settled) -> None:
    execute = node.execute

    async def executed(live: Any, ts: Timestamp) -> Version:
        version: Version = await execute(live, ts)
        version.read_identity = True
        return version

    await read(node, "get", {"key": "a"})
    node.write("b", 0)
    live = node.cache.live_queries()[0]
    assert live.is_shared
    node.rounds._execute = executed
    live.version.touched(node.latest_ts)
    versions = await asyncio.gather(
        *(
            node.rounds.read("get", b'{"key":"a"}', ts=node.latest_ts, identity={"subject": name})
            for name in ("ada", "bob")
        )
    )
    assert versions[0] is not versions[1]
