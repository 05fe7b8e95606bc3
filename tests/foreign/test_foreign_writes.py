"""Foreign writes up to live queries: a whole engine on a real mongod, with another program at work in its database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient

from concave.cli.node import Node, NodeOptions, started_node
from concave.functions.loader import load_app
from concave.values.ids import decode_id, encode_id
from concave.values.runtime import SystemRuntime

APP = """
from concave import define_table, mutation, query, v

runs = []

plain = define_table(channel=v.string(), n=v.number()).index("by_channel", ["channel"])
watched = define_table(channel=v.string(), n=v.number()).index("by_channel", ["channel"]).pre_images()
loose = define_table(a=v.any()).index("by_a", ["a"])

@query
async def sum(ctx, table, channel):
    runs.append((table, channel))
    found = await ctx.db.query(table).with_index("by_channel", channel=channel).collect()
    return [len(found), *(document["n"] + 1 for document in found)]

@query(returns=v.array(v.doc("plain")))
async def checked(ctx, channel):
    return await ctx.db.query("plain").with_index("by_channel", channel=channel).collect()

@query
async def byA(ctx, a):
    return len(await ctx.db.query("loose").with_index("by_a", a=a).collect())

@mutation
async def insert(ctx, table, document):
    return await ctx.db.insert(table, document)
"""


class World:
    """A node, another program's client of the same database, and the record of which queries were run."""

    def __init__(self, node: Node, client: AsyncMongoClient[dict[str, Any]], runs: list[tuple[str, str]]) -> None:
        self._node = node
        self._client = client
        self.runs = runs

    async def query(self, path: str, **args: Any) -> Any:
        """The result, from the cache if it still holds there: what changed is run again, and only that."""
        return await self._node.engine.query(f"app:{path}", args)

    async def value(self, path: str, **args: Any) -> Any:
        answer = await self.query(path, **args)
        assert answer.ok, answer.error_message
        return answer.value

    async def insert(self, table: str, **document: Any) -> str:
        outcome = await self._node.engine.mutation("app:insert", {"table": table, "document": document})
        assert outcome.ok, outcome.error_message
        return str(outcome.value)

    def foreign(self, table: str) -> Any:
        """The collection as another program has it."""
        return self._client.get_default_database().get_collection(table)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not await condition():
                await asyncio.sleep(0.01)


@pytest.fixture
async def world(database_uri: str, tmp_path: Path) -> AsyncIterator[World]:
    directory = tmp_path / "appdir"
    directory.mkdir()
    (directory / "app.py").write_text(APP)
    app = load_app(directory)
    spec = app.registry.get("app:sum")
    assert spec is not None
    runtime = SystemRuntime()
    async with (
        AsyncMongoClient[dict[str, Any]](database_uri) as client,
        started_node(app, NodeOptions(database_uri, "test|key", development=True), runtime) as node,
    ):
        yield World(node, client, spec.handler.__globals__["runs"])


@pytest.mark.parametrize("change", ["update", "replace", "delete"])
@pytest.mark.parametrize("table", ["watched", "plain"])
async def test_foreign_changes_run_what_they_touch(world: World, table: str, change: str) -> None:
    """With pre-images only the queries that the old or new document is in run again; without, all on the table."""
    id = await world.insert(table, channel="a", n=1.0)
    await world.insert(table, channel="c", n=3.0)
    for channel in "abc":
        await world.value("sum", table=table, channel=channel)
    world.runs.clear()
    collection = world.foreign(table)
    if change == "update":
        await collection.update_one({"_id": id}, {"$set": {"channel": "b"}})
    elif change == "replace":
        stored = await collection.find_one({"_id": id})
        await collection.replace_one({"_id": id}, {**stored, "channel": "b"})
    else:
        await collection.delete_one({"_id": id})

    async def is_seen() -> bool:
        return bool(await world.value("sum", table=table, channel="a") == [0.0])

    await world.until(is_seen)
    assert await world.value("sum", table=table, channel="b") == ([0.0] if change == "delete" else [1.0, 2.0])
    assert await world.value("sum", table=table, channel="c") == [1.0, 4.0]
    touched = {"a"} if change == "delete" else {"a", "b"}
    assert {channel for _, channel in world.runs} == (touched if table == "watched" else {"a", "b", "c"})


async def bad_document(world: World, **fields: Any) -> str:
    good = await world.insert("plain", channel="a", n=1.0)
    id = encode_id(decode_id(good)[0], b"\x07" * 16)
    document = {"_id": id, "_creationTime": 1.0, "channel": "a", "n": 1.0} | fields
    for name in [name for name, value in document.items() if value is ...]:
        del document[name]
    await world.foreign("plain").insert_one(document, bypass_document_validation=True)
    return id


@pytest.mark.parametrize(
    ("path", "fields", "says"),
    [
        ("sum", {"n": ObjectId()}, "at .n: the BSON type ObjectId is no Convex value"),
        ("sum", {"_creationTime": "x"}, "its _creationTime is not a number"),
        ("sum", {"n": "many"}, "Path: .n"),
        ("sum", {"n": ...}, "missing the required field `n`"),
        ("checked", {"n": None}, "Path: .n"),
        ("checked", {"extra": 1.0}, "extra field `extra`"),
    ],
)
async def test_a_document_that_slipped_in_is_named_and_its_mending_noticed(
    world: World, path: str, fields: dict[str, Any], says: str
) -> None:
    """A value that no reader could take, and a document that only breaks the schema: the function stumbles over it."""
    args = {"channel": "a"} | ({"table": "plain"} if path == "sum" else {})
    await world.value(path, **args)
    id = await bad_document(world, **fields)

    async def fails() -> bool:
        return not (await world.query(path, **args)).ok

    await world.until(fails)
    message = (await world.query(path, **args)).error_message
    assert f"the document {id} stored in table `plain` cannot be used" in message
    assert says in message
    assert "Uncaught Error" in message
    await world.foreign("plain").delete_one({"_id": id})

    async def works() -> bool:
        return not await fails()

    await world.until(works)


async def test_an_index_that_is_dropped_and_made_again(world: World) -> None:
    await world.insert("plain", channel="a", n=1.0)
    assert await world.value("sum", table="plain", channel="a") == [1.0, 2.0]
    await world.foreign("plain").drop_index("by_channel")

    async def fails() -> bool:
        return not (await world.query("sum", table="plain", channel="a")).ok

    await world.until(fails)
    message = (await world.query("sum", table="plain", channel="a")).error_message
    assert "the index `by_channel` of table `plain` is not in the database any more" in message
    await world.foreign("plain").create_index([("channel", 1), ("_creationTime", 1), ("_id", 1)], name="by_channel")

    async def works() -> bool:
        return not await fails()

    await world.until(works)
    assert await world.value("sum", table="plain", channel="a") == [1.0, 2.0]


async def test_a_foreign_document_without_encoded_columns_gets_them(world: World) -> None:
    mine = await world.insert("loose", a=[1.0])
    assert await world.value("byA", a=[1.0]) == 1.0
    foreign = encode_id(decode_id(mine)[0], b"\x07" * 16)
    await world.foreign("loose").insert_one({"_id": foreign, "_creationTime": 1.0, "a": [1.0]})

    async def both() -> bool:
        return bool(await world.value("byA", a=[1.0]) == 2.0)

    await world.until(both)
    await world.foreign("loose").update_one({"_id": foreign}, {"$set": {"a": [2.0]}})

    async def moved() -> bool:
        return bool(await world.value("byA", a=[1.0]) == 1.0 and await world.value("byA", a=[2.0]) == 1.0)

    await world.until(moved)
