"""The store contract: snapshots, scans and counts."""

from __future__ import annotations

from typing import Any

import pytest

from concave.storage.store import SnapshotTooOld
from concave.values.keys import PREFIX_END, encode_column, key_bytes, successor
from concave.values.types import Int64, Timestamp


def ids(documents: list[dict[str, Any]]) -> list[str]:
    return [document["_id"] for document in documents]


async def test_a_snapshot_sees_what_was_committed_up_to_it(bench: Any) -> None:
    empty = await bench.store.current_ts()
    first = bench.document("messages", channel="a", body="one")
    inserted = await bench.insert("messages", first)
    edited = {**first, "body": "two"}
    replaced = await bench.replace("messages", first, edited)
    deleted = await bench.delete("messages", edited)

    assert empty < inserted < replaced < deleted
    get = bench.store.get
    assert await get("messages", first["_id"], empty) is None
    assert await get("messages", first["_id"], inserted) == first
    assert await get("messages", first["_id"], replaced) == edited
    assert await get("messages", first["_id"], deleted) is None
    for ts, expected in ((empty, []), (inserted, [first]), (replaced, [edited]), (deleted, [])):
        assert await bench.all("messages", "by_channel", ts) == expected
        assert await bench.store.count("messages", ts) == len(expected)


async def test_the_current_timestamp_covers_what_was_acknowledged(bench: Any, open_bench: Any) -> None:
    other = await open_bench("other")
    document = bench.document("messages", channel="a")
    ts = await bench.insert("messages", document)
    now = await other.store.current_ts()
    assert now >= ts
    assert await other.store.get("messages", document["_id"], now) == document


async def test_every_value_type_comes_back_as_it_was(bench: Any) -> None:
    extra = {
        "null": None,
        "int": Int64(2**40),
        "small int": Int64(5),
        "float": 5.0,
        "minus zero": -0.0,
        "infinite": float("inf"),
        "yes": True,
        "text": "a\0b \U0001f600",
        "bytes": b"\x00\xff",
        "array": [[], {}, Int64(1), 1.0],
        "": {"a.b": 1.0},
    }
    document = bench.document("messages", channel="a", extra=extra, likes=3.0)
    ts = await bench.insert("messages", document)
    found = await bench.store.get("messages", document["_id"], ts)
    assert found == document
    assert repr(sorted(found["extra"].items())) == repr(sorted(extra.items()))  # types, and the sign of zero
    (scanned,) = await bench.all("messages", "by_extra", ts)
    assert repr(scanned) == repr(found)


async def test_results_are_the_callers_own(bench: Any) -> None:
    document = bench.document("messages", channel="a", extra=[1.0])
    ts = await bench.insert("messages", document)
    document["extra"].append(2.0)
    found = await bench.store.get("messages", document["_id"], ts)
    assert found["extra"] == [1.0]
    found["extra"].append(3.0)
    assert (await bench.store.get("messages", document["_id"], ts))["extra"] == [1.0]


async def test_scans_are_in_key_order_both_ways_and_limited(bench: Any) -> None:
    documents = [bench.document("messages", channel=channel) for channel in ("b", "a", "c", "a")]
    ts = await bench.insert("messages", *documents)
    b, a1, c, a2 = ids(documents)
    assert ids(await bench.all("messages", "by_channel", ts)) == [a1, a2, b, c]
    assert ids(await bench.all("messages", "by_channel", ts, order="desc")) == [c, b, a2, a1]
    assert ids(await bench.all("messages", "by_channel", ts, limit=3)) == [a1, a2, b]
    assert ids(await bench.all("messages", "by_channel", ts, limit=2, order="desc")) == [c, b]
    assert await bench.all("messages", "by_channel", ts, limit=0) == []
    assert ids(await bench.all("messages", "by_creation_time", ts)) == [b, a1, c, a2]
    assert ids(await bench.all("messages", "by_id", ts)) == sorted(ids(documents))


async def test_bounds_of_every_form(bench: Any) -> None:
    documents = [bench.document("messages", channel=channel) for channel in ("a", "a", "a\0b", "b", "c")]
    ts = await bench.insert("messages", *documents)
    a1, a2, nul, b, c = ids(documents)
    layout = bench.catalog.layout("messages").indexes["by_channel"]
    prefix = encode_column("a")
    full = key_bytes(layout.key(documents[0]))

    async def between(low: bytes, high: bytes, order: str = "asc") -> list[str]:
        return ids(await bench.all("messages", "by_channel", ts, low=low, high=high, order=order))

    assert await between(prefix, prefix + PREFIX_END) == [a1, a2]  # eq; not "a\0b"
    assert await between(prefix + PREFIX_END, PREFIX_END) == [nul, b, c]  # gt
    assert await between(b"", prefix) == []  # lt
    assert await between(b"", prefix + PREFIX_END) == [a1, a2]  # lte
    assert await between(successor(full), PREFIX_END) == [a2, nul, b, c]  # after a cursor
    assert await between(b"", successor(full), "desc") == [a1]  # up to a cursor
    assert await between(full, prefix + PREFIX_END, "desc") == [a2, a1]
    assert await between(encode_column(None), prefix + PREFIX_END) == [a1, a2]
    assert await between(encode_column(1.0), encode_column(2.0)) == []  # between types that the column never holds
    assert await between(encode_column("b"), encode_column([])) == [b, c]
    assert await between(encode_column("z"), encode_column("b")) == []


async def test_a_key_of_by_id_as_range(bench: Any) -> None:
    documents = [bench.document("messages", channel="a") for _ in range(5)]
    ts = await bench.insert("messages", *documents)
    one, two, three, *_ = sorted(ids(documents))
    key = encode_column(two)
    assert ids(await bench.all("messages", "by_id", ts, low=key, high=key + PREFIX_END)) == [two]
    assert ids(await bench.all("messages", "by_id", ts, low=b"", high=successor(key))) == [one, two]
    assert ids(await bench.all("messages", "by_id", ts, low=successor(key), high=PREFIX_END))[0] == three


async def test_a_large_result_is_not_cut_short(bench: Any) -> None:
    body = "x" * 900_000
    documents = [bench.document("messages", channel="a", body=body) for _ in range(30)]
    for start in range(0, 30, 10):
        ts = await bench.insert("messages", *documents[start : start + 10])
    assert len(await bench.all("messages", "by_channel", ts)) == 30
    assert len(await bench.all("messages", "by_channel", ts, order="desc", limit=25)) == 25


async def test_a_table_that_nobody_pushed_is_empty(bench: Any) -> None:
    ts = await bench.store.current_ts()
    layout = bench.catalog.layout("messages").indexes["by_id"]
    assert await bench.store.get("nothing", "x", ts) is None
    assert await bench.store.scan("nothing", layout, b"", PREFIX_END, order="asc", limit=5, ts=ts) == []
    assert await bench.store.count("nothing", ts) == 0


async def test_a_timestamp_before_the_history_is_told(bench: Any) -> None:
    await bench.insert("messages", bench.document("messages", channel="a"))
    with pytest.raises(SnapshotTooOld):
        await bench.all("messages", "by_channel", Timestamp(1_000_000_000_000_000_001))


async def test_stats_count_documents_and_indexes(bench: Any) -> None:
    await bench.insert("messages", *(bench.document("messages", channel="a") for _ in range(7)))
    stats = {table.table: table for table in await bench.store.stats()}
    assert stats["messages"].documents == 7
    assert stats["messages"].bytes > 7 * 60
    assert {"by_id", "by_creation_time", "by_channel"} <= stats["messages"].index_bytes.keys()
    assert stats["users"].documents == 0
