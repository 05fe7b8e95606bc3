"""The official Python client (PyPI `convex`) against a running server, and foreign writes by plain PyMongo."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from convex import ConvexClient, ConvexError, ConvexInt64

from concave import new_document_id

pytestmark = pytest.mark.slow


@pytest.fixture
def client(server: Any) -> ConvexClient:
    return ConvexClient(server.url)


@pytest.fixture
def channel() -> str:
    return f"channel {uuid.uuid4()}"


SUBSCRIBE = """
import json, sys
from convex import ConvexClient
for value in ConvexClient(sys.argv[1]).subscribe(sys.argv[2], json.loads(sys.argv[3])):
    print(json.dumps(value), flush=True)
"""


class Follower:
    """Collects a subscription's results. In a process of its own: the client's iterator holds the interpreter lock
    while it waits, so nothing else of this process would run."""

    def __init__(self, url: str, path: str, args: dict[str, Any]) -> None:
        self.results: list[Any] = []
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-c", SUBSCRIBE, url, path, json.dumps(args)], stdout=subprocess.PIPE, text=True
        )
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                self.results.append(json.loads(line))
                self._changed.notify_all()

    def wait_for(self, condition: Any, timeout_s: float = 10) -> Any:
        with self._changed:
            assert self._changed.wait_for(lambda: self.results and condition(self.results[-1]), timeout_s), self.results
            return self.results[-1]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def follower(server: Any, channel: str) -> Iterator[Follower]:
    """A subscription to the messages of the test's channel, which has delivered its first, empty result."""
    follower = Follower(server.url, "messages:list", {"channel": channel})
    try:
        follower.wait_for(lambda messages: messages == [])
        yield follower
    finally:
        follower.close()


def test_query_mutation_action(client: ConvexClient, channel: str) -> None:
    id = client.mutation("messages:send", {"channel": channel, "body": "hello"})
    (message,) = client.query("messages:list", {"channel": channel})
    assert message == {"_id": id, "_creationTime": message["_creationTime"], "channel": channel, "body": "hello"}
    assert client.action("messages:send_all", {"channel": channel, "bodies": ["a", "b"]}) == 3.0


def test_values(client: ConvexClient) -> None:
    value = {"a": [1.0, ConvexInt64(5), b"\x00\xff", None, True, "ü"], "b": {"c": -0.5}}
    assert client.query("messages:echo", {"value": value}) == value


def test_errors(client: ConvexClient) -> None:
    with pytest.raises(ConvexError) as raised:
        client.mutation("messages:refuse", {"data": {"code": "no"}})
    assert raised.value.data == {"code": "no"}
    with pytest.raises(Exception, match="Uncaught ValueError: something broke"):
        client.mutation("messages:crash", {})
    with pytest.raises(Exception, match="Could not find public function for 'messages:nowhere'"):
        client.query("messages:nowhere", {})


def test_a_subscription_follows_mutations(client: ConvexClient, follower: Follower, channel: str) -> None:
    client.mutation("messages:send", {"channel": channel, "body": "hello"})
    (message,) = follower.wait_for(lambda messages: len(messages) == 1)
    assert message["body"] == "hello"


@pytest.fixture
def collection(server: Any) -> Iterator[Any]:
    with pymongo.MongoClient[dict[str, Any]](server.database_uri) as mongo:
        yield mongo.get_default_database()["messages"]


def new_id(collection: Any) -> str:
    number = collection.database["_tables"].find_one({"_id": "messages"})["number"]
    return new_document_id(number)


def test_a_subscription_follows_foreign_writes(follower: Follower, collection: Any, channel: str) -> None:
    id = new_id(collection)
    collection.insert_one({"_id": id, "_creationTime": time.time() * 1000, "channel": channel, "body": "from PyMongo"})
    (message,) = follower.wait_for(lambda messages: len(messages) == 1)
    assert (message["_id"], message["body"]) == (id, "from PyMongo")
    collection.update_one({"_id": id}, {"$set": {"body": "changed", "rank": 3}})
    (message,) = follower.wait_for(lambda messages: messages[0]["body"] == "changed")
    assert message["rank"] == 3.0
    collection.delete_one({"_id": id})
    follower.wait_for(lambda messages: messages == [])


def test_a_foreign_transaction_arrives_whole(follower: Follower, collection: Any, channel: str) -> None:
    with collection.database.client.start_session() as session, session.start_transaction():
        for body in ("one", "two"):
            document = {"_id": new_id(collection), "_creationTime": time.time() * 1000, "channel": channel}
            collection.insert_one({**document, "body": body}, session=session)
    follower.wait_for(lambda messages: len(messages) == 2)


def test_the_database_refuses_a_foreign_document_that_breaks_the_schema(collection: Any, channel: str) -> None:
    document = {"_id": new_id(collection), "_creationTime": time.time() * 1000, "channel": channel}
    with pytest.raises(pymongo.errors.WriteError, match="Document failed validation"):
        collection.insert_one({**document, "body": 7})
    with pytest.raises(pymongo.errors.WriteError, match="Document failed validation"):
        collection.insert_one({"channel": channel, "body": "an id of MongoDB's own kind"})


async def test_many_clients_at_once(server: Any, channel: str) -> None:
    def send(number: int) -> None:
        ConvexClient(server.url).mutation("messages:send", {"channel": channel, "body": f"{number}"})

    await asyncio.gather(*(asyncio.to_thread(send, number) for number in range(8)))
    assert ConvexClient(server.url).query("messages:count", {"channel": channel}) == 8.0
