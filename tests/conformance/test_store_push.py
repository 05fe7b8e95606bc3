"""The store contract: fitting a database to a schema."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from concave.schema.definition import define_table
from concave.schema.validators import v
from concave.storage.store import PushRefused
from concave.values.ids import decode_id, encode_id
from concave.values.types import Int64


async def test_tables_are_numbered_in_name_order_and_never_again(world: Any, make_plan: Any) -> None:
    store = await world.open()
    text = define_table(text=v.string())
    first = await store.push(make_plan(b=text, a=define_table()))
    assert (first.table_number("a"), first.table_number("b")) == (10_001, 10_002)
    second = await store.push(make_plan(c=define_table(), a=define_table()))
    assert second.table_number("c") == 10_003
    third = await (await world.open("other")).push(make_plan(b=define_table(), aa=define_table()))
    assert (third.table_number("b"), third.table_number("aa")) == (10_002, 10_004)
    assert third.table_name(10_001) == "a"


async def test_nodes_may_push_at_the_same_time(world: Any, make_plan: Any) -> None:
    stores = [await world.open(f"node {number}") for number in range(3)]
    tables = {f"table{number}": lambda: define_table(a=v.string()).index("by_a", ["a"]) for number in range(8)}
    extra = {"mine0": 0, "mine1": 1, "mine2": 2}
    catalogs = await asyncio.gather(
        *(
            store.push(make_plan(**{name: make() for name, make in tables.items()}, **{f"mine{n}": define_table()}))
            for n, store in enumerate(stores)
        )
    )
    shared = {name: catalogs[0].table_number(name) for name in tables}
    assert all(shared == {name: catalog.table_number(name) for name in tables} for catalog in catalogs)
    mine = [catalog.table_number(name) for catalog, name in zip(catalogs, extra, strict=True)]
    assert len({*mine, *shared.values()}) == 11


async def test_a_schema_that_the_data_breaks_is_refused_and_changes_nothing(
    bench: Any, open_bench: Any, make_plan: Any
) -> None:
    bad = [bench.document("messages", channel="a", extra=float(n)) for n in range(7)]
    await bench.insert("messages", *bad, bench.document("messages", channel="a", extra="fine"))
    strict = make_plan(
        messages=define_table(channel=v.string(), extra=v.optional(v.string())).index("by_new", ["extra"]),
        added=define_table(),
    )
    with pytest.raises(PushRefused) as refusal:
        await open_bench("other", strict)
    assert len(refusal.value.documents) == 5
    assert {offender.table for offender in refusal.value.documents} == {"messages"}
    assert {offender.id for offender in refusal.value.documents} <= {document["_id"] for document in bad}
    assert "does not match validator" in refusal.value.documents[0].message

    # The old schema goes on, and the refused one left no number behind.
    await bench.insert("messages", bench.document("messages", channel="b", extra=1.0))
    later = await open_bench("later", make_plan(messages=bench.catalog.schema.tables["messages"], zz=define_table()))
    assert later.catalog.table_number("zz") == 10_003


async def test_tables_that_are_not_listed_are_left_alone(bench: Any, open_bench: Any, make_plan: Any) -> None:
    document = bench.document("messages", channel="a")
    ts = await bench.insert("messages", document)
    await open_bench("other", make_plan(users=bench.catalog.schema.tables["users"]))
    assert await bench.store.get("messages", document["_id"], await bench.store.current_ts()) == document
    assert ts < await bench.insert("messages", bench.document("messages", channel="b"))


async def test_new_indexes_hold_the_documents_that_were_there(bench: Any, open_bench: Any, make_plan: Any) -> None:
    documents = [
        bench.document("messages", channel=str(n), extra=extra)
        for n, extra in enumerate(([2.0], {"a": None}, b"x", None, Int64(1), "b", "a"))
    ]
    missing = bench.document("messages", channel="-")
    await bench.insert("messages", *documents, missing)
    other = await open_bench(
        "other",
        make_plan(
            messages=define_table(channel=v.any(), extra=v.optional(v.any()))
            .index("by_extra_and_channel", ["extra", "channel"])
            .index("by_channel", ["channel"])
        ),
    )
    array, thing, data, null, number, b, a = documents
    assert await other.all("messages", "by_extra_and_channel") == [missing, null, number, a, b, data, array, thing]
    assert await other.all("messages", "by_channel") == [missing, *documents]
    added = other.document("messages", channel=False, extra=1.0)
    await other.insert("messages", added)
    assert (await other.all("messages", "by_extra_and_channel"))[3] == added
    assert (await other.all("messages", "by_channel"))[0] == added


async def test_an_index_may_change_its_columns(bench: Any, open_bench: Any, make_plan: Any) -> None:
    one = bench.document("messages", channel="b", body="1")
    two = bench.document("messages", channel="a", body="2")
    await bench.insert("messages", one, two)
    fields = {"channel": v.string(), "body": v.optional(v.string()), "extra": v.optional(v.any())}
    other = await open_bench("other", make_plan(messages=define_table(**fields).index("by_channel", ["body"])))
    assert await other.all("messages", "by_channel") == [one, two]


async def test_a_new_unique_index_over_equal_keys_is_refused(bench: Any, open_bench: Any, make_plan: Any) -> None:
    await bench.insert("messages", bench.document("messages", channel="a"), bench.document("messages", channel="a"))
    fields = {"channel": v.string(), "extra": v.optional(v.any())}
    with pytest.raises(PushRefused):
        await open_bench("other", make_plan(messages=define_table(**fields).index("one", ["channel"], unique=True)))


async def test_pushing_again_changes_nothing_and_keeps_ids(bench: Any, open_bench: Any) -> None:
    document = bench.document("messages", channel="a")
    await bench.insert("messages", document)
    again = await open_bench("again")
    assert again.catalog.numbers == bench.catalog.numbers
    assert decode_id(document["_id"])[0] == again.catalog.table_number("messages")
    assert await again.all("messages", "by_channel") == [document]


async def test_a_push_tells_how_far_it_is(world: Any, make_plan: Any) -> None:
    steps: list[tuple[str, int, int]] = []
    tables = {f"t{number}": define_table(a=v.string()).index("by_a", ["a"]) for number in range(5)}
    await (await world.open()).push(make_plan(**tables), progress=lambda *step: steps.append(step))
    assert steps
    assert all(0 <= done <= total for _, done, total in steps)


async def test_the_first_ids_look_like_upstreams(world: Any, make_plan: Any) -> None:
    catalog = await (await world.open()).push(make_plan(a=define_table()))
    assert encode_id(catalog.table_number("a"), bytes(16)).startswith("j57")
