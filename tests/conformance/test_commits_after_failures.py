"""What a failing cluster leaves behind must not stop commits: the open transaction of a node that died between its
statements and `commitTransaction`, and a driver that is between two primaries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bson import Int64 as BsonLong
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, OperationFailure

from concave.storage import batch_writer
from concave.storage.lane import Lane
from concave.storage.store import SeqTaken, StoreUnavailable


@asynccontextmanager
async def open_transaction(uri: str, *, seq: int, appname: str) -> AsyncIterator[Any]:
    """A transaction that has written log entry `seq` and does not go on."""
    async with AsyncMongoClient[dict[str, Any]](uri, appname=appname) as client, client.start_session() as session:
        await session.start_transaction()
        entry = {"_id": BsonLong(seq), "node": "dead", "batch": "a batch that nobody commits"}
        await client.get_default_database()["_commits"].insert_one(entry, session=session)
        yield session


async def test_a_transaction_that_its_node_abandoned_is_ended_by_who_is_blocked(
    mongo_bench: Any, mongo_world: Any
) -> None:
    document = mongo_bench.document("messages", channel="a")
    entry = await mongo_bench.entry(mongo_bench.write("messages", None, document))
    async with open_transaction(mongo_world.uri, seq=entry.seq, appname="concave") as abandoned:
        async with asyncio.timeout(10):
            ts = await mongo_bench.store.append(entry)
        with pytest.raises(OperationFailure) as refused:
            await abandoned.commit_transaction()
    assert refused.value.has_error_label("TransientTransactionError"), "its node, if it lives, knows what to do"
    assert await mongo_bench.all("messages", "by_id", ts) == [document]
    assert [logged.batch for logged in await mongo_bench.store.read_log(0, 10)] == [entry.batch]


async def test_who_is_blocked_by_a_living_node_waits_and_has_lost_the_number(
    mongo_bench: Any, mongo_world: Any
) -> None:
    entry = await mongo_bench.entry(mongo_bench.write("messages", None, mongo_bench.document("messages", channel="a")))
    async with open_transaction(mongo_world.uri, seq=entry.seq, appname="concave") as session:
        append = asyncio.create_task(mongo_bench.store.append(entry))
        await asyncio.wait([append], timeout=batch_writer.ABANDONED_S / 2)
        await session.commit_transaction()
        with pytest.raises(SeqTaken):
            await append


async def test_transactions_of_other_programs_are_left_alone(
    mongo_bench: Any, mongo_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_writer, "APPEND_TIMEOUT_S", 2 * batch_writer.ABANDONED_S)
    entry = await mongo_bench.entry(mongo_bench.write("messages", None, mongo_bench.document("messages", channel="a")))
    async with open_transaction(mongo_world.uri, seq=entry.seq, appname="another program") as session:
        with pytest.raises(StoreUnavailable):
            await mongo_bench.store.append(entry)
        await session.commit_transaction()


async def test_a_connection_that_cannot_be_had_at_once_is_asked_for_again(
    mongo_bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = await mongo_bench.entry(mongo_bench.write("messages", None, mongo_bench.document("messages", channel="a")))
    open_lane = Lane.open
    refused = 0

    async def refuse_twice(client: Any) -> Lane:
        nonlocal refused
        if refused < 2:
            refused += 1
            raise AutoReconnect("connection pool paused")  # the driver, when it has just given up a server
        return await open_lane(client)

    monkeypatch.setattr(Lane, "open", refuse_twice)
    await mongo_bench.store.append(entry)
    assert refused == 2
