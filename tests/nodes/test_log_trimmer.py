"""The registry of nodes, leases and the trimming of the commit log, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from bson.timestamp import Timestamp as BsonTimestamp
from pymongo import AsyncMongoClient

from concave.schema.definition import define_table
from concave.schema.plan import compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v
from concave.storage.log_trimmer import LogRetention, Trimmed
from concave.storage.mongo import MongoStore
from concave.storage.node_registry import NodeRegistry
from concave.storage.store import DocumentWrite, FeedProgress, LogEntry, LogTrimmed, RequestRecord
from concave.values.errors import ConfigurationError
from concave.values.ids import new_id
from concave.values.runtime import SystemRuntime
from concave.values.types import Timestamp

AT_ONCE = LogRetention(writes_s=0, requests_s=0)
WRITES_AT_ONCE = LogRetention(writes_s=0)
PLAN = compile_plan(Schema({"notes": define_table(text=v.string())}))


class World:
    """A database with a log, a store that writes it, and the collections as they are."""

    def __init__(self, uri: str, client: AsyncMongoClient[dict[str, Any]]) -> None:
        self.uri = uri
        self.runtime = SystemRuntime()
        self.database = client.get_default_database()
        self.store = MongoStore(uri, runtime=self.runtime, node="writer")
        self.seq = 0

    async def commit(self, count: int) -> None:
        """Append entries 1, 2, ..., each with one document and the outcome of request (s, number)."""
        for _ in range(count):
            self.seq += 1
            document = {"_id": new_id(10_001, self.runtime), "_creationTime": 1.0, "text": str(self.seq)}
            write = DocumentWrite("notes", document["_id"], None, document, ())
            record = RequestRecord("s", self.seq, b"%d" % self.seq, ())
            await self.store.append(LogEntry(self.seq, "writer", self.runtime.uuid(), (write,), (record,)))

    async def registry(self, seq: int) -> NodeRegistry:
        """The writer's, after a heartbeat that says that it has published up to `seq`."""
        registry = self.store.registry(lambda: (seq, Timestamp(1)))
        await registry.beat()
        return registry

    async def trim(self, retention: LogRetention, seq: int | None = None) -> Trimmed | None:
        registry = await self.registry(self.seq if seq is None else seq)
        return await self.store.log_trimmer(registry, retention).pass_once()

    async def whole(self) -> list[int]:
        """Numbers of the entries that have their writes."""
        return [entry["_id"] async for entry in self.database["_commits"].find({"writes": {"$exists": True}})]

    async def add_node(self, name: str, *, seq: int, silent_s: float) -> None:
        """Another node's entry."""
        heartbeat = datetime.now(UTC) - timedelta(seconds=silent_s)
        entry = {"host": "h", "pid": 1, "started": heartbeat, "heartbeat": heartbeat, "seq": seq}
        await self.database["_nodes"].insert_one({"_id": name, **entry, "ts": BsonTimestamp(1, 1)})


@pytest.fixture
async def world(database_uri: str) -> AsyncIterator[World]:
    async with AsyncMongoClient[dict[str, Any]](database_uri) as client:
        found = World(database_uri, client)
        await found.store.start()
        await found.store.push(PLAN)
        yield found
        await found.store.close()
        await found.runtime.close()


async def test_old_entries_lose_their_writes_and_keep_their_requests(world: World) -> None:
    await world.commit(5)
    # The newest entry stays; so does its number, which the next one follows from.
    assert await world.trim(WRITES_AT_ONCE) == Trimmed(4, 0)
    assert await world.whole() == [5]
    for number in range(1, 6):
        found = await world.store.find_request("s", number)
        assert found is not None
        assert found.record.result_json == b"%d" % number
    with pytest.raises(LogTrimmed):
        await world.store.read_log(0, 10)
    assert [entry.seq for entry in await world.store.read_log(4, 10)] == [5]
    await world.commit(2)
    assert await world.trim(WRITES_AT_ONCE) == Trimmed(6, 0)
    assert await world.whole() == [7]


async def test_much_older_entries_are_deleted(world: World) -> None:
    await world.commit(5)
    assert await world.trim(AT_ONCE) == Trimmed(4, 4)
    assert [entry["_id"] async for entry in world.database["_commits"].find()] == [5]
    assert await world.store.last_seq(await world.store.current_ts()) == 5
    with pytest.raises(LogTrimmed):
        await world.store.read_log(2, 10)
    await world.commit(1)
    assert await world.trim(AT_ONCE) == Trimmed(5, 5)


async def test_young_entries_stay(world: World) -> None:
    await world.commit(3)
    assert await world.trim(LogRetention(writes_s=30)) == Trimmed(0, 0)
    assert await world.whole() == [1, 2, 3]


async def test_more_entries_than_a_batch(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concave.storage.log_trimmer.BATCH_ENTRIES", 3)
    monkeypatch.setattr("concave.storage.log_trimmer.REST_S_MIN", 0)
    await world.commit(11)
    assert await world.trim(AT_ONCE) == Trimmed(10, 10)


async def test_entries_that_a_live_node_has_not_published_stay(world: World) -> None:
    await world.commit(5)
    await world.add_node("slow", seq=2, silent_s=1)
    await world.add_node("dead", seq=1, silent_s=60)
    assert await world.trim(WRITES_AT_ONCE) == Trimmed(2, 0)
    assert await world.whole() == [3, 4, 5]
    await world.database["_nodes"].update_one({"_id": "slow"}, {"$set": {"seq": 3}})
    assert await world.trim(WRITES_AT_ONCE) == Trimmed(3, 0)


async def test_one_node_at_a_time(world: World) -> None:
    await world.commit(3)
    now = datetime.now(UTC)
    lease = {"_id": "log trimmer", "holder": "another", "until": now + timedelta(seconds=30)}
    await world.database["_leases"].insert_one(lease)
    assert await world.trim(WRITES_AT_ONCE) is None
    ended = {"$set": {"until": now - timedelta(seconds=1), "trimmed": 1}}
    await world.database["_leases"].update_one({"_id": "log trimmer"}, ended)
    assert await world.trim(WRITES_AT_ONCE) == Trimmed(2, 0)
    # The first entry was another's work.
    assert await world.whole() == [1, 3]


async def test_nobody_hears_of_it(world: World) -> None:
    other = MongoStore(world.uri, runtime=world.runtime, node="other")
    await other.start()
    await other.adopt(PLAN)
    await world.commit(3)
    start = await other.current_ts()
    await world.trim(AT_ONCE)
    await world.commit(1)
    seen: list[Any] = []
    async with asyncio.timeout(10), aclosing(other.feed(start)) as feed:  # type: ignore[type-var]
        async for event in feed:
            if not isinstance(event, FeedProgress):
                seen.append(event)
                break
    assert [event.entry.seq for event in seen] == [4]
    await other.close()


async def test_an_entry_follows_on_one_of_another_node(world: World) -> None:
    """A node that has heard of an entry says its timestamp in the next one, by which its age is known."""
    other = MongoStore(world.uri, runtime=world.runtime, node="other")
    await other.start()
    await other.adopt(PLAN)
    start = await other.current_ts()
    await world.commit(1)
    async with asyncio.timeout(10), aclosing(other.feed(start)) as feed:  # type: ignore[type-var]
        async for event in feed:
            if not isinstance(event, FeedProgress):
                break
    await other.append(LogEntry(2, "other", world.runtime.uuid(), ()))
    found = await world.database["_commits"].find_one({"_id": 2})
    assert found is not None
    assert "prevTs" in found
    await other.close()


async def test_the_living(world: World) -> None:
    registry = await world.registry(7)
    await world.add_node("dead", seq=1, silent_s=60)
    (node,) = await registry.live_nodes()
    assert (node.node, node.seq, node.ts) == ("writer", 7, Timestamp(1))
    assert registry.last is not None
    await registry.leave()
    assert await registry.live_nodes() == []


async def test_silent_nodes_expire(world: World) -> None:
    registry = await world.registry(1)
    task = world.runtime.spawn(registry.run(), name="registry")

    async def has_expiry() -> bool:
        return "expiry" in await world.database["_nodes"].index_information()

    async with asyncio.timeout(10):
        while not await has_expiry():
            await asyncio.sleep(0.01)
    task.cancel()
    assert (await world.database["_nodes"].index_information())["expiry"]["expireAfterSeconds"] > 20


async def test_a_plan_that_was_not_pushed_cannot_be_adopted(world: World) -> None:
    larger = compile_plan(Schema({"notes": define_table(text=v.string()).index("by_text", ["text"])}))
    with pytest.raises(ConfigurationError, match="concave schema push"):
        await world.store.adopt(larger)
