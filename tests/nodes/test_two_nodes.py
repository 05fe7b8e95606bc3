"""Two server processes that know of each other only through the database: I1, I5, I6 and I7 across them."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from processes import ConcaveServer, wait_until
from sync_client import SyncClient

pytestmark = pytest.mark.slow

Collection = Callable[[str], Any]


async def test_only_what_a_mutation_elsewhere_touches_runs_again(nodes: Any) -> None:
    async with SyncClient(nodes.first.url) as writer, SyncClient(nodes.second.url) as reader:
        touched = await reader.watch("posts:run_of", {"channel": "precise a"})
        other = await reader.watch("posts:run_of", {"channel": "precise b"})
        await reader.until(lambda: len(reader.values) == 2)
        at_first = reader.values[other]
        for count in (1, 2, 3):
            await writer.call("posts:send", {"channel": "precise a", "body": "x"})
            await reader.until(lambda count=count: reader.values[touched]["posts"] == count)
        assert reader.values[other] == at_first
        await writer.call("posts:send", {"channel": "precise b", "body": "x"})
        await reader.until(lambda: reader.values[other]["posts"] == 1)
        # A change elsewhere is told once; nothing ran that was not touched.
        assert (reader.updates[touched], reader.updates[other]) == (4, 2)


async def test_increments_through_both_lose_nothing(nodes: Any) -> None:
    acknowledged = 0

    async def count_up(client: httpx.AsyncClient, url: str) -> None:
        nonlocal acknowledged
        for _ in range(10):
            body = {"path": "posts:increment", "args": {"name": "shared"}}
            response = await client.post(f"{url}/api/mutation", json=body)
            if response.status_code == 200:
                assert response.json()["status"] == "success", response.text
                acknowledged += 1
            else:
                assert response.json()["code"] == "OptimisticConcurrencyControlFailure", response.text

    async with httpx.AsyncClient(timeout=30) as client:
        urls = [nodes.first.url, nodes.second.url] * 2
        await asyncio.gather(*(count_up(client, url) for url in urls))
    assert acknowledged >= 20
    async with SyncClient(nodes.first.url) as first, SyncClient(nodes.second.url) as second:
        for reader in (first, second):
            await reader.watch("posts:value_of", {"name": "shared"})
            await reader.until(lambda reader=reader: reader.values.get(0) == acknowledged)


@pytest.mark.parametrize("connection_count", [0, 1])
async def test_a_request_sent_again_to_the_other_node_gets_the_first_outcome(nodes: Any, connection_count: int) -> None:
    """With 1 the session looks the request up before it runs; with 0 the committer finds out."""
    name = f"resent {connection_count}"
    async with SyncClient(nodes.first.url) as before:
        assert await before.call("posts:increment", {"name": name}) == 1
        assert await before.call("posts:increment", {"name": name}) == 2
        session = before.session_id
    async with SyncClient(nodes.second.url, session_id=session, connectionCount=connection_count) as after:
        assert await after.call("posts:increment", {"name": name}, number=0) == 1
        assert await after.call("posts:increment", {"name": name}, number=1) == 2
        assert await after.call("posts:increment", {"name": name}, number=2) == 3


async def test_a_request_sent_to_both_nodes_at_once_is_applied_once(nodes: Any) -> None:
    for round_ in range(5):
        name = f"at once {round_}"
        one = SyncClient(nodes.first.url)
        async with one, SyncClient(nodes.second.url, session_id=one.session_id) as two:
            results = await asyncio.gather(
                one.call("posts:increment", {"name": name}), two.call("posts:increment", {"name": name})
            )
            assert results == [1, 1]
            assert await two.call("posts:increment", {"name": name}, number=7) == 2


async def test_nodes_announce_themselves(nodes: Any, collection: Collection) -> None:
    entries = {entry["pid"]: entry for entry in collection("_nodes").find()}
    assert {nodes.first.process.pid, nodes.second.process.pid} <= entries.keys()
    before = entries[nodes.first.process.pid]
    async with SyncClient(nodes.second.url) as writer:
        await writer.call("posts:send", {"channel": "announced", "body": "x"})

    def has_moved_on() -> bool:
        entry = collection("_nodes").find_one({"_id": before["_id"]})
        return bool(entry["seq"] > before["seq"] and entry["heartbeat"] > before["heartbeat"])

    wait_until(has_moved_on, "the heartbeat does not tell of the other node's commit")


@pytest.mark.parametrize("path", ["health", "ready"])
def test_probes(nodes: Any, path: str) -> None:
    for node in (nodes.first, nodes.second):
        response = httpx.get(f"{node.url}/{path}")
        assert (response.status_code, response.json()["status"]) == (200, {"health": "alive"}.get(path, path))
    assert httpx.head(f"{nodes.first.url}/{path}").status_code == 200


async def test_a_node_that_stood_still_while_the_log_was_trimmed_catches_up(nodes: Any, collection: Collection) -> None:
    async with SyncClient(nodes.first.url) as writer, SyncClient(nodes.second.url) as reader:
        await reader.watch("posts:bodies", {"channel": "still"})
        await reader.until(lambda: reader.values.get(0) == [])
        nodes.second.process.send_signal(signal.SIGSTOP)
        try:
            for number in range(5):
                await writer.call("posts:send", {"channel": "still", "body": str(number)})
            newest = collection("_commits").find_one(sort=[("_id", -1)])
            collection("_commits").update_many({"_id": {"$lt": newest["_id"]}}, {"$unset": {"writes": ""}})
        finally:
            nodes.second.process.send_signal(signal.SIGCONT)
        await reader.until(lambda: len(reader.values[0]) == 5)
        await reader.call("posts:send", {"channel": "still", "body": "5"})
        await reader.until(lambda: len(reader.values[0]) == 6)


async def test_a_killed_node_takes_no_acknowledged_mutation_with_it(
    nodes: Any, start_node: Callable[..., ConcaveServer]
) -> None:
    doomed = await asyncio.to_thread(start_node, nodes.uri)
    total = 300
    async with SyncClient(nodes.second.url) as watcher:
        await watcher.watch("posts:bodies", {"channel": "killed"})
        async with SyncClient(doomed.url) as writer:
            for number in range(total):
                await writer.send("posts:send", {"channel": "killed", "body": str(number)})
            await writer.until(lambda: len(writer.responses) >= 40)
            doomed.process.kill()
            await writer.until(lambda: writer.closed is not None)
            acknowledged = writer.acknowledged
        assert 40 <= len(acknowledged) < total
        async with SyncClient(nodes.second.url, session_id=writer.session_id, connectionCount=1) as again:
            for number in sorted(set(range(total)) - acknowledged):
                await again.send("posts:send", {"channel": "killed", "body": str(number)}, number=number)
            await again.until(lambda: len(again.acknowledged) == total - len(acknowledged))
        await watcher.until(lambda: len(watcher.values.get(0, ())) >= total)
        assert Counter(watcher.values[0]) == Counter(map(str, range(total)))
