"""The store contract: the feed of other nodes' commits and foreign writes."""

from __future__ import annotations

import asyncio
from typing import Any

from concave.schema.definition import define_table
from concave.schema.validators import v
from concave.storage.store import FeedProgress, ForeignWrite, LogEntry, RemoteCommit, TurnWanted
from concave.values.types import Timestamp


def count(wanted: int) -> Any:
    return lambda seen: len(seen) >= wanted


async def test_other_nodes_commits_arrive_in_order_with_their_timestamps(bench: Any, open_bench: Any) -> None:
    other = await open_bench("other")
    start = await bench.store.current_ts()
    document = bench.document("messages", channel="a")
    edited = {**document, "channel": "b"}
    stamps = [await other.insert("messages", document), await other.replace("messages", document, edited)]

    events = await bench.events(start, count(2))
    assert all(isinstance(event, RemoteCommit) for event in events)
    assert [event.entry.seq for event in events] == [1, 2]
    assert [event.entry.ts for event in events] == stamps
    assert [event.entry.node for event in events] == ["other", "other"]
    assert events[1].entry.writes[0].after == edited
    assert events[1].entry.writes[0].keys == bench.write("messages", document, edited).keys


async def test_own_commits_are_left_out_but_time_passes(bench: Any) -> None:
    start = await bench.store.current_ts()
    ts = await bench.insert("messages", bench.document("messages", channel="a"))
    async with asyncio.timeout(20):
        async for event in bench.store.feed(start):
            assert isinstance(event, FeedProgress), event
            if event.ts >= ts:
                break


async def test_a_feed_begins_where_it_is_asked_to(bench: Any, open_bench: Any) -> None:
    other = await open_bench("other")
    stamps = [await other.insert("messages", other.document("messages", channel=str(n))) for n in range(4)]
    events = await bench.events(stamps[1], count(2))
    assert [event.entry.ts for event in events] == stamps[2:]


async def test_a_foreign_insert_is_known_precisely(bench: Any, world: Any) -> None:
    start = await bench.store.current_ts()
    document = bench.document("users", handle="h")
    plain = {**bench.document("messages", channel="a")}
    await world.foreign_insert("messages", plain)
    await world.foreign_insert("users", document)
    first, *_ = await bench.events(start, count(2))
    assert isinstance(first, ForeignWrite)
    assert (first.table, first.write.id, first.write.after) == ("messages", plain["_id"], plain)
    assert first.write.keys == bench.write("messages", None, plain).keys
    assert await bench.store.get("messages", plain["_id"], first.ts) == plain


async def test_foreign_changes_name_their_table_and_time(bench: Any, world: Any) -> None:
    document = bench.document("messages", channel="a")
    ts = await bench.insert("messages", document)
    edited = {**document, "channel": "b"}
    await world.foreign_update("messages", edited)
    await world.foreign_delete("messages", document["_id"])
    events = [
        event
        for event in await bench.events(ts, lambda seen: any(event.write and not event.write.after for event in seen))
        if isinstance(event, ForeignWrite)
    ]
    assert {event.table for event in events} == {"messages"}
    assert not any(event.precise for event in events)
    assert [event.ts for event in events] == sorted(event.ts for event in events)
    assert ts < events[0].ts
    assert await bench.store.get("messages", document["_id"], events[0].ts) == edited
    assert await bench.store.get("messages", document["_id"], events[-1].ts) is None


async def test_remote_commits_and_foreign_writes_mix_in_time(bench: Any, open_bench: Any, world: Any) -> None:
    other = await open_bench("other")
    start = await bench.store.current_ts()
    for number in range(3):
        await other.insert("messages", *(other.document("messages", channel=str(number)) for _ in range(3)))
        await world.foreign_insert("messages", other.document("messages", channel="foreign"))
    await other.insert("messages", other.document("messages", channel="last"))

    def last_seen(seen: list[Any]) -> bool:
        return any(isinstance(event, RemoteCommit) and event.entry.seq == 4 for event in seen)

    events = await bench.events(start, last_seen)
    commits = [event for event in events if isinstance(event, RemoteCommit)]
    foreign = {event.write.id for event in events if isinstance(event, ForeignWrite)}
    assert [event.entry.seq for event in commits] == [1, 2, 3, 4]
    assert len(foreign) == 3
    written = {write.id for event in commits for write in event.entry.writes}
    assert not foreign & written  # documents of a logged transaction are not foreign
    assert [event.ts for event in events] == sorted(event.ts for event in events)


async def test_progress_promises_that_all_before_it_was_delivered(bench: Any, open_bench: Any) -> None:
    other = await open_bench("other")
    start = await bench.store.current_ts()
    committed: list[Timestamp] = []

    async def commit() -> None:
        for _ in range(30):
            ts = await other.insert("messages", other.document("messages", channel="a"))
            committed.append(ts)

    task = asyncio.ensure_future(commit())
    delivered: list[Timestamp] = []
    async with asyncio.timeout(20):
        async for event in bench.store.feed(start):
            if isinstance(event, RemoteCommit):
                delivered.append(event.entry.ts)
            elif isinstance(event, FeedProgress):
                assert [ts for ts in committed if ts <= event.ts] == [ts for ts in delivered if ts <= event.ts]
                await bench.all("messages", "by_id", event.ts)
                if len(delivered) == 30:
                    break
    await task
    assert delivered == committed


async def test_cancelling_a_feed_ends_it_and_another_can_follow(bench: Any, open_bench: Any) -> None:
    other = await open_bench("other")
    start = await bench.store.current_ts()

    async def follow() -> None:
        async for _ in bench.store.feed(start):
            pass

    task = asyncio.ensure_future(follow())
    ts = await other.insert("messages", other.document("messages", channel="a"))
    await bench.progress(start, ts)
    task.cancel()
    (outcome,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    assert [event.ts for event in await bench.events(start, count(1))] == [ts]


async def test_a_node_of_another_schema_makes_whole_tables_changed(bench: Any, open_bench: Any, make_plan: Any) -> None:
    newer = make_plan(
        messages=define_table(channel=v.string(), body=v.optional(v.string()), extra=v.optional(v.any())).index(
            "by_body", ["body"]
        ),
    )
    other = await open_bench("other", newer)
    start = await bench.store.current_ts()
    document = other.document("messages", channel="a", body="b")
    await other.insert("messages", document)
    events = await bench.events(start, count(1))
    whole = [event for event in events if isinstance(event, ForeignWrite) and not event.precise]
    # What this node's indexes need may be missing in the other's log: either the table is taken as changed, or the
    # keys are complete.
    if not whole:
        assert events[0].entry.writes[0].keys == bench.write("messages", None, document).keys


async def test_asking_for_a_turn_reaches_the_other_nodes(bench: Any, open_bench: Any) -> None:
    other, third = await open_bench("other"), await open_bench("third")
    start = await bench.store.current_ts()
    await other.store.ask_for_turn()
    await third.store.ask_for_turn()
    await other.store.ask_for_turn()
    events = await bench.events(start, count(3))
    assert [type(event) for event in events] == [TurnWanted] * 3
    assert [event.node for event in events] == ["other", "third", "other"]


async def test_an_entry_says_who_wrote_and_whose_turn_it_is(bench: Any, open_bench: Any) -> None:
    other = await open_bench("other")
    start = await bench.store.current_ts()
    write = bench.write("messages", None, bench.document("messages", channel="a"))
    entry = LogEntry(1, "other", "batch", (write,), functions=("messages:send",), turns=("node", "other"))
    await other.store.append(entry)
    await other.store.append(LogEntry(2, "other", "next", (), turns=("node",)))
    first, second = await bench.events(start, count(2))
    assert (first.entry.functions, first.entry.turns) == (("messages:send",), ("node", "other"))
    assert (second.entry.writes, second.entry.turns) == ((), ("node",)), "an entry that only passes the turn on"
