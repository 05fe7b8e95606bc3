"""`on_delete`: restrict, cascade, set_null, alone and together, and what concurrent writers come to (7.3)."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concave.database.transaction import Transaction
from concave.database.writer import DatabaseWriter
from concave.schema.catalog import Catalog
from concave.schema.definition import TableDefinition, define_table
from concave.schema.plan import compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v
from concave.storage.memory import MemoryStore
from concave.storage.recent_log import probes
from concave.storage.store import LogEntry
from concave.values.errors import ConvexError, DeveloperError
from concave.values.limits import DEFAULT_LIMITS
from concave.values.runtime import SystemRuntime
from concave.values.types import Timestamp


class Shop:
    """A store with the given tables, and transactions on it."""

    def __init__(self, **tables: TableDefinition) -> None:
        self.runtime = SystemRuntime()
        self.store = MemoryStore(runtime=self.runtime)
        self._plan = compile_plan(Schema(tables))
        self.catalog: Catalog

    async def open(self) -> Shop:
        self.catalog = await self.store.push(self._plan)
        return self

    def begin(self, **limits: Any) -> tuple[Transaction, DatabaseWriter]:
        ts = Timestamp(self.store.database.latest)
        tx = Transaction(self.store, self.catalog, ts, self.runtime, replace(DEFAULT_LIMITS, **limits), writable=True)
        return tx, DatabaseWriter(tx)

    async def commit(self, tx: Transaction) -> None:
        seq = len(self.store.database.entries) + 1
        await self.store.append(LogEntry(seq, "node", f"batch{seq}", tx.writes()))

    async def insert(self, table: str, *documents: dict[str, Any]) -> list[str]:
        tx, db = self.begin()
        ids = [await db.insert(table, document) for document in documents]
        await self.commit(tx)
        return ids

    async def delete(self, id: str) -> None:
        tx, db = self.begin()
        await db.delete(id)
        await self.commit(tx)

    async def ids(self, table: str) -> set[str]:
        _, db = self.begin()
        return {document["_id"] for document in await db.query(table).full_table_scan().collect()}


def chat() -> dict[str, TableDefinition]:
    return {
        "rooms": define_table(name=v.optional(v.string())),
        "messages": define_table(
            roomId=v.id("rooms", on_delete="cascade"),
            pinnedBy=v.optional(v.id("users", on_delete="set_null")),
            authorId=v.nullable(v.id("users", on_delete="set_null")),
            text=v.optional(v.string()),
        )
        .timestamps()
        .index("by_room", ["roomId"])
        .index("by_pinner", ["pinnedBy"])
        .index("by_author", ["authorId", "roomId"]),
        "reactions": define_table(messageId=v.id("messages", on_delete="cascade")).index("by_message", ["messageId"]),
        "invoices": define_table(to=v.object(user=v.id("users", on_delete="restrict"))).index("by_user", ["to.user"]),
        "users": define_table(name=v.optional(v.string())),
    }


@pytest.fixture
async def shop() -> Shop:
    return await Shop(**chat()).open()


async def test_a_cascade_takes_what_refers_and_what_refers_to_that(shop: Shop) -> None:
    room, other = await shop.insert("rooms", {}, {})
    first, second, third = await shop.insert(
        "messages", *({"roomId": at, "authorId": None} for at in (room, room, other))
    )
    _, kept = await shop.insert("reactions", {"messageId": first}, {"messageId": third})
    await shop.insert("reactions", *({"messageId": second} for _ in range(250)))
    await shop.delete(room)
    assert await shop.ids("rooms") == {other}
    assert await shop.ids("messages") == {third}
    assert await shop.ids("reactions") == {kept}


async def test_set_null_writes_null_or_removes_the_field_and_stamps_the_document(shop: Shop) -> None:
    (room,) = await shop.insert("rooms", {})
    user, other = await shop.insert("users", {}, {})
    both, one = await shop.insert(
        "messages",
        {"roomId": room, "authorId": user, "pinnedBy": user, "text": "kept"},
        {"roomId": room, "authorId": other, "pinnedBy": user},
    )
    await shop.delete(user)
    tx, db = shop.begin()
    document = await db.get(both)
    assert document is not None
    assert (document["authorId"], "pinnedBy" in document, document["text"]) == (None, False, "kept")
    assert document["updatedAt"] <= tx.now_ms
    document = await db.get(one)
    assert document is not None
    assert (document["authorId"], "pinnedBy" in document) == (other, False)


async def test_restrict_refuses_and_names_who_refers(shop: Shop) -> None:
    (user,) = await shop.insert("users", {"name": "Ann"})
    (invoice,) = await shop.insert("invoices", {"to": {"user": user}})
    (room,) = await shop.insert("rooms", {})
    await shop.insert("messages", {"roomId": room, "authorId": user})
    tx, db = shop.begin()
    with pytest.raises(ConvexError) as refused:
        await db.delete(user)
    data = refused.value.data
    assert {name: data[name] for name in ("code", "table", "field", "id", "target")} == {
        "code": "restrict",
        "table": "invoices",
        "field": "to.user",
        "id": invoice,
        "target": user,
    }
    assert "of table `users` cannot be deleted" in data["message"]
    assert tx.writes() == ()
    await db.delete(invoice)
    await db.delete(user)
    assert len(tx.writes()) == 3


async def test_own_writes_refer_as_well(shop: Shop) -> None:
    (room,) = await shop.insert("rooms", {})
    (away,) = await shop.insert("messages", {"roomId": room, "authorId": None})
    tx, db = shop.begin()
    user = await db.insert("users", {})
    here = await db.insert("messages", {"roomId": room, "authorId": user})
    other = await db.insert("rooms", {})
    await db.patch(away, {"roomId": other})
    await db.delete(user)
    document = await db.get(here)
    assert document is not None
    assert document["authorId"] is None
    await db.delete(room)
    await shop.commit(tx)
    assert await shop.ids("messages") == {away}


def circle() -> dict[str, TableDefinition]:
    return {
        "nodes": define_table(
            next=v.optional(v.id("nodes", on_delete="cascade")), holds=v.optional(v.id("nodes", on_delete="restrict"))
        )
        .index("by_next", ["next"])
        .index("by_holds", ["holds"])
    }


async def test_circles_end_and_restrict_within_a_cascade_is_no_obstacle() -> None:
    shop = await Shop(**circle()).open()
    tx, db = shop.begin()
    a, b, c = [await db.insert("nodes", {}) for _ in range(3)]
    await db.patch(a, {"next": b, "holds": a})
    await db.patch(b, {"next": c, "holds": c})
    await db.patch(c, {"next": a})
    await shop.commit(tx)
    await shop.delete(a)
    assert await shop.ids("nodes") == set()


async def test_a_refusal_deep_in_a_cascade_leaves_everything() -> None:
    shop = await Shop(**circle()).open()
    a, b, holder = await shop.insert("nodes", {}, {}, {})
    tx, db = shop.begin()
    await db.patch(b, {"next": a})
    await db.patch(holder, {"holds": b})
    with pytest.raises(ConvexError):
        await db.delete(a)
    assert (await db.get(a), await db.get(b)) != (None, None)
    assert len(tx.writes()) == 2


async def test_a_cascade_beyond_the_limits_writes_nothing(shop: Shop) -> None:
    (room,) = await shop.insert("rooms", {})
    await shop.insert("messages", *({"roomId": room, "authorId": None} for _ in range(20)))
    tx, db = shop.begin(documents_written_max=10)
    with pytest.raises(DeveloperError) as refused:
        await db.delete(room)
    assert refused.value.code == "TooManyWrites"
    assert tx.writes() == ()
    tx, db = shop.begin(documents_read_max=10)
    with pytest.raises(DeveloperError) as refused:
        await db.delete(room)
    assert refused.value.code == "TooManyDocumentsRead"


@pytest.mark.parametrize("referrer", ["messages", "invoices"])
async def test_a_reference_added_meanwhile_is_a_conflict(shop: Shop, referrer: str) -> None:
    """The ranges in which references would be found are in the read set, though nothing was there."""
    (room,) = await shop.insert("rooms", {})
    (user,) = await shop.insert("users", {})
    deleting, db = shop.begin()
    await db.delete(room if referrer == "messages" else user)
    adding, db = shop.begin()
    if referrer == "messages":
        await db.insert("messages", {"roomId": room, "authorId": None})
    else:
        await db.insert("invoices", {"to": {"user": user}})
    written = probes(adding.writes())[referrer]
    assert any(deleting.read_set.contains(referrer, index, key) for index, key in written)


async def test_a_reference_elsewhere_is_none(shop: Shop) -> None:
    room, other = await shop.insert("rooms", {}, {})
    deleting, db = shop.begin()
    await db.delete(room)
    adding, db = shop.begin()
    await db.insert("messages", {"roomId": other, "authorId": None})
    assert not any(
        deleting.read_set.contains("messages", index, key) for index, key in probes(adding.writes())["messages"]
    )


async def test_a_table_nobody_refers_to_reads_nothing_more(shop: Shop) -> None:
    (room,) = await shop.insert("rooms", {})
    (message,) = await shop.insert("messages", {"roomId": room, "authorId": None})
    (reaction,) = await shop.insert("reactions", {"messageId": message})
    tx, db = shop.begin()
    await db.delete(reaction)
    assert tx.read_set.tables() == {"reactions"}


async def test_soft_deletion_is_no_deletion() -> None:
    shop = await Shop(
        a=define_table().soft_deletes(), b=define_table(a=v.id("a", on_delete="restrict")).index("by_a", ["a"])
    ).open()
    (a,) = await shop.insert("a", {})
    await shop.insert("b", {"a": a})
    tx, db = shop.begin()
    await db.soft_delete(a)
    assert len(tx.writes()) == 1
    with pytest.raises(ConvexError):
        await db.delete(a)


@given(
    edges=st.lists(st.tuples(st.integers(0, 7), st.sampled_from(["next", "holds", "weak"]), st.integers(0, 7))),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
async def test_any_graph_agrees_with_a_model(edges: list[tuple[int, str, int]], seed: int) -> None:
    tables = {
        "nodes": define_table(
            next=v.optional(v.id("nodes", on_delete="cascade")),
            holds=v.optional(v.id("nodes", on_delete="restrict")),
            weak=v.nullable(v.id("nodes", on_delete="set_null")),
        )
        .index("by_next", ["next"])
        .index("by_holds", ["holds"])
        .index("by_weak", ["weak"])
    }
    shop = await Shop(**tables).open()
    ids = await shop.insert("nodes", *({"weak": None} for _ in range(8)))
    model: dict[str, dict[str, str | None]] = {id: {"weak": None} for id in ids}
    tx, db = shop.begin()
    for source, field, target in edges:
        model[ids[source]][field] = ids[target]
        await db.patch(ids[source], {field: ids[target]})
    await shop.commit(tx)
    for victim in random.Random(seed).sample(ids, 4):
        if victim not in model:
            continue
        gone = _closure(model, victim)
        holders = [id for id, node in model.items() if id not in gone and node.get("holds") in gone]
        tx, db = shop.begin()
        if holders:
            with pytest.raises(ConvexError):
                await db.delete(victim)
            assert tx.writes() == ()
            continue
        await db.delete(victim)
        await shop.commit(tx)
        model = {
            id: {name: None if name == "weak" and value in gone else value for name, value in node.items()}
            for id, node in model.items()
            if id not in gone
        }
    _, db = shop.begin()
    stored = {
        document["_id"]: {name: value for name, value in document.items() if name[0] != "_"}
        for document in await db.query("nodes").full_table_scan().collect()
    }
    assert stored == model


def _closure(model: dict[str, dict[str, str | None]], root: str) -> set[str]:
    gone = {root}
    while more := {id for id, node in model.items() if node.get("next") in gone} - gone:
        gone |= more
    return gone
