"""Two worlds in which the store contract is tried: MongoDB and memory.

A `World` is one database. `open` gives a started store on it, as one more node would have; the `foreign_*` methods
write to it as another program would, without a log entry.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, cast

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

from concave.schema.catalog import Catalog
from concave.schema.definition import TableDefinition, define_table
from concave.schema.plan import Plan, compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v
from concave.storage.memory import MemoryDatabase, MemoryStore
from concave.storage.mongo import MongoStore
from concave.storage.store import (
    DocumentWrite,
    FeedEvent,
    FeedProgress,
    IndexKeyChange,
    LogEntry,
    RequestRecord,
    Store,
)
from concave.values.ids import new_id
from concave.values.keys import PREFIX_END
from concave.values.runtime import SystemRuntime
from concave.values.types import Document, Timestamp


class World(Protocol):
    runtime: SystemRuntime

    async def open(self, node: str = "node") -> Store: ...

    async def foreign_insert(self, table: str, document: Document) -> None: ...

    async def foreign_update(self, table: str, document: Document) -> None: ...

    async def foreign_delete(self, table: str, id: str) -> None: ...

    async def close(self) -> None: ...


class MemoryWorld:
    def __init__(self) -> None:
        self.runtime = SystemRuntime()
        self.database = MemoryDatabase(self.runtime)

    async def open(self, node: str = "node") -> Store:
        store = MemoryStore(self.database, runtime=self.runtime, node=node)
        await store.start()
        return store

    async def foreign_insert(self, table: str, document: Document) -> None:
        self.database.foreign_insert(table, document)

    async def foreign_update(self, table: str, document: Document) -> None:
        self.database.foreign_update(table, document)

    async def foreign_delete(self, table: str, id: str) -> None:
        self.database.foreign_delete(table, id)

    async def close(self) -> None:
        await self.runtime.close()


class MongoWorld:
    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.runtime = SystemRuntime()
        self._stores: list[MongoStore] = []
        self._client: AsyncMongoClient[Document] | None = None

    async def open(self, node: str = "node") -> MongoStore:
        store = MongoStore(self.uri, runtime=self.runtime, node=node)
        await store.start()
        self._stores.append(store)
        return store

    @property
    def database(self) -> AsyncDatabase[Document]:
        """The database as another program sees it."""
        if self._client is None:
            self._client = AsyncMongoClient(self.uri)
        return self._client.get_default_database()

    async def foreign_insert(self, table: str, document: Document) -> None:
        await self.database[table].insert_one(dict(document))

    async def foreign_update(self, table: str, document: Document) -> None:
        await self.database[table].replace_one({"_id": document["_id"]}, dict(document))

    async def foreign_delete(self, table: str, id: str) -> None:
        await self.database[table].delete_one({"_id": id})

    async def close(self) -> None:
        for store in self._stores:
            await store.close()
        if self._client is not None:
            await self._client.close()
        await self.runtime.close()


@pytest.fixture
async def mongo_world(database_uri: str) -> AsyncIterator[MongoWorld]:
    world = MongoWorld(database_uri)
    yield world
    await world.close()


@pytest.fixture(params=["memory", "mongo"])
def backend_uri(request: pytest.FixtureRequest) -> str | None:
    """URI of a MongoDB database, or None for memory. Apart from `world`: it may start a mongod on a loop of its own."""
    return None if request.param == "memory" else cast(str, request.getfixturevalue("database_uri"))


@pytest.fixture
async def world(backend_uri: str | None) -> AsyncIterator[World]:
    world: World = MemoryWorld() if backend_uri is None else MongoWorld(backend_uri)
    yield world
    await world.close()


class Bench:
    """A store with a schema, and short words for what tests do with it."""

    def __init__(self, store: Store, catalog: Catalog, runtime: SystemRuntime, node: str) -> None:
        self.store = store
        self.catalog = catalog
        self.runtime = runtime
        self.node = node
        self._created = runtime.now_ms()

    def document(self, table: str, **fields: Any) -> Document:
        """A document with a fresh id and a creation time after all earlier ones."""
        self._created += 1.0
        return {"_id": new_id(self.catalog.table_number(table), self.runtime), "_creationTime": self._created, **fields}

    def write(self, table: str, before: Document | None, after: Document | None) -> DocumentWrite:
        layout = self.catalog.layout(table)
        old = layout.keys(before) if before is not None else {}
        new = layout.keys(after) if after is not None else {}
        changes = tuple(IndexKeyChange(name, old.get(name), new.get(name)) for name in layout.indexes)
        document = before if before is not None else after
        assert document is not None
        return DocumentWrite(table, document["_id"], before, after, changes)

    async def entry(
        self, *writes: DocumentWrite, requests: Sequence[RequestRecord] = (), seq: int | None = None
    ) -> LogEntry:
        if seq is None:
            seq = await self.store.last_seq(await self.store.current_ts()) + 1
        return LogEntry(seq, self.node, self.runtime.uuid(), tuple(writes), tuple(requests))

    async def append(self, *writes: DocumentWrite, requests: Sequence[RequestRecord] = ()) -> Timestamp:
        return await self.store.append(await self.entry(*writes, requests=requests))

    async def insert(self, table: str, *documents: Document) -> Timestamp:
        return await self.append(*(self.write(table, None, document) for document in documents))

    async def replace(self, table: str, before: Document, after: Document) -> Timestamp:
        return await self.append(self.write(table, before, after))

    async def delete(self, table: str, before: Document) -> Timestamp:
        return await self.append(self.write(table, before, None))

    async def all(self, table: str, index: str, ts: Timestamp | None = None, **options: Any) -> list[Document]:
        """A scan of the whole index, now unless `ts` says when."""
        low, high = options.pop("low", b""), options.pop("high", PREFIX_END)
        return await self.store.scan(
            table,
            self.catalog.layout(table).indexes[index],
            low,
            high,
            order=options.pop("order", "asc"),
            limit=options.pop("limit", 1_000),
            ts=ts if ts is not None else await self.store.current_ts(),
        )

    async def events(self, after: Timestamp, done: Callable[[list[FeedEvent]], bool]) -> list[FeedEvent]:
        """What the feed brings after `after`, progress left out, until `done` is content with it."""
        seen: list[FeedEvent] = []
        async with asyncio.timeout(20), aclosing(cast(Any, self.store.feed(after))) as feed:
            async for event in feed:
                if not isinstance(event, FeedProgress):
                    seen.append(event)
                if done(seen):
                    return seen
        raise AssertionError("a feed never ends by itself")

    async def progress(self, after: Timestamp, until: Timestamp) -> Timestamp:
        """Wait until the feed says that everything up to `until` was delivered."""
        async with asyncio.timeout(20), aclosing(cast(Any, self.store.feed(after))) as feed:
            async for event in feed:
                if isinstance(event, FeedProgress) and event.ts >= until:
                    return event.ts
        raise AssertionError("a feed never ends by itself")


def plan_of(schema_validation: bool = True, **tables: TableDefinition) -> Plan:
    return compile_plan(Schema(tables, schema_validation))


def chat_plan() -> Plan:
    return plan_of(
        messages=define_table(
            channel=v.string(), body=v.optional(v.string()), likes=v.optional(v.number()), extra=v.optional(v.any())
        )
        .index("by_channel", ["channel"])
        .index("by_likes", ["likes"])
        .index("by_extra", ["extra"]),
        users=define_table(name=v.optional(v.nullable(v.string())), handle=v.optional(v.string()))
        .index("by_name", ["name"], unique=True)
        .index("by_handle", ["handle"], unique=True),
    )


@pytest.fixture
def open_bench(world: World) -> Callable[..., Any]:
    """Opens one more node on the world's database and pushes a plan (the chat's unless another is given)."""

    async def open_one(node: str = "node", plan: Plan | None = None) -> Bench:
        store = await world.open(node)
        return Bench(store, await store.push(plan or chat_plan()), world.runtime, node)

    return open_one


@pytest.fixture
async def bench(open_bench: Callable[..., Any]) -> Bench:
    return cast(Bench, await open_bench())


@pytest.fixture
async def mongo_bench(mongo_world: MongoWorld) -> Bench:
    store = await mongo_world.open()
    return Bench(store, await store.push(chat_plan()), mongo_world.runtime, "node")


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    return plan_of


@pytest.fixture
def make_bench() -> Callable[[Store, Catalog, SystemRuntime], Bench]:
    return lambda store, catalog, runtime: Bench(store, catalog, runtime, "node")


def ids(documents: Iterable[Document]) -> list[str]:
    return [document["_id"] for document in documents]
