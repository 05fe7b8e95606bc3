"""An overlay reads as the database will once its writes are committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from concave.database.overlay import Overlay
from concave.database.reader import DatabaseReader
from concave.database.transaction import Transaction
from concave.database.writer import DatabaseWriter
from concave.storage.store import LogEntry, Store

VALUES = st.sampled_from([0.0, 1.0, 2.0, "x", None])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("insert"), st.just(0), VALUES),
        st.tuples(st.just("patch"), st.integers(0, 9), VALUES),
        st.tuples(st.just("delete"), st.integers(0, 9), st.none()),
    ),
    max_size=6,
)
"""What one transaction does; numbers choose among the documents that there are."""


async def apply(tx: Transaction, steps: list[tuple[str, int, Any]]) -> None:
    db = DatabaseWriter(tx)
    for kind, number, value in steps:
        rows = await db.query("items").collect()
        if kind == "insert":
            await db.insert("items", {"a": value})
        elif rows and kind == "patch":
            await db.patch(rows[number % len(rows)]["_id"], {"a": value})
        elif rows:
            await db.delete(rows[number % len(rows)]["_id"])


async def everything(tx: Transaction) -> list[Any]:
    db = DatabaseReader(tx)
    found: list[Any] = [await db.query("items").count()]
    for order in ("asc", "desc"):
        found.append(await db.query("items").order(order).collect())
        found.append(await db.query("items").with_index("by_a").order(order).take(3))
        found.append(await db.query("items").with_index("by_a", a=1.0).order(order).collect())
        found.append(await db.query("items").with_index("by_a", lambda q: q.gt("a", 0.0)).order(order).first())
    found.extend([await db.get(row["_id"]) for row in found[1]])
    return found


@settings(deadline=None, max_examples=60)
@given(st.lists(VALUES, max_size=6), st.lists(STEPS, min_size=1, max_size=4))
async def test_a_chain_on_an_overlay_reads_what_it_will_have_committed(
    new_world: Callable[[], Awaitable[Any]], stored: list[Any], chain: list[list[tuple[str, int, Any]]]
) -> None:
    world = await new_world()
    await world.fill("items", [{"a": value} for value in stored])
    start = (await world.begin()).ts
    overlay = Overlay(world.store)
    for steps in chain:
        before = Transaction(cast(Store, overlay), world.catalog, start, world.runtime, world.limits, writable=True)
        committed = await world.begin()
        assert await everything(before) == await everything(committed)
        await apply(before, steps)
        writes = before.writes()
        overlay.put(writes)
        if writes:
            seq = len(world.store.database.entries) + 1
            await world.store.append(LogEntry(seq, "node", f"batch{seq}", writes))
    after = Transaction(cast(Store, overlay), world.catalog, start, world.runtime, world.limits, writable=True)
    assert await everything(after) == await everything(await world.begin())
