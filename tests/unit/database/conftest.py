"""A small database for transactions: a `MemoryStore` with a few tables, and a clock that only tests move."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from concave.database.reader import DatabaseReader
from concave.database.transaction import Transaction
from concave.database.writer import DatabaseWriter
from concave.schema.catalog import Catalog
from concave.schema.definition import define_table
from concave.schema.plan import compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v
from concave.storage.memory import MemoryStore
from concave.storage.store import LogEntry
from concave.values.limits import DEFAULT_LIMITS, Limits
from concave.values.runtime import SystemRuntime
from concave.values.types import Timestamp


class SteppedRuntime(SystemRuntime):
    """Seeded randomness, so that a failing example fails again; a clock that stands still until a test sets it."""

    def __init__(self) -> None:
        super().__init__()
        self.clock_ms = 1_750_000_000_000.25
        self._random = random.Random(1)

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def now_ms(self) -> float:
        return self.clock_ms


def tables() -> dict[str, Any]:
    defined = {
        "items": define_table(
            a=v.optional(v.any()), b=v.optional(v.any()), n=v.optional(v.number()), big=v.optional(v.int64())
        )
        .index("by_a", ["a"])
        .index("by_a_b", ["a", "b"])
        .index("by_n", ["n"])
        .index("by_big", ["big"])
        .index("by_staged", ["b"], staged=True)
        .search_index("search_a", search_field="a"),
        "strict": define_table(name=v.string(), age=v.optional(v.number())),
        "stamped": define_table(name=v.string()).timestamps(),
        "soft": define_table(name=v.string()).soft_deletes().timestamps().index("by_name", ["name"]),
    }
    for name, table in defined.items():
        table.bind(name)
    return defined


@dataclass
class World:
    """A store with a catalog, and transactions on it."""

    store: MemoryStore
    catalog: Catalog
    runtime: SteppedRuntime
    limits: Limits = DEFAULT_LIMITS

    def limited(self, **limits: Any) -> World:
        return replace(self, limits=replace(self.limits, **limits))

    async def begin(self, *, writable: bool = True, **options: Any) -> Transaction:
        ts = Timestamp(self.store.database.latest)
        return Transaction(self.store, self.catalog, ts, self.runtime, self.limits, writable=writable, **options)

    async def writing(self, **options: Any) -> tuple[Transaction, DatabaseWriter]:
        tx = await self.begin(**options)
        return tx, DatabaseWriter(tx)

    async def reading(self, **options: Any) -> tuple[Transaction, DatabaseReader]:
        tx = await self.begin(writable=False, **options)
        return tx, DatabaseReader(tx)

    async def commit(self, tx: Transaction) -> Timestamp:
        writes = tx.writes()
        if not writes:
            return tx.ts
        seq = len(self.store.database.entries) + 1
        return await self.store.append(LogEntry(seq, "node", f"batch{seq}", writes))

    async def fill(self, table: str, documents: list[dict[str, Any]]) -> list[str]:
        """Insert and commit; the ids in order."""
        tx, db = await self.writing()
        ids = [await db.insert(table, document) for document in documents]
        await self.commit(tx)
        return ids


async def make_world() -> World:
    runtime = SteppedRuntime()
    store = MemoryStore(runtime=runtime)
    catalog = await store.push(compile_plan(Schema(tables())))
    return World(store, catalog, runtime)


@pytest.fixture
async def world() -> World:
    return await make_world()


@pytest.fixture(scope="session")
def new_world() -> Callable[[], Awaitable[World]]:
    """For property tests, each example of which wants a database of its own."""
    return make_world
