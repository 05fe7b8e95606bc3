"""What other programs can do to a database: precise changes by pre-images, unreadable documents, lost collections and
indexes, missing columns."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import bson
import pytest
from bson import Decimal128, ObjectId

from concave.schema.definition import define_table
from concave.schema.diff import diff
from concave.schema.plan import Plan
from concave.schema.validators import v
from concave.storage.store import ForeignWrite
from concave.values.errors import DeveloperError
from concave.values.types import Timestamp


def watched_plan(make_plan: Callable[..., Plan], *, pre_images: bool = True) -> Plan:
    table = define_table(channel=v.string(), likes=v.optional(v.number())).index("by_channel", ["channel"])
    return make_plan(messages=table.pre_images() if pre_images else table)


async def foreign_writes(bench: Any, after: Timestamp, count: int) -> list[ForeignWrite]:
    found = await bench.events(
        after, lambda seen: sum(isinstance(event, ForeignWrite) and event.write is not None for event in seen) >= count
    )
    return [event for event in found if isinstance(event, ForeignWrite) and event.write is not None]


async def test_with_pre_images_updates_and_deletes_are_known_by_their_keys(
    world: Any, open_bench: Any, make_plan: Any
) -> None:
    bench = await open_bench(plan=watched_plan(make_plan))
    document = bench.document("messages", channel="a", likes=1.0)
    start = await bench.insert("messages", document)
    edited = {**document, "channel": "b"}
    await world.foreign_update("messages", edited)
    (update,) = await foreign_writes(bench, start, 1)
    assert update.precise
    assert update.write is not None
    assert set(update.write.keys) == set(bench.write("messages", document, edited).keys)
    await world.foreign_delete("messages", document["_id"])
    _, delete = await foreign_writes(bench, start, 2)
    assert delete.precise
    assert delete.write is not None
    assert set(delete.write.keys) == set(bench.write("messages", edited, None).keys)


async def test_pre_images_are_switched_on_for_a_collection_that_is_there(mongo_world: Any, make_plan: Any) -> None:
    store = await mongo_world.open()
    without, wanted = watched_plan(make_plan, pre_images=False), watched_plan(make_plan)
    await store.push(without)
    assert [str(change) for change in diff(wanted, await store.database_state()).changes] == [
        "pre-images messages (foreign updates invalidate the whole table now)"
    ]
    await store.push(wanted)
    state = await store.database_state()
    assert diff(wanted, state).is_empty
    assert state.collections["messages"].pre_images
    await store.push(without)
    assert [str(extra) for extra in diff(without, await store.database_state()).extras] == ["pre-images messages"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"likes": Decimal128("1.5")}, "at .likes: the BSON type Decimal128 is no Convex value"),
        ({"channel": {"x": [1, ObjectId()]}}, "at .channel.x[1]: the BSON type ObjectId is no Convex value"),
        ({"likes": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}, "the BSON type"),
        ({"_creationTime": "now"}, "its _creationTime is not a number"),
        ({"_creationTime": None}, "its _creationTime is not a number"),
    ],
)
async def test_a_document_that_cannot_be_read_is_named(
    mongo_world: Any, mongo_bench: Any, fields: Any, says: str
) -> None:
    good, bad = (mongo_bench.document("messages", channel="a") for _ in range(2))
    collection = mongo_world.database.get_collection("messages")
    await mongo_bench.insert("messages", good)
    await collection.insert_one({**bad, **fields}, bypass_document_validation=True)
    ts = await mongo_bench.store.current_ts()
    for read in (
        mongo_bench.store.get("messages", bad["_id"], ts),
        mongo_bench.all("messages", "by_creation_time", ts),
        mongo_bench.all("messages", "by_id", ts),
    ):
        with pytest.raises(DeveloperError) as refused:
            await read
        assert refused.value.code == "StoredDocumentInvalid"
        assert f"the document {bad['_id']} stored in table `messages`" in str(refused.value)
        assert says in str(refused.value)
    assert await mongo_bench.store.get("messages", good["_id"], ts) == good


async def test_a_document_with_a_foreign_id_is_named(mongo_world: Any, mongo_bench: Any) -> None:
    id = ObjectId()
    document = {"_id": id, "_creationTime": 1.0, "channel": "a"}
    await mongo_world.database.get_collection("messages").insert_one(document, bypass_document_validation=True)
    with pytest.raises(DeveloperError, match=rf"the document {id} stored in table `messages`.*ObjectId, not a string"):
        await mongo_bench.all("messages", "by_creation_time")


async def test_a_dropped_index_is_told_and_the_feed_says_when_it_is_back(mongo_world: Any, mongo_bench: Any) -> None:
    document = mongo_bench.document("messages", channel="a")
    start = await mongo_bench.insert("messages", document)
    collection = mongo_world.database.get_collection("messages")
    await collection.drop_index("by_channel")
    events = await mongo_bench.events(start, lambda seen: any(isinstance(event, ForeignWrite) for event in seen))
    dropped = next(event for event in events if isinstance(event, ForeignWrite))
    assert (dropped.table, dropped.precise) == ("messages", False)
    with pytest.raises(DeveloperError) as refused:
        await mongo_bench.all("messages", "by_channel")
    assert refused.value.code == "IndexMissing"
    assert "`by_channel` of table `messages`" in str(refused.value)
    assert "concave schema push" in str(refused.value)
    assert await mongo_bench.all("messages", "by_likes") == [document]
    await mongo_bench.store.push(mongo_bench.catalog.plan)
    events = await mongo_bench.events(dropped.ts, lambda seen: any(isinstance(event, ForeignWrite) for event in seen))
    assert await mongo_bench.all("messages", "by_channel") == [document]


@pytest.mark.parametrize("loss", ["drop", "rename"])
async def test_a_lost_collection_is_made_again_by_a_push_of_the_same_schema(
    mongo_world: Any, mongo_bench: Any, loss: str
) -> None:
    await mongo_bench.insert("messages", mongo_bench.document("messages", channel="a", extra=[1.0]))
    collection = mongo_world.database.get_collection("messages")
    await (collection.drop() if loss == "drop" else collection.rename("elsewhere"))
    assert await mongo_bench.all("messages", "by_channel") == []
    plan = mongo_bench.catalog.plan
    difference = diff(plan, await mongo_bench.store.database_state())
    assert not difference.fingerprint_changed
    assert {(change.kind, change.name) for change in difference.creates} == {
        ("table", None),
        *(("index", index) for index in ("by_creation_time", "by_channel", "by_likes", "by_extra")),
    }
    await mongo_bench.store.push(plan)
    assert diff(plan, await mongo_bench.store.database_state()).is_empty
    document = mongo_bench.document("messages", channel="b", extra=[1.0])
    await mongo_bench.insert("messages", document)
    assert await mongo_bench.all("messages", "by_extra") == [document]


async def test_a_validator_that_is_switched_off_is_switched_on_again(mongo_world: Any, mongo_bench: Any) -> None:
    plan = mongo_bench.catalog.plan
    for options in ({"validationLevel": "off"}, {"validationAction": "warn"}, {"validator": {}}):
        await mongo_world.database.command({"collMod": "messages", **options})
        (change,) = diff(plan, await mongo_bench.store.database_state()).changes
        assert (change.kind, change.table) == ("validator", "messages")
        await mongo_bench.store.push(plan)
        assert diff(plan, await mongo_bench.store.database_state()).is_empty


async def test_columns_that_nobody_wrote_are_written_by_the_next_push(mongo_world: Any, mongo_bench: Any) -> None:
    """No node was there to see the document come."""
    documents = [mongo_bench.document("messages", channel="a", extra=[float(number)]) for number in range(3)]
    await mongo_world.database.get_collection("messages").insert_many([bson.decode(bson.encode(d)) for d in documents])
    await mongo_bench.store.push(mongo_bench.catalog.plan)
    assert await mongo_bench.all("messages", "by_extra") == documents
    stored = await mongo_world.database.get_collection("messages").find_one({"_id": documents[0]["_id"]})
    assert stored["_k"] == mongo_bench.catalog.layout("messages").hidden(documents[0])
