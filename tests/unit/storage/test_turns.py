"""Turn-taking between nodes: the state machine, and two committers that would starve one another without it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from concave.schema.definition import define_table
from concave.schema.plan import compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v
from concave.storage.committer import CommitRequest, Committer
from concave.storage.memory import MemoryDatabase, MemoryStore
from concave.storage.store import DocumentWrite, IndexKeyChange, LogEntry
from concave.storage.timeline import Timeline
from concave.storage.turns import RACES_MAX, TERM_S, TERM_S_MAX, Turns
from concave.values.intervals import IntervalSet
from concave.values.runtime import SystemRuntime
from concave.values.types import Timestamp


class Clock(SystemRuntime):
    def __init__(self) -> None:
        super().__init__()
        self.at_s = 1000.0

    def monotonic(self) -> float:
        return self.at_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nodes_that_seldom_meet_never_wait(clock: Clock) -> None:
    turns = Turns("a", clock)
    turns.entry_published("b", ())
    assert turns.wait_s() == 0
    turns.race_lost()
    assert turns.must_ask
    assert turns.wait_s() == 0, "one lost race may be an accident"


def test_a_commit_that_waited_for_a_new_primary_does_not_make_for_long_terms(clock: Clock) -> None:
    turns = Turns("a", clock)
    for _ in range(20):
        turns.committed_in(0.01)
    turns.committed_in(10.0)
    turns.entry_published("b", ("dead", "a"))
    assert turns.wait_s() < 0.2
    for _ in range(100):
        turns.committed_in(10.0)
    assert turns.wait_s() <= TERM_S_MAX


def test_who_keeps_losing_waits_for_a_pause(clock: Clock) -> None:
    turns = Turns("a", clock)
    turns.entry_published("b", ())
    for _ in range(RACES_MAX):
        turns.race_lost()
    assert turns.wait_s() == pytest.approx(TERM_S)
    clock.at_s += TERM_S
    assert turns.wait_s() <= 0
    turns.entry_published("a", ())
    assert turns.wait_s() == 0
    assert not turns.must_ask


def test_each_waits_for_those_before_it(clock: Clock) -> None:
    called: list[str] = []
    a, b, c, d = (Turns(name, clock, lambda name=name: called.append(name)) for name in "abcd")  # type: ignore[misc]
    for turns in (a, b, c, d):
        turns.entry_published("d", ("a", "b", "c"))
    assert called == ["a"]
    assert [turns.wait_s() for turns in (a, b, c, d)] == pytest.approx([0, TERM_S, 2 * TERM_S, 3 * TERM_S])
    assert (a.is_waited_for, b.is_waited_for) == (True, False)


def test_who_asked_is_listed_and_who_has_more_stands_last(clock: Clock) -> None:
    turns = Turns("a", clock)
    assert turns.next_list(more=True) == ()
    turns.asked_for("a")
    turns.asked_for("b")
    turns.asked_for("b")
    assert turns.next_list(more=True) == ("b", "a")
    assert turns.next_list(more=False) == ("b",)
    turns.entry_published("a", ("b", "a"))
    turns.asked_for("c")
    turns.entry_published("b", ("a", "b"))
    assert turns.next_list(more=True) == ("b", "c", "a")


def test_who_was_silent_is_left_out(clock: Clock) -> None:
    turns = Turns("c", clock)
    turns.entry_published("a", ("b", "c", "a"))
    clock.at_s += TERM_S
    assert turns.wait_s() <= 0
    assert turns.next_list(more=True) == ("a", "c")


def test_slow_commits_make_for_long_terms(clock: Clock) -> None:
    turns = Turns("b", clock)
    for _ in range(100):
        turns.committed_in(0.1)
    turns.entry_published("a", ("a", "b"))
    assert turns.wait_s() == pytest.approx(0.4, rel=0.01)


def test_nothing_is_known_after_a_loss_of_history(clock: Clock) -> None:
    turns = Turns("b", clock)
    turns.entry_published("a", ("a", "b"))
    turns.history_lost()
    assert turns.wait_s() == 0


class SlowStore(MemoryStore):
    """A database one millisecond away, whose feed needs five."""

    async def append(self, entry: LogEntry) -> Timestamp:
        await asyncio.sleep(0.001)
        return await super().append(entry)

    async def feed(self, after: Timestamp) -> Any:
        async for event in super().feed(after):
            await asyncio.sleep(0.005)
            yield event


PLAN = compile_plan(Schema({"rows": define_table(n=v.number())}))
COMMITS = 40
WRITERS = 8


class Node:
    def __init__(self, database: MemoryDatabase, runtime: SystemRuntime, name: str) -> None:
        self.name = name
        self.runtime = runtime
        self.store = SlowStore(database, runtime=runtime, node=name)

    async def start(self) -> None:
        self.catalog = await self.store.push(PLAN)
        self.timeline = await Timeline.open(self.store)
        self.committer = Committer(self.store, self.timeline, self.runtime, node=self.name)
        self.runtime.spawn(self.timeline.follow(self.store, self.runtime), name="feed")
        self.runtime.spawn(self.committer.run(), name="committer")

    async def write(self, number: int, done: asyncio.Event) -> None:
        layout = self.catalog.layout("rows")
        made = 0
        while not done.is_set():
            document = {"_id": f"{self.name} {number} {made}", "_creationTime": 1.0, "n": 1.0}
            keys = tuple(IndexKeyChange(name, None, key) for name, key in layout.keys(document).items())
            write = DocumentWrite("rows", document["_id"], None, document, keys)
            await self.committer.commit(CommitRequest(self.timeline.latest_ts, IntervalSet(), (write,), "f"))
            made += 1


@pytest.fixture
async def nodes() -> AsyncIterator[list[Node]]:
    runtime = SystemRuntime()
    database = MemoryDatabase(runtime)
    started = [Node(database, runtime, name) for name in ("a", "b")]
    for node in started:
        await node.start()
    yield started
    await runtime.close()


async def test_two_busy_nodes_share_the_log(nodes: list[Node]) -> None:
    done = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for node in nodes:
            for number in range(WRITERS):
                group.create_task(node.write(number, done))
        while min(node.committer.statistics().batches for node in nodes) < COMMITS:
            await asyncio.sleep(0.005)
        done.set()
    figures = [node.committer.statistics() for node in nodes]
    assert max(each.batches for each in figures) <= 2 * min(each.batches for each in figures)
    assert sum(each.lost_races for each in figures) <= sum(each.batches for each in figures) / 3


async def test_a_node_that_goes_quiet_costs_the_other_little(nodes: list[Node]) -> None:
    busy, quiet = nodes
    done, enough = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for number in range(WRITERS):
            group.create_task(busy.write(number, enough))
            group.create_task(quiet.write(number, done))
        while quiet.committer.statistics().batches < 10:
            await asyncio.sleep(0.005)
        done.set()
        entries = busy.store.database.entries
        # In the end the busy node commits one entry after the other, and nobody asks the quiet one any more.
        while any(entry.node == quiet.name for entry in entries[-COMMITS:]):
            await asyncio.sleep(0.005)
        enough.set()
