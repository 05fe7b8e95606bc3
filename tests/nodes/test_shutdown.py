"""How a node ends: what is under way is finished, clients are sent away, within a bounded time."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil
import pymongo
import pytest

from processes import ConcaveServer, wait_until
from sync_client import SyncClient

pytestmark = pytest.mark.slow

Start = Callable[..., ConcaveServer]

GOING_AWAY = 1001


def refuses(url: str) -> bool:
    try:
        httpx.get(f"{url}/health")
    except httpx.TransportError:
        return True
    return False


async def ends(server: ConcaveServer) -> int:
    return await asyncio.to_thread(server.process.wait, 20)


async def test_what_is_under_way_is_finished(database_uri: str, start_node: Start) -> None:
    node = start_node(database_uri)
    async with SyncClient(node.url) as idle, SyncClient(node.url) as busy, httpx.AsyncClient() as http:
        await idle.watch("posts:bodies", {"channel": "a"})
        await idle.until(lambda: idle.values)
        await busy.send("posts:later", {"seconds": 3.0, "channel": "a"}, kind="Action")
        body = {"path": "posts:later", "args": {"seconds": 3.0, "channel": "b"}}
        by_http = asyncio.create_task(http.post(f"{node.url}/api/action", json=body, timeout=20))
        # Answered behind the action, which has begun then.
        await busy.call("posts:send", {"channel": "c", "body": "x"})
        assert (await http.get(f"{node.url}/ready")).status_code == 200
        node.process.send_signal(signal.SIGTERM)
        await idle.until(lambda: idle.closed)
        assert idle.closed == (GOING_AWAY, "ServerRestart")
        assert 0 not in busy.responses, "who has nothing under way does not wait for those who have"
        assert refuses(node.url)
        # While its action runs the other connection goes on as usual.
        await busy.call("posts:send", {"channel": "c", "body": "y"})
        await busy.until(lambda: busy.closed)
        assert busy.responses[0]["result"] == "done"
        assert busy.closed == (GOING_AWAY, "ServerRestart")
        assert (await by_http).json()["value"] == "done"
    assert await ends(node) == 0
    assert "Traceback" not in node.log
    with pymongo.MongoClient[dict[str, Any]](database_uri) as client:
        database = client.get_default_database()
        assert database["posts"].count_documents({"body": "later"}) == 2
        assert database["_nodes"].count_documents({}) == 0


@pytest.mark.parametrize("signals", [1, 2])
async def test_the_end_is_bounded(database_uri: str, start_node: Start, signals: int) -> None:
    """By the deadline; and a second signal does not wait for it."""
    node = start_node(database_uri, "--shutdown-timeout", "0.7" if signals == 1 else "30")
    async with SyncClient(node.url) as client:
        await client.send("posts:later", {"seconds": 60, "channel": "never"}, kind="Action")
        await client.call("posts:send", {"channel": "a", "body": "x"})
        began = time.monotonic()
        node.process.send_signal(signal.SIGTERM)
        if signals == 2:
            await asyncio.to_thread(wait_until, lambda: refuses(node.url), "it accepts connections")
            node.process.send_signal(signal.SIGTERM)
        await client.until(lambda: client.closed)
        assert client.closed == (GOING_AWAY, "ServerRestart")
        assert await ends(node) == 0
        assert time.monotonic() - began < 15
    assert "Traceback" not in node.log


def test_workers_are_watched_and_ended(database_uri: str, start_node: Start) -> None:
    supervisor = start_node(database_uri, "--workers", "2")
    process = psutil.Process(supervisor.process.pid)
    first = process.children()
    assert len(first) == 2
    names = set()

    def all_have_answered() -> bool:
        names.add(httpx.get(f"{supervisor.url}/health").json()["node"])
        return len(names) == 2

    wait_until(all_have_answered, "connections are not spread over the workers")
    first[0].kill()

    def is_replaced() -> bool:
        return len([child for child in process.children() if child != first[0] and child.is_running()]) == 2

    wait_until(is_replaced, "the killed worker was not replaced")
    assert "ended with status -9" in supervisor.log
    workers = process.children()
    supervisor.process.send_signal(signal.SIGTERM)
    assert supervisor.process.wait(20) == 0
    assert not any(worker.is_running() for worker in workers)
    assert "Traceback" not in supervisor.log


def test_workers_do_not_outlive_their_supervisor(database_uri: str, start_node: Start) -> None:
    supervisor = start_node(database_uri, "--workers", "2")
    workers = psutil.Process(supervisor.process.pid).children()
    supervisor.process.kill()
    psutil.wait_procs(workers, timeout=20)
    assert not any(worker.is_running() for worker in workers)
