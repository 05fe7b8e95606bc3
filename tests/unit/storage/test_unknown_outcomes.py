"""The committer when the database does not say what became of a batch, and when one request comes twice.

Each of these was found by the simulator (`concave.testing.simulation`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from concave.storage.committer import CommitRequest, Committer
from concave.storage.recent_log import Published
from concave.storage.store import FeedProgress, LogEntry, RequestRecord, SeqTaken, StoreUnavailable
from concave.storage.timeline import Timeline
from concave.values.errors import ConflictError, EngineError
from concave.values.intervals import IntervalSet
from concave.values.runtime import SystemRuntime
from concave.values.types import Timestamp


class LossyStore:
    """The log alone; time grows by 10 an entry. `loses` says what happens to each append before it is answered."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.now = 100
        self.loses: Callable[[LogEntry], None] = lambda entry: None

    def apply(self, entry: LogEntry) -> None:
        if entry.seq <= len(self.entries):
            raise SeqTaken
        self.entries.append(entry)
        self.now += 10

    async def append(self, entry: LogEntry) -> Timestamp:
        await asyncio.sleep(0)
        self.loses(entry)
        self.apply(entry)
        return Timestamp(self.now)

    async def current_ts(self) -> Timestamp:
        return Timestamp(self.now)

    async def last_seq(self, ts: Timestamp) -> int:
        return len(self.entries)


@asynccontextmanager
async def running(store: LossyStore, timeline: Timeline) -> AsyncIterator[Committer]:
    committer = Committer(store, timeline, SystemRuntime(), node="me")  # type: ignore[arg-type]
    task = asyncio.create_task(committer.run())
    try:
        async with asyncio.timeout(10):
            yield committer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def request(request_id: int, *, at: int = 100) -> CommitRequest:
    record = RequestRecord("session", request_id, b"null", ())
    return CommitRequest(Timestamp(at), IntervalSet(), (), "messages:send", record)


async def test_time_stands_still_until_all_is_taken_as_changed() -> None:
    store, timeline = LossyStore(), Timeline(Timestamp(100), 0)
    heard: list[tuple[bool, Timestamp]] = []

    def listen(published: Published) -> None:
        heard.append((published.everything, timeline.latest_ts))

    timeline.add_listener(listen)

    def applied_and_not_answered(entry: LogEntry) -> None:
        store.loses = lambda entry: None
        store.apply(entry)
        # The feed covers the time of our entry, and does not bring it, because it is ours.
        timeline.receive(FeedProgress(Timestamp(115)))
        raise StoreUnavailable

    store.loses = applied_and_not_answered
    async with running(store, timeline) as committer:
        with pytest.raises(EngineError):
            await committer.commit(request(1))
        await timeline.wait_for_ts(Timestamp(115))
    assert heard == [(True, 100)]
    assert timeline.last_seq == 1


async def test_a_batch_that_arrives_late_finds_its_number_taken() -> None:
    store, timeline = LossyStore(), Timeline(Timestamp(100), 0)
    on_its_way: list[LogEntry] = []

    def delayed(entry: LogEntry) -> None:
        store.loses = lambda entry: None
        on_its_way.append(entry)
        raise StoreUnavailable

    store.loses = delayed
    async with running(store, timeline) as committer:
        with pytest.raises(EngineError):
            await committer.commit(request(1))
        await timeline.wait_for_seq(1)
        with pytest.raises(SeqTaken):
            store.apply(on_its_way[0])
        await committer.commit(request(2, at=110))
    assert [[record.request_id for record in entry.requests] for entry in store.entries] == [[], [2]]


async def test_one_batch_takes_a_request_once() -> None:
    store, timeline = LossyStore(), Timeline(Timestamp(100), 0)
    async with running(store, timeline) as committer:
        first, second = await asyncio.gather(
            committer.commit(request(1)), committer.commit(request(1)), return_exceptions=True
        )
    assert first == 110
    assert isinstance(second, ConflictError)
    assert len(store.entries[0].requests) == 1
