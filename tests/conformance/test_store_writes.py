"""The store contract: commits, what refuses them, and the log."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from concave.storage.store import RequestRecord, SeqTaken, WriteConflict, WriteRefused
from concave.values.types import Int64


async def test_a_batch_is_written_whole(bench: Any) -> None:
    message, user = bench.document("messages", channel="a"), bench.document("users", name="Ada")
    await bench.insert("messages", message)
    edited = {**message, "channel": "b"}
    gone = bench.document("messages", channel="gone")
    await bench.insert("messages", gone)
    ts = await bench.append(
        bench.write("users", None, user), bench.write("messages", message, edited), bench.write("messages", gone, None)
    )
    assert await bench.all("messages", "by_channel", ts) == [edited]
    assert await bench.all("users", "by_name", ts) == [user]


async def test_a_refused_batch_leaves_nothing(bench: Any) -> None:
    await bench.insert("users", bench.document("users", name="Ada"))
    before = await bench.store.last_seq(await bench.store.current_ts())
    message, user = bench.document("messages", channel="a"), bench.document("users", name="Ada")
    with pytest.raises(WriteRefused):
        await bench.append(bench.write("messages", None, message), bench.write("users", None, user))
    now = await bench.store.current_ts()
    assert await bench.store.get("messages", message["_id"], now) is None
    assert await bench.store.last_seq(now) == before
    # The writer is not stuck in the transaction that failed.
    assert await bench.insert("messages", message) > now


async def test_log_numbers_are_taken_once(bench: Any, open_bench: Any) -> None:
    other = await open_bench("other")
    first = await bench.entry(bench.write("messages", None, bench.document("messages", channel="a")))
    second = await other.entry(other.write("messages", None, other.document("messages", channel="b")), seq=first.seq)
    outcomes = await asyncio.gather(bench.store.append(first), other.store.append(second), return_exceptions=True)
    assert sorted(isinstance(outcome, SeqTaken) for outcome in outcomes) == [False, True]
    now = await bench.store.current_ts()
    assert await bench.store.last_seq(now) == first.seq
    assert await bench.store.count("messages", now) == 1


async def test_timestamps_grow_with_numbers_over_nodes(bench: Any, open_bench: Any) -> None:
    other = await open_bench("other")
    stamps = []
    for turn in range(6):
        node = (bench, other)[turn % 2]
        stamps.append(await node.insert("messages", node.document("messages", channel=str(turn))))
    assert stamps == sorted(set(stamps))
    assert [await bench.store.last_seq(ts) for ts in stamps] == [1, 2, 3, 4, 5, 6]


async def test_a_unique_index_refuses_the_document_at_fault(bench: Any) -> None:
    await bench.insert("users", bench.document("users", name="Ada", handle="ada"))
    with pytest.raises(WriteRefused) as refusal:
        await bench.insert("users", bench.document("users", name="Bob"), bench.document("users", handle="ada"))
    assert (refusal.value.code, refusal.value.index, refusal.value.position) == ("unique", "by_handle", 1)
    with pytest.raises(WriteRefused) as refusal:
        await bench.insert("users", bench.document("users", name="Eve"), bench.document("users", name="Eve"))
    assert (refusal.value.code, refusal.value.index, refusal.value.position) == ("unique", "by_name", 1)


async def test_a_missing_field_is_not_under_the_unique_rule_but_null_is(bench: Any) -> None:
    await bench.insert("users", bench.document("users"), bench.document("users"))
    await bench.insert("users", bench.document("users", name=None))
    with pytest.raises(WriteRefused) as refusal:
        await bench.insert("users", bench.document("users", name=None))
    assert refusal.value.index == "by_name"


async def test_a_unique_key_is_free_again_within_the_batch(bench: Any) -> None:
    old, moving = bench.document("users", name="old"), bench.document("users", name="moving")
    await bench.insert("users", old, moving)
    ts = await bench.append(
        bench.write("users", None, bench.document("users", name="moving")),
        bench.write("users", moving, {**moving, "name": "old"}),
        bench.write("users", old, None),
    )
    names = [user["name"] for user in await bench.all("users", "by_name", ts)]
    assert names == ["moving", "old"]


async def test_an_id_cannot_be_inserted_twice(bench: Any) -> None:
    document = bench.document("messages", channel="a")
    await bench.insert("messages", document)
    with pytest.raises(WriteRefused) as refusal:
        await bench.insert("messages", bench.document("messages", channel="b"), document)
    assert (refusal.value.code, refusal.value.index, refusal.value.position) == ("unique", "by_id", 1)


async def test_a_document_against_the_schema_is_refused(bench: Any) -> None:
    good, bad = bench.document("messages", channel="a"), bench.document("messages", channel=7.0)
    with pytest.raises(WriteRefused) as refusal:
        await bench.insert("messages", good, bad)
    assert (refusal.value.code, refusal.value.position) == ("validator", 1)


@pytest.mark.parametrize("kind", ["update", "delete"])
async def test_a_document_removed_by_a_foreign_writer_is_a_conflict(bench: Any, world: Any, kind: str) -> None:
    document = bench.document("messages", channel="a")
    await bench.insert("messages", document)
    await world.foreign_delete("messages", document["_id"])
    other = bench.document("messages", channel="b")
    after = {**document, "channel": "c"} if kind == "update" else None
    with pytest.raises(WriteConflict):
        await bench.append(bench.write("messages", None, other), bench.write("messages", document, after))
    assert await bench.store.count("messages", await bench.store.current_ts()) == 0


async def test_a_batch_that_does_not_fit_in_a_log_entry(bench: Any) -> None:
    body = "x" * 1_000_000
    documents = [bench.document("messages", channel="a", body=body) for _ in range(18)]
    with pytest.raises(WriteRefused) as refusal:
        await bench.insert("messages", *documents)
    assert refusal.value.code == "too_large"
    assert await bench.store.count("messages", await bench.store.current_ts()) == 0
    await bench.insert("messages", *documents[:15])


async def test_a_request_is_stored_once_and_found(bench: Any, open_bench: Any) -> None:
    record = RequestRecord("session", 7, '{"a":"ü"}'.encode(), ("[LOG] one", "two"))
    ts = await bench.append(
        bench.write("messages", None, bench.document("messages", channel="a")),
        requests=(RequestRecord("other", 7, b"null", ()), record),
    )
    stored = await bench.store.find_request("session", 7)
    assert stored is not None
    assert stored.record == record
    assert stored.ts >= ts
    assert await bench.store.find_request("session", 8) is None

    resent = await open_bench("other")
    with pytest.raises(WriteRefused) as refusal:
        await resent.append(
            resent.write("messages", None, resent.document("messages", channel="a")),
            requests=(RequestRecord("new", 1, b"null", ()), record),
        )
    assert (refusal.value.code, refusal.value.position) == ("duplicate_request", 1)
    assert await resent.store.count("messages", await resent.store.current_ts()) == 1
    assert (await resent.store.find_request("session", 7)).record == record


async def test_the_timestamp_of_a_stored_request_is_exact_once_a_batch_follows(bench: Any) -> None:
    ts = await bench.append(requests=(RequestRecord("session", 1, b"null", ()),))
    await bench.append(requests=(RequestRecord("session", 2, b"null", ()),))
    assert (await bench.store.find_request("session", 1)).ts == ts


async def test_requests_without_documents_are_a_batch_too(bench: Any) -> None:
    for number in range(3):
        await bench.append(requests=(RequestRecord("s", number, b"1.0", ()),))
    assert await bench.store.last_seq(await bench.store.current_ts()) == 3


async def test_the_log_gives_back_what_was_appended(bench: Any) -> None:
    document = bench.document("messages", channel="a", body="long", extra={"n": Int64(3), "f": 3.0})
    edited = {**document, "channel": "b", "body": "longer"}
    stamps = [
        await bench.insert("messages", document),
        await bench.append(
            bench.write("messages", document, edited), requests=(RequestRecord("s", 1, b"null", ("l",)),)
        ),
        await bench.delete("messages", edited),
    ]
    entries = await bench.store.read_log(0, 10)
    assert [entry.seq for entry in entries] == [1, 2, 3]
    assert [entry.ts for entry in entries[:2]] == stamps[:2]
    assert entries[2].ts >= stamps[2]
    assert {entry.node for entry in entries} == {"node"}
    assert entries[1].requests == (RequestRecord("s", 1, b"null", ("l",)),)
    assert [entry.seq for entry in await bench.store.read_log(1, 1)] == [2]
    assert await bench.store.read_log(3, 10) == []

    inserted, updated, deleted = (entry.writes[0] for entry in entries)
    kept = {name: document[name] for name in ("_id", "_creationTime", "channel", "extra")}
    assert (inserted.before, inserted.after) == (None, document)
    assert (updated.before, updated.after) == (kept, edited)
    assert (deleted.before, deleted.after) == ({**kept, "channel": "b"}, None)
    assert inserted.keys == bench.write("messages", None, document).keys
    assert updated.keys == bench.write("messages", document, edited).keys
    assert deleted.keys == bench.write("messages", edited, None).keys
    assert repr(inserted.after["extra"]) == repr(document["extra"])
