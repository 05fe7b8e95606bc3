"""The query builder: its rules, its consumers, and what a run comes to depend on (data-model.md 6, 7.3)."""

from __future__ import annotations

from typing import Any

import pytest

from concave.values.errors import DeveloperError
from concave.values.keys import key_bytes
from concave.values.types import UNSET, Int64


def names(rows: list[dict[str, Any]], field: str = "n") -> list[Any]:
    return [row[field] for row in rows]


async def failure(awaitable: Any) -> DeveloperError:
    with pytest.raises(DeveloperError) as caught:
        await awaitable
    return caught.value


def refusal(call: Any, *arguments: Any) -> DeveloperError:
    with pytest.raises(DeveloperError) as caught:
        call(*arguments)
    return caught.value


async def depends_on(world: Any, tx: Any, index: str, document: dict[str, Any]) -> bool:
    """Whether a write with this key in the index would touch what the transaction read."""
    layout = world.catalog.layout("items").indexes[index]
    full = {"_id": "j5", "_creationTime": 1.0, **document}
    return bool(tx.read_set.contains("items", index, key_bytes(layout.key(full))))


async def test_ranges_orders_and_consumers(world: Any) -> None:
    await world.fill("items", [{"a": "x", "n": n} for n in range(5)] + [{"a": "y", "n": 9}])
    _, db = await world.reading()

    def of_x() -> Any:
        return db.query("items").with_index("by_a", a="x")

    assert names(await of_x().collect()) == [0, 1, 2, 3, 4]
    assert names(await of_x().order("desc").take(2)) == [4, 3]
    assert names(await of_x().take(2.0)) == [0, 1]
    assert await of_x().take(0) == []
    assert (await of_x().first())["n"] == 0
    assert await db.query("items").with_index("by_a", a="z").first() is None
    assert await db.query("items").with_index("by_a", a="z").unique() is None
    assert (await db.query("items").with_index("by_a", a="y").unique())["n"] == 9
    assert await of_x().count() == 5
    assert await db.query("items").count() == 6
    assert names([row async for row in of_x().filter(lambda q: q.gte(q.field("n"), 3))]) == [3, 4]
    assert names(await db.query("items").with_index("by_a", lambda q: q.gt("a", "x")).collect()) == [9]
    assert names(await db.query("items").order("desc").take(1)) == [9]
    assert names(await db.query("items").full_table_scan().take(1)) == [0]


async def test_bounds_cross_types(world: Any) -> None:
    """data-model.md 10, test 12."""
    ages = [UNSET, None, Int64(50), 5.0, 18.0, 40.0, True, "x", "x\0y"]
    await world.fill("items", [{"a": age, "n": i} for i, age in enumerate(ages)])
    _, db = await world.reading()

    async def found(build: Any) -> list[Any]:
        return names(await db.query("items").with_index("by_a", build).collect())

    assert await found(lambda q: q.lt("a", 18)) == [0, 1, 2, 3]
    assert await found(lambda q: q.gt("a", 18)) == [5, 6, 7, 8]
    assert await found(lambda q: q.eq("a", UNSET)) == [0]
    assert await found(lambda q: q.gt("a", UNSET)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert await found(lambda q: q.eq("a", "x")) == [7]
    assert await found(lambda q: q.gt("a", "x")) == [8]


async def test_a_builder_is_used_once(world: Any) -> None:
    _, db = await world.reading()
    query = db.query("items")
    await query.collect()
    assert refusal(query.collect).code == "QueryUsedTwice"
    query = db.query("items")
    query.order("asc")
    assert "used already when filter was called" in str(refusal(query.filter, lambda q: True))
    query = db.query("items")
    assert [row async for row in query] == []
    assert refusal(query.__aiter__).code == "QueryUsedTwice"


async def test_the_sequence_of_steps(world: Any) -> None:
    _, db = await world.reading()
    assert refusal(db.query("items").order("asc").order, "asc").code == "InvalidQuery"
    assert refusal(db.query("items").order, "up").code == "InvalidArgument"
    assert refusal(db.query("items").order("asc").with_index, "by_a").code == "InvalidQuery"
    assert refusal(db.query("items").with_index("by_a").with_index, "by_a").code == "InvalidQuery"
    assert refusal(db.query("items").full_table_scan().with_index, "by_a").code == "InvalidQuery"
    query = db.query("items")
    for _ in range(256):
        query = query.filter(lambda q: True)
    assert refusal(query.filter, lambda q: True).code == "TooManyOperators"
    with pytest.raises(DeveloperError, match="cannot be awaited itself"):
        await db.query("items")


async def test_unknown_things_are_named_with_what_may_have_been_meant(world: Any) -> None:
    _, db = await world.reading()
    assert refusal(db.query, "itms").code == "TableNotFound"
    assert "items" in str(refusal(db.query, "itms"))
    assert refusal(db.query, 3).code == "InvalidArgument"
    assert refusal(db.query, "_storage").code == "SystemTableError"
    assert refusal(db.query("items").with_index, "by_aa").code == "IndexNotFoundError"
    assert refusal(db.query("items").with_index, "by_staged").code == "IndexStagedError"
    assert "with_search_index" in str(refusal(db.query("items").with_index, "search_a"))
    assert refusal(db.query("items").with_search_index, "search_a", lambda q: q).code == "SearchUnavailable"


async def test_take_wants_a_whole_number(world: Any) -> None:
    _, db = await world.reading()
    for count in (-1, 1.5, True, "3", None):
        assert (await failure(db.query("items").take(count))).code == "InvalidArgument"


async def test_unique_names_the_table_and_both_ids(world: Any) -> None:
    ids = await world.fill("items", [{"a": 1}, {"a": 1}, {"a": 1}])
    _, db = await world.reading()
    error = await failure(db.query("items").with_index("by_a", a=1).unique())
    assert error.code == "NonUniqueResult"
    assert "table items" in str(error)
    assert ids[0] in str(error)
    assert ids[1] in str(error)


async def test_require_index(world: Any) -> None:
    _, db = await world.reading(require_index=True)
    for consume in (
        lambda: db.query("items").collect(),
        lambda: db.query("items").first(),
        lambda: db.query("items").count(),
        lambda: db.query("items").paginate({"numItems": 1, "cursor": None}),
    ):
        error = await failure(consume())
        assert error.code == "IndexRequired"
        assert "by_a_b" in str(error)
        assert ".full_table_scan()" in str(error)
    assert await db.query("items").full_table_scan().collect() == []
    assert await db.query("items").with_index("by_creation_time").collect() == []
    assert await db.system.query("_storage").collect() == []


async def test_large_results_come_in_batches(world: Any) -> None:
    await world.fill("items", [{"a": i % 2, "n": i} for i in range(1500)])
    tx, db = await world.reading()
    assert names(await db.query("items").collect()) == list(range(1500))
    assert names(await db.query("items").order("desc").take(1100)) == list(range(1499, 399, -1))
    assert len(tx.read_set) == 1
    even = await db.query("items").filter(lambda q: q.eq(q.field("a"), 0)).take(700)
    assert names(even) == list(range(0, 1400, 2))
    assert names([row async for row in db.query("items")]) == list(range(1500))


# What a run depends on.


async def test_a_scan_to_the_end_depends_on_the_whole_range(world: Any) -> None:
    await world.fill("items", [{"a": 1, "b": 1}])
    tx, db = await world.reading()
    await db.query("items").with_index("by_a_b", a=1).collect()
    assert await depends_on(world, tx, "by_a_b", {"a": 1.0, "b": 99.0})
    assert await depends_on(world, tx, "by_a_b", {"a": 1.0})
    assert not await depends_on(world, tx, "by_a_b", {"a": 2.0})


async def test_take_depends_up_to_its_last_row(world: Any) -> None:
    """data-model.md 10, test 36."""
    await world.fill("items", [{"n": n} for n in (10, 20, 30, 40)])
    tx, db = await world.reading()
    await db.query("items").with_index("by_n").take(2)
    assert await depends_on(world, tx, "by_n", {"n": 15.0})
    assert await depends_on(world, tx, "by_n", {})
    assert not await depends_on(world, tx, "by_n", {"n": 25.0})
    tx, db = await world.reading()
    await db.query("items").with_index("by_n").order("desc").take(2)
    assert await depends_on(world, tx, "by_n", {"n": 35.0})
    assert await depends_on(world, tx, "by_n", {"a": 1.0, "n": 1e9})
    assert not await depends_on(world, tx, "by_n", {"n": 25.0})


async def test_take_that_did_not_fill_up_depends_on_everything_and_take_0_on_nothing(world: Any) -> None:
    await world.fill("items", [{"n": 1}])
    tx, db = await world.reading()
    await db.query("items").with_index("by_n").take(0)
    assert len(tx.read_set) == 0
    await db.query("items").with_index("by_n").take(2)
    assert await depends_on(world, tx, "by_n", {"n": 1e9})


async def test_rows_that_a_filter_threw_out_count_and_rows_behind_the_last_do_not(world: Any) -> None:
    await world.fill("items", [{"n": n} for n in range(50)])
    tx, db = await world.reading()
    found = await db.query("items").with_index("by_n").filter(lambda q: q.gte(q.field("n"), 10)).first()
    assert found["n"] == 10
    assert await depends_on(world, tx, "by_n", {"n": 5.5})
    assert not await depends_on(world, tx, "by_n", {"n": 10.5})


async def test_a_loop_that_breaks_depends_on_what_it_saw(world: Any) -> None:
    await world.fill("items", [{"n": n} for n in range(300)])
    tx, db = await world.reading()
    async for row in db.query("items").with_index("by_n"):
        if row["n"] == 120:
            break
    assert await depends_on(world, tx, "by_n", {"n": 119.5})
    assert not await depends_on(world, tx, "by_n", {"n": 120.5})
    tx, db = await world.reading()
    async for row in db.query("items").with_index("by_n").order("desc"):
        if row["n"] == 295:
            break
    assert await depends_on(world, tx, "by_n", {"n": 295.5})
    assert not await depends_on(world, tx, "by_n", {"n": 294.5})


async def test_a_query_that_fails_depends_on_what_it_read(world: Any) -> None:
    await world.fill("items", [{"n": 1, "a": "not a number"}])
    tx, db = await world.reading()
    error = await failure(
        db.query("items").with_index("by_n").filter(lambda q: q.eq(q.add(q.field("a"), 1), 2)).first()
    )
    assert error.code == "EvalError"
    assert await depends_on(world, tx, "by_n", {"n": 0.0})
    tx, db = await world.limited(documents_read_max=0).reading()
    assert (await failure(db.query("items").with_index("by_n").first())).code == "TooManyDocumentsRead"
    assert await depends_on(world, tx, "by_n", {"n": 0.0})


async def test_count_depends_on_the_table_and_counts_own_writes(world: Any) -> None:
    ids = await world.fill("items", [{"n": 1}, {"n": 2}])
    tx, db = await world.writing()
    await db.insert("items", {})
    await db.delete(ids[0])
    await db.delete(ids[1])
    assert await db.query("items").count() == 1
    assert await depends_on(world, tx, "by_creation_time", {"_creationTime": 1e15})


async def test_a_loop_sees_its_own_inserts_from_the_next_batch_on(world: Any) -> None:
    """data-model.md 10, test 44."""
    await world.fill("items", [{"n": n} for n in range(150)])
    _, db = await world.writing()
    seen = []
    async for row in db.query("items").with_index("by_n"):
        if row["n"] == 0:
            await db.insert("items", {"n": 50.5})
            await db.insert("items", {"n": 120.5})
        seen.append(row["n"])
    assert 50.5 not in seen
    assert 120.5 in seen


# Soft deletes.


async def test_softly_deleted_documents_are_left_out(world: Any) -> None:
    ids = await world.fill("soft", [{"name": str(i)} for i in range(40)])
    tx, db = await world.writing()
    for document_id in ids[5:30]:
        await db.soft_delete(document_id)
    await world.commit(tx)
    _, db = await world.reading()
    live = [str(i) for i in (*range(5), *range(30, 40))]
    assert names(await db.query("soft").collect(), "name") == live
    assert names(await db.query("soft").take(7), "name") == live[:7]
    assert names([row async for row in db.query("soft")], "name") == live
    assert await db.query("soft").count() == 15
    assert await db.query("soft").include_deleted().count() == 40
    assert len(await db.query("soft").include_deleted().collect()) == 40
    assert await db.query("soft").with_index("by_name", name="6").first() is None
    page = await db.query("soft").paginate({"numItems": 10, "cursor": None})
    assert names(page["page"], "name") == live[:10]
