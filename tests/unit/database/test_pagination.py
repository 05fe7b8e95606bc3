"""Pages: bounds, journals, cursors, split statuses, errors (data-model.md 6.4, sync-protocol.md 5)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concave.database.calls import CallTracker
from concave.database.cursors import InvalidCursorError
from concave.database.reader import DatabaseReader
from concave.database.transaction import Transaction
from concave.values.errors import DeveloperError
from concave.values.keys import key_bytes

KEY = b"a deployment's secret"


async def page_of(
    world: Any, *, journal: str | None = None, order: str = "asc", **options: Any
) -> tuple[dict[str, Any], Transaction]:
    """One page of `items` by `n`, in a run of its own."""
    tx, db = await world.reading(cursor_key=KEY, journal=journal)
    page = await db.query("items").with_index("by_n").order(order).paginate({"cursor": None, **options})
    return page, tx


def numbers(page: dict[str, Any]) -> list[float]:
    return [row["n"] for row in page["page"]]


async def failure(awaitable: Any) -> DeveloperError:
    with pytest.raises(DeveloperError) as caught:
        await awaitable
    return caught.value


async def test_full_full_empty(world: Any) -> None:
    """data-model.md 10, test 29."""
    await world.fill("items", [{"n": n} for n in range(6)])
    cursor, seen = None, []
    for _ in range(3):
        page, _tx = await page_of(world, numItems=3.0, cursor=cursor, id=-1.0)
        cursor = page["continueCursor"]
        seen.append((numbers(page), page["isDone"], page["pageStatus"]))
    assert seen == [([0, 1, 2], False, None), ([3, 4, 5], False, None), ([], True, None)]
    page, _tx = await page_of(world, numItems=3, cursor=cursor)
    assert (numbers(page), page["isDone"], page["continueCursor"]) == ([], True, cursor)


async def test_descending_pages(world: Any) -> None:
    await world.fill("items", [{"n": n} for n in range(5)])
    first, _ = await page_of(world, numItems=3, order="desc")
    second, _ = await page_of(world, numItems=3, cursor=first["continueCursor"], order="desc")
    assert (numbers(first), numbers(second), second["isDone"]) == ([4, 3, 2], [1, 0], True)
    again, _ = await page_of(world, numItems=1, journal=first["continueCursor"], order="desc")
    assert numbers(again) == [4, 3, 2]


async def test_equal_pages_are_equal_bytes(world: Any) -> None:
    await world.fill("items", [{"n": n} for n in range(9)])
    assert (await page_of(world, numItems=4))[0] == (await page_of(world, numItems=4))[0]


async def test_a_live_page_grows_and_shrinks_between_fixed_ends(world: Any) -> None:
    """data-model.md 10, test 30."""
    ids = await world.fill("items", [{"n": n} for n in range(6)])
    first, tx = await page_of(world, numItems=3)
    assert tx.journal_out == first["continueCursor"]
    await world.fill("items", [{"n": 1.5}])
    again, tx = await page_of(world, numItems=3, journal=tx.journal_out)
    assert numbers(again) == [0, 1, 1.5, 2]
    assert again["continueCursor"] == first["continueCursor"] == tx.journal_out
    tx, db = await world.writing()
    for document_id in ids[:3]:
        await db.delete(document_id)
    await world.commit(tx)
    again, _ = await page_of(world, numItems=3, journal=first["continueCursor"])
    assert (numbers(again), again["isDone"]) == ([1.5], False)


async def test_the_last_page_keeps_growing(world: Any) -> None:
    await world.fill("items", [{"n": 0}])
    _, tx = await page_of(world, numItems=3)
    await world.fill("items", [{"n": n} for n in range(1, 6)])
    again, _ = await page_of(world, numItems=3, journal=tx.journal_out)
    assert (numbers(again), again["isDone"]) == ([0, 1, 2, 3, 4, 5], True)


async def test_end_cursor_overrides_the_journal_and_the_number_of_rows(world: Any) -> None:
    await world.fill("items", [{"n": n} for n in range(9)])
    wide, _ = await page_of(world, numItems=7)
    narrow, tx = await page_of(world, numItems=2)
    page, _ = await page_of(
        world, numItems=1, endCursor=wide["continueCursor"], journal=tx.journal_out, maximumRowsRead=1
    )
    assert (numbers(page), page["continueCursor"]) == ([0, 1, 2, 3, 4, 5, 6], wide["continueCursor"])
    page, _ = await page_of(world, numItems=1, cursor=narrow["continueCursor"], endCursor=wide["continueCursor"])
    assert numbers(page) == [2, 3, 4, 5, 6]
    page, _ = await page_of(world, numItems=1, cursor=wide["continueCursor"], endCursor=narrow["continueCursor"])
    assert numbers(page) == []


async def test_what_a_page_depends_on(world: Any) -> None:
    await world.fill("items", [{"n": n} for n in range(9)])
    index = world.catalog.layout("items").indexes["by_n"]

    def touched(tx: Transaction, n: float) -> bool:
        return tx.read_set.contains("items", "by_n", key_bytes(index.key({"_id": "x", "_creationTime": 0.0, "n": n})))

    first, tx = await page_of(world, numItems=3)
    assert (touched(tx, 1.5), touched(tx, 2.5)) == (True, False)
    second, tx = await page_of(world, numItems=3, cursor=first["continueCursor"])
    assert (touched(tx, 1.5), touched(tx, 2.5), touched(tx, 4.5), touched(tx, 5.5)) == (False, True, True, False)
    _, tx = await page_of(world, numItems=1, cursor=first["continueCursor"], endCursor=second["continueCursor"])
    assert (touched(tx, 1.5), touched(tx, 2.5), touched(tx, 4.5), touched(tx, 5.5)) == (False, True, True, False)


async def test_filters_make_short_pages_of_scanned_rows_only_at_limits(world: Any) -> None:
    await world.fill("items", [{"n": n, "a": n % 10} for n in range(250)])
    tx, db = await world.reading(cursor_key=KEY)
    page = await db.query("items").filter(lambda q: q.eq(q.field("a"), 3)).paginate({"numItems": 20, "cursor": None})
    assert numbers(page) == list(range(3, 203, 10))
    assert not page["isDone"]
    tx, db = await world.reading(cursor_key=KEY)
    page = (
        await db.query("items")
        .filter(lambda q: q.eq(q.field("a"), 3))
        .paginate({"numItems": 20, "cursor": None, "maximumRowsRead": 50})
    )
    assert numbers(page) == [3, 13, 23, 33, 43]
    assert (page["pageStatus"], page["isDone"]) == ("SplitRequired", False)
    assert tx.usage.documents_read == 50


async def test_read_maxima_cut_the_page(world: Any) -> None:
    await world.fill("items", [{"n": n, "a": "x" * 100} for n in range(10)])
    page, _ = await page_of(world, numItems=9, maximumRowsRead=4)
    assert (numbers(page), page["pageStatus"]) == ([0, 1, 2, 3], "SplitRequired")
    half, _ = await page_of(world, numItems=9, endCursor=page["splitCursor"])
    rest, _ = await page_of(world, numItems=9, cursor=page["splitCursor"], endCursor=page["continueCursor"])
    assert numbers(half) + numbers(rest) == [0, 1, 2, 3]
    assert len(numbers(half)) == 2
    page, _ = await page_of(world, numItems=9, maximumBytesRead=750)
    assert page["pageStatus"] == "SplitRequired"
    assert numbers(page) == [0, 1, 2, 3]
    page, _ = await page_of(world, numItems=9, maximumRowsRead=1)
    assert (numbers(page), page["pageStatus"], page["splitCursor"], page["isDone"]) == ([0], None, None, False)
    page, _ = await page_of(world, numItems=9, maximumRowsRead=10)
    assert page["pageStatus"] == "SplitRecommended"


async def test_the_transactions_limits_cut_instead_of_failing(world: Any) -> None:
    await world.fill("items", [{"n": n, "a": "x" * 1000} for n in range(20)])
    for limits in ({"documents_read_max": 5}, {"bytes_read_max": 5800}):
        page, _ = await page_of(world.limited(**limits), numItems=15)
        assert (numbers(page), page["pageStatus"]) == ([0, 1, 2, 3, 4], "SplitRequired")
    whole, _ = await page_of(world, numItems=15)
    pinned, _ = await page_of(world.limited(documents_read_max=5), numItems=15, journal=whole["continueCursor"])
    assert (numbers(pinned), pinned["pageStatus"]) == ([0, 1, 2, 3, 4], "SplitRequired")
    assert pinned["continueCursor"] == whole["continueCursor"]
    assert pinned["splitCursor"] is not None
    limited = world.limited(documents_read_max=2)
    error = await failure(page_of(limited, numItems=15, journal=whole["continueCursor"]))
    assert error.code == "TooManyDocumentsRead"


async def test_split_recommended_for_many_rows(world: Any) -> None:
    await world.fill("items", [{"n": n} for n in range(40)])
    page, _ = await page_of(world.limited(page_items_split_recommended=30), numItems=40)
    assert page["pageStatus"] == "SplitRecommended"
    half, _ = await page_of(world, numItems=1, endCursor=page["splitCursor"])
    assert numbers(half) == list(range(20))


async def test_a_cursor_of_another_query_is_refused(world: Any) -> None:
    """data-model.md 10, test 31."""
    await world.fill("items", [{"n": n} for n in range(5)])
    page, _ = await page_of(world, numItems=2)
    cursor = page["continueCursor"]
    for order, options in (("desc", {"cursor": cursor}), ("desc", {"endCursor": cursor}), ("asc", {"cursor": "junk"})):
        error = await failure(page_of(world, order=order, numItems=2, **options))
        assert isinstance(error, InvalidCursorError)
    assert isinstance(await failure(page_of(world, order="desc", numItems=2, journal=cursor)), InvalidCursorError)
    _, db = await world.reading(cursor_key=b"another deployment")
    error = await failure(db.query("items").with_index("by_n").paginate({"numItems": 2, "cursor": cursor}))
    assert isinstance(error, InvalidCursorError)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"numItems": 0}, "NoDocumentsForPagination"),
        ({"numItems": 32_001}, "PageSizeTooLarge"),
        ({"numItems": 1, "maximumRowsRead": 0}, "InvalidPaginationLimit"),
        ({"numItems": 1, "maximumBytesRead": 0}, "InvalidPaginationLimit"),
        ({"numItems": 1.5}, "InvalidArgument"),
        ({"numItems": "1"}, "InvalidArgument"),
        ({}, "InvalidArgument"),
        ({"numItems": 1, "cursor": 5}, "InvalidArgument"),
        ({"numItems": 1, "curser": None}, "InvalidArgument"),
    ],
)
async def test_bad_options(world: Any, options: dict[str, Any], code: str) -> None:
    assert (await failure(page_of(world, **options))).code == code


async def test_options_must_be_an_object(world: Any) -> None:
    _, db = await world.reading()
    assert (await failure(db.query("items").paginate(5))).code == "InvalidArgument"


async def test_one_paginated_query_for_each_function(world: Any) -> None:
    tx, db = await world.reading(cursor_key=KEY)
    options = {"numItems": 1, "cursor": None}
    await db.query("items").paginate(options)
    assert (await failure(db.query("items").paginate(options))).code == "MultiplePaginatedDatabaseQueries"
    nested = DatabaseReader(tx, CallTracker(journaled=False))
    journal = tx.journal_out
    await nested.query("items").with_index("by_n").paginate(options)
    assert tx.journal_out == journal


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["asc", "desc"]), st.booleans())
async def test_live_pages_leave_no_gap_and_overlap_nowhere(
    new_world: Any, seed: int, order: str, filtered: bool
) -> None:
    """All pages, run again with their journals after random writes, are together what one query returns."""
    rng = random.Random(seed)
    world = await new_world()
    ids = await world.fill("items", [{"n": rng.randrange(20), "a": rng.randrange(2)} for _ in range(rng.randrange(30))])
    tracked: list[tuple[str | None, str]] = []

    async def run(cursor: str | None, journal: str | None) -> tuple[dict[str, Any], str]:
        tx, db = await world.reading(cursor_key=KEY, journal=journal)
        query = db.query("items").with_index("by_n").order(order)
        if filtered:
            query = query.filter(lambda q: q.eq(q.field("a"), 1))
        page = await query.paginate({"numItems": 4, "cursor": cursor})
        assert tx.journal_out is not None
        return page, tx.journal_out

    cursor: str | None = None
    while True:
        page, journal = await run(cursor, None)
        tracked.append((cursor, journal))
        cursor = page["continueCursor"]
        if page["isDone"]:
            break
    for _ in range(4):
        tx, db = await world.writing()
        for _ in range(rng.randrange(6)):
            kind = rng.randrange(3)
            if kind == 0 or not ids:
                ids.append(await db.insert("items", {"n": rng.randrange(20), "a": rng.randrange(2)}))
            elif kind == 1:
                await db.patch(rng.choice(ids), {"n": rng.randrange(20), "a": rng.randrange(2)})
            else:
                await db.delete(ids.pop(rng.randrange(len(ids))))
        await world.commit(tx)
        together: list[dict[str, Any]] = []
        for start, journal in tracked:
            page, after = await run(start, journal)
            assert after == journal
            together += page["page"]
        _, db = await world.reading()
        everything = await db.query("items").with_index("by_n").order(order).collect()
        assert together == [row for row in everything if not filtered or row["a"] == 1]
