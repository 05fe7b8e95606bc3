"""A commit whose answer was lost, when another node has committed meanwhile: its time must lie before the other's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from concave.storage.lane import Lane
from concave.storage.store import RemoteCommit, StoreUnavailable


class LostAnswer:
    """Loses the answer to the next commit, once or for good, after something else has happened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def after(self, happening: Callable[[], Awaitable[None]], *, times: int) -> None:
        run = Lane.run
        lost = 0

        async def lose(lane: Lane, messages: Sequence[Any], timeout_s: float = 20.0) -> list[memoryview]:
            nonlocal lost
            bodies = await run(lane, messages, timeout_s)
            if lost < times and any(b"commitTransaction" in message for _, message, _ in messages):
                lost += 1
                if lost == 1:
                    self._monkeypatch.setattr(Lane, "run", run)
                    await happening()
                    self._monkeypatch.setattr(Lane, "run", lose)
                error = AutoReconnect("cut by the test")
                await lane.close(error)
                raise error
            return bodies

        self._monkeypatch.setattr(Lane, "run", lose)


@pytest.fixture
async def other(mongo_world: Any, mongo_bench: Any, make_bench: Any) -> Any:
    """A second node on the database of `mongo_bench`."""
    store = await mongo_world.open("other")
    return make_bench(store, await store.push(mongo_bench.catalog.plan), mongo_world.runtime)


@pytest.mark.parametrize("times", [1, 4], ids=["answered when asked again", "never answered"])
async def test_its_time_lies_before_that_of_the_next_entry(
    mongo_bench: Any, other: Any, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    start = await other.store.current_ts()
    later = 0

    async def other_node_hears_of_it_and_commits() -> None:
        nonlocal later
        async with asyncio.timeout(20), aclosing(other.store.feed(start)) as events:
            async for event in events:
                if isinstance(event, RemoteCommit):
                    break
        later = await other.insert("messages", other.document("messages", channel="b"))

    LostAnswer(monkeypatch).after(other_node_hears_of_it_and_commits, times=times)
    document = mongo_bench.document("messages", channel="a")
    ts = await mongo_bench.insert("messages", document)
    assert ts < later
    assert await mongo_bench.store.get("messages", document["_id"], ts) == document


async def test_a_time_that_nobody_knows_is_no_guess(
    mongo_bench: Any, other: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def other_node_commits_without_having_heard() -> None:
        await other.insert("messages", other.document("messages", channel="b"))

    LostAnswer(monkeypatch).after(other_node_commits_without_having_heard, times=1)
    document = mongo_bench.document("messages", channel="a")
    with pytest.raises(StoreUnavailable, match="nobody knows when"):
        await mongo_bench.insert("messages", document)
    assert await mongo_bench.store.get("messages", document["_id"], await mongo_bench.store.current_ts()) == document
