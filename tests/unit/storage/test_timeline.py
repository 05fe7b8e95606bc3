"""The timeline: listeners first, then `latest_ts`; feed events are held while an own commit is in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from concave.storage.recent_log import Published
from concave.storage.store import (
    FeedEvent,
    FeedGap,
    FeedProgress,
    ForeignWrite,
    LogEntry,
    LogTrimmed,
    RemoteCommit,
    Store,
)
from concave.storage.timeline import Timeline
from concave.values.runtime import SystemRuntime
from concave.values.types import Timestamp


def ts(number: int) -> Timestamp:
    return Timestamp(number)


def entry(seq: int, at: int, node: str = "other") -> LogEntry:
    return LogEntry(seq, node, f"batch-{seq}", (), ts=ts(at))


def foreign(at: int, table: str = "messages") -> ForeignWrite:
    return ForeignWrite(table, ts(at), None, precise=False)


@pytest.fixture
def heard() -> list[tuple[int, int]]:
    """(timestamp published, latest_ts at that moment)."""
    return []


@pytest.fixture
def timeline(heard: list[tuple[int, int]]) -> Timeline:
    timeline = Timeline(ts(100), 7)
    timeline.add_listener(lambda published: heard.append((published.ts, timeline.latest_ts)))
    return timeline


def test_listeners_hear_before_the_timestamp_moves(timeline: Timeline, heard: list[tuple[int, int]]) -> None:
    timeline.receive(RemoteCommit(entry(8, 110)))
    assert heard == [(110, 100)]
    assert (timeline.latest_ts, timeline.last_seq) == (110, 8)


def test_progress_moves_time_and_tells_nobody(timeline: Timeline, heard: list[tuple[int, int]]) -> None:
    timeline.receive(FeedProgress(ts(150)))
    timeline.receive(FeedProgress(ts(140)))
    assert heard == []
    assert timeline.latest_ts == 150


def test_events_during_an_own_commit_are_ordered_around_it(timeline: Timeline, heard: list[tuple[int, int]]) -> None:
    assert timeline.begin_append() == 8
    timeline.receive(foreign(105))
    timeline.receive(FeedProgress(ts(106)))
    timeline.receive(foreign(115))
    timeline.receive(FeedProgress(ts(120)))
    assert timeline.latest_ts == 100
    order: list[str] = []
    timeline.add_listener(lambda published: order.append(str(published.ts)))
    timeline.end_append(entry(8, 110, "me"), Published(ts(110)), lambda: order.append("announced"))
    assert order == ["105", "announced", "110", "115"]
    assert (timeline.latest_ts, timeline.last_seq) == (120, 8)


def test_an_aborted_commit_lets_the_held_events_go(timeline: Timeline, heard: list[tuple[int, int]]) -> None:
    timeline.begin_append()
    timeline.receive(RemoteCommit(entry(8, 130)))
    assert timeline.latest_ts == 100
    timeline.abort_append()
    assert (timeline.latest_ts, timeline.last_seq) == (130, 8)
    assert timeline.begin_append() == 9


def test_a_foreign_write_heard_of_late_is_published_now(timeline: Timeline, heard: list[tuple[int, int]]) -> None:
    timeline.begin_append()
    timeline.end_append(entry(8, 110, "me"), Published(ts(110)), lambda: None)
    timeline.receive(foreign(105))
    assert heard == [(110, 100), (110, 110)]


def test_a_gap_takes_everything_as_changed(timeline: Timeline) -> None:
    published: list[Published] = []
    timeline.add_listener(published.append)
    timeline.receive(FeedGap(ts(500), 42))
    assert published[0].everything
    assert (timeline.latest_ts, timeline.last_seq) == (500, 42)
    assert timeline.recent_log.floor == 500


async def test_waiting_for_a_number_and_for_a_time(timeline: Timeline) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(timeline.wait_for_seq(9))
        group.create_task(timeline.wait_for_ts(ts(120)))
        await asyncio.sleep(0)
        timeline.receive(RemoteCommit(entry(8, 115)))
        await asyncio.sleep(0)
        timeline.receive(RemoteCommit(entry(9, 125)))


class LosesHistory:
    """A store whose feed finds the log trimmed, and then has nothing more to say."""

    def __init__(self) -> None:
        self.feeds: list[int] = []

    async def feed(self, after: Timestamp) -> AsyncIterator[FeedEvent]:
        self.feeds.append(after)
        if len(self.feeds) == 1:
            raise LogTrimmed("the log is not whole behind entry 7")
        await asyncio.Event().wait()
        yield FeedProgress(after)

    async def current_ts(self) -> Timestamp:
        return ts(900)

    async def last_seq(self, at: Timestamp) -> int:
        return 33


class NoPauses(SystemRuntime):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


async def test_a_node_behind_the_trim_starts_again_from_now(timeline: Timeline) -> None:
    published: list[Published] = []
    timeline.add_listener(published.append)
    runtime, store = NoPauses(), LosesHistory()
    runtime.spawn(timeline.follow(cast(Store, store), runtime), name="feed")
    async with asyncio.timeout(5):
        while len(store.feeds) < 2:
            await asyncio.sleep(0)
    await runtime.close()
    assert [one.everything for one in published] == [True]
    assert (timeline.latest_ts, timeline.last_seq, timeline.feed_ts) == (900, 33, 900)
    assert store.feeds == [100, 900]


def test_own_commits_do_not_move_the_feed(timeline: Timeline) -> None:
    timeline.begin_append()
    timeline.end_append(entry(8, 110, "me"), Published(ts(110)), lambda: None)
    assert (timeline.latest_ts, timeline.feed_ts) == (110, 100)
    timeline.receive(FeedProgress(ts(105)))
    assert (timeline.latest_ts, timeline.feed_ts) == (110, 105)
