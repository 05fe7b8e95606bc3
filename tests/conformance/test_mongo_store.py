"""What only MongoDB can do wrong: lost answers, foreign types, the change stream's own ways."""

from __future__ import annotations

import asyncio
import datetime
import gc
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from bson import Int64 as BsonLong
from bson import ObjectId
from pymongo.errors import AutoReconnect, WriteError

from concave.schema.definition import define_table
from concave.schema.diff import diff
from concave.schema.validators import v
from concave.storage import feed
from concave.storage.feed import token_timestamp
from concave.storage.lane import Lane
from concave.storage.mongo import MongoStore
from concave.storage.push import SchemaPush
from concave.storage.store import (
    FeedGap,
    FeedProgress,
    ForeignWrite,
    PushRefused,
    RemoteCommit,
    StoreUnavailable,
)
from concave.values.errors import ConfigurationError, DeveloperError
from concave.values.runtime import SystemRuntime
from concave.values.timestamps import from_cluster
from concave.values.types import Int64, Timestamp

Messages = Sequence[tuple[int, bytes, int]]


class Cut:
    """Cuts lanes: `choose` says of each message whether its answer is lost, and whether it was sent before that."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cuts = 0
        self._run = Lane.run
        self._monkeypatch = monkeypatch

    def when(self, text: bytes, *, sent: bool, times: int = 1) -> None:
        """Lose the next `times` answers to messages with `text` in them; `sent` tells whether the server gets them."""
        run = self._run

        async def cut(lane: Lane, messages: Messages, timeout_s: float = 20.0) -> list[memoryview]:
            if self.cuts < times and any(text in message for _, message, _ in messages):
                self.cuts += 1
                if sent:
                    await run(lane, messages, timeout_s)
                lost = AutoReconnect("cut by the test")
                await lane.close(lost)
                raise lost
            return await run(lane, messages, timeout_s)

        self._monkeypatch.setattr(Lane, "run", cut)


@pytest.fixture
def cut(monkeypatch: pytest.MonkeyPatch) -> Cut:
    return Cut(monkeypatch)


@pytest.mark.parametrize("sent", [True, False], ids=["answer lost", "never sent"])
@pytest.mark.parametrize("times", [1, 2, 4])
async def test_a_commit_without_an_answer_is_applied_once(mongo_bench: Any, cut: Cut, sent: bool, times: int) -> None:
    document = mongo_bench.document("messages", channel="a")
    entry = await mongo_bench.entry(mongo_bench.write("messages", None, document))
    cut.when(b"commitTransaction", sent=sent, times=times)
    ts = await mongo_bench.store.append(entry)
    assert cut.cuts == times
    assert await mongo_bench.store.get("messages", document["_id"], ts) == document
    assert [logged.batch for logged in await mongo_bench.store.read_log(0, 10)] == [entry.batch]
    assert await mongo_bench.insert("messages", mongo_bench.document("messages", channel="b")) > ts


@pytest.mark.parametrize("sent", [True, False], ids=["answer lost", "never sent"])
async def test_writes_without_an_answer_are_tried_again(mongo_bench: Any, cut: Cut, sent: bool) -> None:
    document = mongo_bench.document("messages", channel="a")
    entry = await mongo_bench.entry(mongo_bench.write("messages", None, document))
    cut.when(b"startTransaction", sent=sent, times=3)
    ts = await mongo_bench.store.append(entry)
    assert cut.cuts == 3
    assert await mongo_bench.all("messages", "by_id", ts) == [document]


async def test_reads_survive_a_lost_connection(mongo_bench: Any, cut: Cut) -> None:
    document = mongo_bench.document("messages", channel="a")
    ts = await mongo_bench.insert("messages", document)
    cut.when(b"find", sent=True, times=2)
    assert await mongo_bench.store.get("messages", document["_id"], ts) == document
    assert cut.cuts == 2


async def test_a_database_that_never_answers_is_told(mongo_bench: Any, cut: Cut) -> None:
    ts = await mongo_bench.store.current_ts()
    cut.when(b"find", sent=False, times=1_000)
    with pytest.raises(StoreUnavailable):
        await mongo_bench.store.get("messages", "x", ts)


async def test_a_cancelled_read_leaves_no_answer_behind(mongo_bench: Any) -> None:
    documents = [mongo_bench.document("messages", channel=str(n)) for n in range(20)]
    ts = await mongo_bench.insert("messages", *documents)
    for turn in range(20):
        task = asyncio.ensure_future(mongo_bench.all("messages", "by_channel", ts))
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await mongo_bench.store.get("messages", documents[turn]["_id"], ts) == documents[turn]


async def test_many_reads_at_once_wait_for_their_turn(mongo_bench: Any) -> None:
    documents = [mongo_bench.document("messages", channel=str(n)) for n in range(200)]
    ts = await mongo_bench.insert("messages", *documents)
    found = await asyncio.gather(*(mongo_bench.store.get("messages", document["_id"], ts) for document in documents))
    assert found == documents


async def test_a_start_that_cannot_work_says_what_to_do() -> None:
    runtime = SystemRuntime()
    with pytest.raises(ConfigurationError, match="names no database"):
        MongoStore("mongodb://u:secret@localhost/", runtime=runtime, node="n")
    with pytest.raises(ConfigurationError, match="no MongoDB URI"):
        MongoStore("nonsense", runtime=runtime, node="n")
    unreachable = MongoStore("mongodb://127.0.0.1:1/x?serverSelectionTimeoutMS=50", runtime=runtime, node="n")
    with warnings.catch_warnings():
        # The driver leaves a socket to the garbage collector when it is closed while it connects.
        warnings.simplefilter("ignore", ResourceWarning)
        with pytest.raises(ConfigurationError, match="concave dev"):
            await unreachable.start()
        gc.collect()
    with pytest.raises(StoreUnavailable):
        await unreachable.current_ts()


async def test_a_fresh_database_has_a_time(mongo_world: Any) -> None:
    store = await mongo_world.open()
    ts = await store.current_ts()
    assert await store.last_seq(ts) == 0
    assert await store.find_request("s", 1) is None
    assert await store.read_log(0, 5) == []
    assert list(await store.stats()) == []


async def test_integers_of_other_programs(mongo_world: Any, make_plan: Any, make_bench: Any) -> None:
    plan = make_plan(
        numbers=define_table(n=v.number(), many=v.array(v.number())).index("by_n", ["n"]),
        mixed=define_table(
            n=v.number(), i=v.int64(), either=v.union(v.number(), v.int64()), o=v.object(n=v.number(), i=v.int64()),
            r=v.record(v.string(), v.number()), anything=v.any(),
        ),
    )  # fmt: skip
    store = await mongo_world.open()
    bench = make_bench(store, await store.push(plan), mongo_world.runtime)
    number = bench.document("numbers", n=5, many=[1, BsonLong(2), 3.5])
    mixed = bench.document(
        "mixed", n=5, i=6, either=7, o={"n": BsonLong(8), "i": BsonLong(9)}, r={"a": 1, "b": BsonLong(2)}, anything=[3]
    )
    number["_creationTime"] = mixed["_creationTime"] = BsonLong(1_700_000_000_000)
    await mongo_world.foreign_insert("numbers", number)
    await mongo_world.foreign_insert("mixed", mixed)
    ts = await store.current_ts()
    (found,) = await bench.all("numbers", "by_n", ts)
    assert repr((found["n"], found["many"], found["_creationTime"])) == "(5.0, [1.0, 2.0, 3.5], 1700000000000.0)"
    found = await store.get("mixed", mixed["_id"], ts)
    shown = {name: found[name] for name in ("n", "i", "either", "o", "r", "anything", "_creationTime")}
    assert repr(shown) == repr(
        {
            "n": 5.0, "i": Int64(6), "either": Int64(7), "o": {"n": 8.0, "i": Int64(9)}, "r": {"a": 1.0, "b": 2.0},
            "anything": [Int64(3)], "_creationTime": 1_700_000_000_000.0,
        }
    )  # fmt: skip


async def test_types_that_convex_lacks_are_an_error_that_says_where(mongo_bench: Any, mongo_world: Any) -> None:
    document = mongo_bench.document("messages", channel="a", extra=ObjectId())
    await mongo_world.foreign_insert("messages", document)
    ts = await mongo_bench.store.current_ts()
    with pytest.raises(DeveloperError, match=rf"{document['_id']} stored in table `messages`.*ObjectId"):
        await mongo_bench.store.get("messages", document["_id"], ts)
    with pytest.raises(DeveloperError, match=document["_id"]):
        await mongo_bench.all("messages", "by_channel", ts)
    # The connection is as good as before.
    assert await mongo_bench.store.count("messages", ts) == 1


async def test_the_database_checks_foreign_writers(mongo_bench: Any, mongo_world: Any) -> None:
    with pytest.raises(WriteError, match="validation"):
        await mongo_world.foreign_insert("messages", mongo_bench.document("messages", channel=3.0))
    with pytest.raises(WriteError, match="validation"):
        await mongo_world.foreign_insert("messages", {"_id": "short", "_creationTime": 1.0, "channel": "a"})


async def test_foreign_documents_get_their_encoded_columns(mongo_bench: Any, mongo_world: Any) -> None:
    bench = mongo_bench
    own = bench.document("messages", channel="own", extra="m")
    start = await bench.insert("messages", own)
    first = bench.document("messages", channel="first", extra="a")
    last = bench.document("messages", channel="last", extra="b")
    await mongo_world.foreign_insert("messages", first)
    await mongo_world.foreign_insert("messages", last)
    await mongo_world.database["messages"].update_one({"_id": last["_id"]}, {"$set": {"extra": "z"}})
    last = {**last, "extra": "z"}

    expected = [first, own, last]
    async with asyncio.timeout(20):
        async for event in bench.store.feed(start):
            if isinstance(event, ForeignWrite):
                assert not event.precise  # until it is repaired, the index does not show the document in its place
            elif isinstance(event, FeedProgress) and await bench.all("messages", "by_extra", event.ts) == expected:
                break
    assert await bench.all("messages", "by_extra") == expected


async def test_the_feed_outlives_documents_that_it_cannot_read(mongo_bench: Any, mongo_world: Any) -> None:
    start = await mongo_bench.store.current_ts()
    collection = mongo_world.database.get_collection("messages")
    await mongo_world.database.command("collMod", "messages", validationLevel="off")
    await collection.insert_one({"_id": ObjectId(), "channel": "odd"})
    await collection.insert_one({"_id": "x" * 31, "channel": datetime.datetime.now(tz=datetime.UTC)})
    await collection.insert_one({"_id": "y" * 31})
    await collection.delete_many({})
    good = mongo_bench.document("messages", channel="good")
    await mongo_world.foreign_insert("messages", good)

    def seen_good(seen: list[Any]) -> bool:
        return any(event.write is not None and event.write.id == good["_id"] for event in seen)

    events = await mongo_bench.events(start, seen_good)
    assert all(isinstance(event, ForeignWrite) and event.table == "messages" for event in events)
    assert [event.precise for event in events[:6]] == [False] * 6
    assert len(events) == 7


async def test_a_stream_whose_cursor_is_gone_goes_on(mongo_bench: Any, mongo_world: Any, open_stores: Any) -> None:
    other = await open_stores("other")
    start = await mongo_bench.store.current_ts()
    await other.insert("messages", other.document("messages", channel="a"))
    numbers: list[int] = []
    async with asyncio.timeout(20):
        async for event in mongo_bench.store.feed(start):
            assert not isinstance(event, FeedGap)
            if isinstance(event, RemoteCommit):
                numbers.append(event.entry.seq)
                if len(numbers) == 4:
                    break
                await kill_streams(mongo_world)
                await other.insert("messages", other.document("messages", channel="a"))
    assert numbers == [1, 2, 3, 4]


async def kill_streams(world: Any) -> None:
    """Kill the change streams on the world's database, as an operator might."""
    admin = world.database.client.admin
    name = world.database.name
    wanted = {"ns": f"{name}.$cmd.aggregate", "type": {"$in": ["idleCursor", "op"]}}
    cursor = await admin.aggregate([{"$currentOp": {"idleCursors": True}}, {"$match": wanted}])
    async for operation in cursor:
        found = operation.get("cursor", {}).get("cursorId")
        if found is not None:
            await world.database.command({"killCursors": "$cmd.aggregate", "cursors": [found]})


async def test_a_stream_that_the_server_cannot_start_is_a_gap(
    mongo_bench: Any, open_stores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await open_stores("other")
    ts = await mongo_bench.insert("messages", mongo_bench.document("messages", channel="a"))
    start_at = feed._start_at

    def forgotten(ts: Timestamp) -> dict[str, Any]:
        monkeypatch.setattr(feed, "_start_at", start_at)
        return {"resumeAfter": {"_data": "8200"}}

    monkeypatch.setattr(feed, "_start_at", forgotten)
    seen: list[Any] = []
    async with asyncio.timeout(20):
        async for event in mongo_bench.store.feed(ts):
            if isinstance(event, FeedGap):
                later = await other.insert("messages", other.document("messages", channel="a"))
            if not isinstance(event, FeedProgress):
                seen.append(event)
            if len(seen) == 2:
                break
    gap, commit = seen
    assert isinstance(gap, FeedGap)
    assert (gap.ts >= ts, gap.last_seq) == (True, 1)
    assert (commit.entry.seq, commit.entry.ts) == (2, later)


async def test_a_dropped_collection_is_a_change_of_its_table(mongo_bench: Any, mongo_world: Any) -> None:
    start = await mongo_bench.insert("messages", mongo_bench.document("messages", channel="a"))
    await mongo_world.database.drop_collection("messages")
    (event,) = await mongo_bench.events(start, lambda seen: len(seen) == 1)
    assert (event.table, event.write, event.precise) == ("messages", None, False)


async def test_a_dropped_database_is_a_gap(mongo_bench: Any, mongo_world: Any) -> None:
    start = await mongo_bench.store.current_ts()
    await mongo_world.database.client.drop_database(mongo_world.database.name)

    def is_gap(seen: list[Any]) -> bool:
        return any(isinstance(event, FeedGap) for event in seen)

    assert (await mongo_bench.events(start, is_gap))[-1].last_seq == 0


async def test_resume_tokens_hold_the_time_of_their_event(mongo_bench: Any, mongo_world: Any) -> None:
    async with await mongo_world.database.watch() as stream:
        stamps: list[Timestamp] = []
        for n in range(3):
            await mongo_world.foreign_insert("messages", mongo_bench.document("messages", channel=str(n)))
            event = await stream.next()
            ts = from_cluster(event["clusterTime"].time, event["clusterTime"].inc)
            assert token_timestamp(event["_id"]) == ts
            stamps.append(ts)
        while await stream.try_next() is not None:
            pass
        assert token_timestamp(stream.resume_token) >= stamps[-1]


async def test_an_idle_nodes_time_moves_on(mongo_bench: Any, mongo_world: Any) -> None:
    start = await mongo_bench.store.current_ts()
    await mongo_world.database["not_a_table"].insert_one({"a": 1})
    later = await mongo_bench.store.current_ts()
    assert later > start
    assert await mongo_bench.progress(start, later) >= later


async def test_the_differ_sees_what_a_push_made(mongo_bench: Any, mongo_world: Any) -> None:
    state = await mongo_bench.store.database_state()
    difference = diff(mongo_bench.catalog.plan, state)
    assert difference.is_empty, str(difference)
    assert difference.extras == ()
    await mongo_world.database["messages"].drop_index("by_channel")
    await mongo_world.database.create_collection("stray")
    difference = diff(mongo_bench.catalog.plan, await mongo_bench.store.database_state())
    assert difference.summary_lines() == [
        "+ index messages.by_channel (channel, _creationTime, _id)",
        "- table stray, only in the database",
    ]
    await mongo_bench.store.push(mongo_bench.catalog.plan)
    assert diff(mongo_bench.catalog.plan, await mongo_bench.store.database_state()).is_empty


async def test_a_duplicate_that_appears_during_the_build_is_refused(
    mongo_bench: Any, make_plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look_away(*_: object) -> None:
        return None

    await mongo_bench.insert("messages", *(mongo_bench.document("messages", channel="a") for _ in range(2)))
    monkeypatch.setattr(SchemaPush, "_check_documents", look_away)
    fields = {"channel": v.string(), "extra": v.optional(v.any())}
    with pytest.raises(PushRefused, match="one key twice"):
        await mongo_bench.store.push(
            make_plan(messages=define_table(**fields).index("by_channel", ["channel"], unique=True))
        )


@pytest.fixture
def open_stores(mongo_world: Any, mongo_bench: Any, make_bench: Any) -> Callable[[str], Any]:
    """Opens one more node with the chat's schema on `mongo_bench`'s database."""

    async def open_one(node: str) -> Any:
        store = await mongo_world.open(node)
        return make_bench(store, await store.push(mongo_bench.catalog.plan), mongo_world.runtime)

    return open_one
