"""What `MemoryStore` has besides the contract, which the conformance suite covers: forgetting at will."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, cast

import pytest

from concave.schema.definition import define_table
from concave.schema.plan import compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v
from concave.storage.memory import MemoryDatabase, MemoryStore
from concave.storage.store import DocumentWrite, FeedGap, IndexKeyChange, LogEntry, SnapshotTooOld
from concave.values.ids import new_id
from concave.values.runtime import SystemRuntime
from concave.values.types import Document, Timestamp


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    runtime = SystemRuntime()
    store = MemoryStore(runtime=runtime)
    await store.push(compile_plan(Schema({"t": define_table(a=v.string()).index("by_a", ["a"])})))
    yield store
    await runtime.close()


def document(store: MemoryStore, a: str) -> Document:
    catalog = store.database.catalog
    assert catalog is not None
    return {"_id": new_id(catalog.table_number("t"), SystemRuntime()), "_creationTime": 1.0, "a": a}


async def append(store: MemoryStore, before: Document | None, after: Document | None) -> Timestamp:
    table = store.database.tables["t"]
    old = table.layout.keys(before) if before else {}
    new = table.layout.keys(after) if after else {}
    keys = tuple(IndexKeyChange(name, old.get(name), new.get(name)) for name in table.layout.indexes)
    one = before or after
    assert one is not None
    seq = await store.last_seq(await store.current_ts()) + 1
    return await store.append(LogEntry(seq, "n", f"b{seq}", (DocumentWrite("t", one["_id"], before, after, keys),)))


async def test_history_that_was_forgotten_cannot_be_read(store: MemoryStore) -> None:
    one = document(store, "a")
    first = await append(store, None, one)
    second = await append(store, one, {**one, "a": "b"})
    third = await append(store, {**one, "a": "b"}, None)
    store.database.forget_history(second)
    with pytest.raises(SnapshotTooOld):
        await store.get("t", one["_id"], first)
    assert await store.get("t", one["_id"], second) == {**one, "a": "b"}
    assert await store.get("t", one["_id"], third) is None
    store.database.forget_history(third)
    table = store.database.tables["t"]
    assert not table.past
    assert not any(index.versions for index in table.indexes.values())


async def test_a_feed_behind_the_forgotten_events_gets_a_gap(store: MemoryStore) -> None:
    other = MemoryStore(store.database, runtime=SystemRuntime(), node="other")
    start = await other.current_ts()
    ts = await append(store, None, document(store, "a"))
    store.database.forget_events()
    async with aclosing(cast(Any, other.feed(start))) as feed:
        assert await anext(feed) == FeedGap(ts, 1)


async def test_old_versions_are_dropped_by_themselves() -> None:
    runtime = SystemRuntime()
    store = MemoryStore(MemoryDatabase(runtime, history_s=1e-6), runtime=runtime)
    await store.push(compile_plan(Schema({"t": define_table(a=v.string())})))
    one = document(store, "a")
    await append(store, None, one)
    for n in range(50):
        await append(store, {**one, "a": str(n)}, {**one, "a": str(n + 1)})
    assert len(store.database.tables["t"].past[one["_id"]]) < 50
    await runtime.close()


async def test_foreign_writers_need_no_log(store: MemoryStore) -> None:
    one = document(store, "a")
    ts = store.database.foreign_insert("t", one)
    assert await store.get("t", one["_id"], ts) == one
    later = store.database.foreign_update("t", {**one, "a": "b"})
    gone = store.database.foreign_delete("t", one["_id"])
    assert ts < later < gone
    assert await store.last_seq(gone) == 0
    assert await store.count("t", gone) == 0
