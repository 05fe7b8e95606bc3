"""Random histories in both stores at once: every snapshot, every answer and every refusal must agree."""

from __future__ import annotations

import random
from typing import Any

import pytest

from concave.schema.definition import define_table
from concave.schema.validators import v
from concave.storage.memory import MemoryStore
from concave.storage.store import DocumentWrite, StoreError, WriteRefused
from concave.values.keys import PREFIX_END, encode_column
from concave.values.types import Document, Int64, Timestamp

STEPS = 120
VALUES = [None, 1.0, Int64(1), "a", "b", b"", [1.0], {"x": None}, True]
TABLES = ["t", "u"]
INDEXES = {"t": ["by_id", "by_creation_time", "by_a", "by_a_and_b", "by_b"], "u": ["by_id", "by_name"]}


class Pair:
    """The two stores, the documents they should hold now, and the snapshots at which they can be compared."""

    def __init__(self, bench: Any, reference: Any, chance: random.Random) -> None:
        self.bench = bench
        self.reference = reference
        self.chance = chance
        self.documents: dict[str, dict[str, Document]] = {table: {} for table in TABLES}
        self.snapshots: list[tuple[Timestamp, Timestamp]] = []
        self.outcomes: dict[str, int] = {}

    def fields(self, table: str) -> Document:
        if table == "u":
            return {"name": self.chance.choice("abcdefghij")} if self.chance.random() < 0.8 else {}
        fields: Document = {"a": self.chance.choice("xyz")}
        if self.chance.random() < 0.8:
            fields["b"] = self.chance.choice(VALUES)
        return fields

    def writes(self) -> list[DocumentWrite]:
        """A batch: each document is written once at most."""
        writes: list[DocumentWrite] = []
        touched: set[str] = set()
        for _ in range(self.chance.randint(1, 5)):
            table = self.chance.choice(TABLES)
            held = [id for id in self.documents[table] if id not in touched]
            kind = self.chance.choice(["insert", "insert", "update", "delete"])
            if kind == "insert" or not held:
                after = self.bench.document(table, **self.fields(table))
                writes.append(self.bench.write(table, None, after))
                touched.add(after["_id"])
                continue
            before = self.documents[table][self.chance.choice(held)]
            touched.add(before["_id"])
            kept = {name: before[name] for name in ("_id", "_creationTime")}
            after = {**kept, **self.fields(table)} if kind == "update" else None
            writes.append(self.bench.write(table, before, after))
        return writes

    async def step(self) -> None:
        writes = self.writes()
        entry = await self.bench.entry(*writes)
        results: list[Any] = []
        for store in (self.bench.store, self.reference.store):
            try:
                results.append(await store.append(entry))
            except WriteRefused as refusal:
                results.append((refusal.code, refusal.index, refusal.position))
            except StoreError as error:
                results.append(type(error))
        mongo, memory = results
        if not isinstance(memory, int):
            assert mongo == memory
            self.count("refused")
            return
        assert isinstance(mongo, int), mongo
        self.count("committed")
        self.snapshots.append((Timestamp(mongo), Timestamp(memory)))
        for write in writes:
            if write.after is None:
                del self.documents[write.table][write.id]
            else:
                self.documents[write.table][write.id] = write.after

    async def compare(self) -> None:
        mongo_ts, memory_ts = self.chance.choice(self.snapshots)
        table = self.chance.choice(TABLES)
        index = self.chance.choice(INDEXES[table])
        value = encode_column(self.chance.choice([*VALUES, "x", "y"]))
        low, high = self.chance.choice(
            [(b"", PREFIX_END), (value, value + PREFIX_END), (b"", value), (value + PREFIX_END, PREFIX_END)]
        )
        options: dict[str, Any] = {
            "low": low,
            "high": high,
            "order": self.chance.choice(["asc", "desc"]),
            "limit": self.chance.choice([1, 3, 1_000]),
        }
        found = await self.bench.all(table, index, mongo_ts, **options)
        assert repr(found) == repr(await self.reference.all(table, index, memory_ts, **options))
        count = await self.bench.store.count(table, mongo_ts)
        assert count == await self.reference.store.count(table, memory_ts)

    def count(self, what: str) -> None:
        self.outcomes[what] = self.outcomes.get(what, 0) + 1


@pytest.mark.parametrize("seed", range(4))
async def test_the_stores_agree_on_random_histories(
    mongo_world: Any, make_plan: Any, make_bench: Any, seed: int
) -> None:
    plan = make_plan(
        t=define_table(a=v.string(), b=v.optional(v.any()))
        .index("by_a", ["a"])
        .index("by_a_and_b", ["a", "b"])
        .index("by_b", ["b"]),
        u=define_table(name=v.optional(v.string())).index("by_name", ["name"], unique=True),
    )
    mongo = await mongo_world.open()
    memory = MemoryStore(runtime=mongo_world.runtime, node="memory")
    pair = Pair(
        make_bench(mongo, await mongo.push(plan), mongo_world.runtime),
        make_bench(memory, await memory.push(plan), mongo_world.runtime),
        random.Random(seed),
    )
    for _ in range(STEPS):
        await pair.step()
        await pair.compare()
    assert pair.outcomes["committed"] > STEPS / 4
    assert pair.outcomes["refused"] > 5
    for table in TABLES:
        expected = sorted(pair.documents[table].values(), key=lambda document: document["_id"])
        assert await pair.bench.all(table, "by_id") == expected
