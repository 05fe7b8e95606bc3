"""The wire, measured: idle sockets, fan-out, connecting, reconnecting after a restart.

Run: `make bench-wire`, or `python bench/wire.py [--quick] [--only NAME] [--json FILE]`. Prints one table, each figure
beside the limit that it must keep, and the same as JSON. Exit status 1 if a limit is broken.

The clients are sockets of this process that speak just enough of the sync protocol; processor time and memory are those
of the server's process alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from concave.values.ids import new_id
from concave.values.runtime import SystemRuntime
from figures import Figure, amount, conclude, ratio
from servers import BENCH, Server, free_port, mongod, server

FANOUT_SOCKETS = 1_000
RECONNECTING = 200
CONNECTING_AT_ONCE = 50


class Subscriber:
    """A socket with one live query. It reads by itself only while it is asked to."""

    def __init__(self, url: str, channel: str) -> None:
        self._url = f"{url.replace('http', 'ws')}/api/1.48.0/sync"
        self._channel = channel
        self._session = str(uuid.uuid4())
        self._connections = 0
        self.socket: ClientConnection | None = None

    async def open(self) -> str:
        """Connect and wait for the first result; the text that holds it."""
        self.socket = await connect(self._url, compression=None, max_size=None, ping_interval=None)
        greeting = {
            "type": "Connect",
            "sessionId": self._session,
            "connectionCount": self._connections,
            "lastCloseReason": "InitialConnect",
            "clientTs": 0,
        }
        query = {"type": "Add", "queryId": 0, "udfPath": "messages:list", "args": [{"channel": self._channel}]}
        ask = {"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [query]}
        self._connections += 1
        await self.socket.send(json.dumps(greeting))
        await self.socket.send(json.dumps(ask))
        return await self.read_until(lambda text: '"QueryUpdated"' in text)

    async def read_until(self, wanted: Callable[[str], bool]) -> str:
        assert self.socket is not None
        while True:
            text = await self.socket.recv(decode=True)
            if wanted(text):
                return text

    async def close(self) -> None:
        if self.socket is not None:
            await self.socket.close()


@contextlib.asynccontextmanager
async def subscribers(url: str, count: int, channel: Callable[[int], str]) -> AsyncIterator[list[Subscriber]]:
    """Subscribers that have their first result."""
    opened = [Subscriber(url, channel(number)) for number in range(count)]
    turn = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def open_one(subscriber: Subscriber) -> None:
        async with turn:
            await subscriber.open()

    try:
        await asyncio.gather(*map(open_one, opened))
        yield opened
    finally:
        for subscriber in opened:
            if subscriber.socket is not None:
                subscriber.socket.transport.abort()


async def idle(uri: str, quick: bool) -> list[Figure]:
    """Sockets with one subscription each, to 500 channels, on a server of their own."""
    count, seconds = (1_000, 5.0) if quick else (5_000, 10.0)
    async with server("concave", uri) as fresh:
        await asyncio.sleep(1.0)
        before = fresh.memory_mb()
        async with subscribers(fresh.url, count, lambda number: f"channel {number % 500}"):
            await asyncio.sleep(3.0)
            each_kb = (fresh.memory_mb() - before) * 1000 / count
            cpu, began = fresh.cpu_s(), time.perf_counter()
            await asyncio.sleep(seconds)
            percent = (fresh.cpu_s() - cpu) / (time.perf_counter() - began) * 100
    return [
        amount(f"{count} idle subscribers, memory each", each_kb, "KB", 80.0),
        amount(f"{count} idle subscribers, processor", percent, "%", 2.0),
    ]


async def fanout(uri: str, quick: bool) -> list[Figure]:
    """One change after the other to 1,000 sockets: all of the server's work, for each message delivered."""
    writes = 10 if quick else 40
    async with (
        server("concave", uri) as target,
        httpx.AsyncClient(base_url=target.url, timeout=30) as http,
        subscribers(target.url, FANOUT_SOCKETS, lambda _: "fan-out") as sockets,
    ):
        await _send(http, "fan-out", "warm up")
        await asyncio.gather(*(one.read_until(lambda text: "warm up" in text) for one in sockets))
        cpu = target.cpu_s()
        for number in range(writes):
            marker = f"marker {number}."
            await _send(http, "fan-out", marker)
            await asyncio.gather(*(one.read_until(lambda text, m=marker: m in text) for one in sockets))
        each_us = (target.cpu_s() - cpu) * 1e6 / (writes * FANOUT_SOCKETS)
    return [amount(f"fan-out to {FANOUT_SOCKETS} sockets, processor a message", each_us, "us", 60.0)]


async def connecting(uri: str, quick: bool) -> list[Figure]:
    """From nothing to the first result, against a bare websocket on the same web server."""
    rounds = 40 if quick else 200
    ours: list[float] = []
    bare: list[float] = []
    async with server("concave", uri) as target, _echo_server() as echo_url:
        for number in range(rounds + 5):
            began = time.perf_counter()
            subscriber = Subscriber(target.url, "channel 1")
            await subscriber.open()
            between = time.perf_counter()
            await subscriber.close()
            again = time.perf_counter()
            async with connect(echo_url, compression=None, ping_interval=None) as socket:
                await socket.send("hello")
                await socket.recv()
                echoed = time.perf_counter()
            if number >= 5:  # the first ones warm both up
                ours.append((between - began) * 1000)
                bare.append((echoed - again) * 1000)
    return [
        ratio("connect to first result, p50", statistics.median(ours), statistics.median(bare), "bare echo", "ms", 3.0)
    ]


async def reconnecting(uri: str, quick: bool) -> list[Figure]:
    """The server is stopped and started again while its clients try to come back; a write meanwhile is not missed."""
    async with contextlib.AsyncExitStack() as stack:
        port = free_port()
        first = await stack.enter_async_context(server("concave", uri, port=port))
        async with subscribers(first.url, RECONNECTING, lambda number: f"back {number % 20}") as clients:
            async with httpx.AsyncClient(base_url=first.url, timeout=30) as http:
                for channel in range(20):
                    await _send(http, f"back {channel}", f"before the restart {channel}.")
            await stack.aclose()
            tries = [asyncio.create_task(_come_back(client, number % 20)) for number, client in enumerate(clients)]
            second = await stack.enter_async_context(server("concave", uri, port=port))
            began = time.perf_counter()
            missed = sum(not complete for complete in await asyncio.gather(*tries))
            seconds = time.perf_counter() - began
            assert second.url == first.url
    return [
        amount(f"{RECONNECTING} clients live again after a restart", seconds, "s", 3.0),
        amount("of them, without what was written before", float(missed), "", 0.0),
    ]


async def _come_back(client: Subscriber, channel: int) -> bool:
    """Connect again as clients do, after pauses; whether the first result holds what was written."""
    pause_s = 0.05
    while True:
        try:
            return f"before the restart {channel}." in await client.open()
        except (OSError, WebSocketException):  # refused, or closed in the middle: once more
            await asyncio.sleep(pause_s)
            pause_s = min(0.5, pause_s * 2)


async def _send(http: httpx.AsyncClient, channel: str, body: str) -> None:
    args = {"channel": channel, "author": "bench", "body": body}
    answer = (await http.post("/api/mutation", json={"path": "messages:send", "args": args})).json()
    if answer["status"] != "success":
        raise RuntimeError(answer["errorMessage"])


@contextlib.asynccontextmanager
async def _echo_server() -> AsyncIterator[str]:
    """A websocket that sends back what it gets, on the web server that concave uses."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(sys.executable, str(BENCH / "echo_server.py"), str(port))
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        yield f"ws://127.0.0.1:{port}/"
    finally:
        process.terminate()
        await process.wait()


async def fill(uri: str, target: Server) -> None:
    """Fifty messages in the channels that are read."""
    from pymongo import AsyncMongoClient

    runtime = SystemRuntime()
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri)
    database = client.get_default_database()
    table = await database["_tables"].find_one({"_id": "messages"})
    assert table is not None, f"{target.url} has not pushed the benchmark's schema"
    start = time.time() * 1000 - 1_000_000
    channels = [f"channel {number}" for number in range(500)] + [f"back {number}" for number in range(20)] + ["fan-out"]
    await database["messages"].insert_many(
        {
            "_id": new_id(table["number"], runtime),
            "_creationTime": start + i,
            "channel": channel,
            "author": "bench",
            "body": f"an earlier message, number {i}, {'x' * 80}",
        }
        for channel in channels
        for i in range(50 if channel in ("channel 1", "fan-out") else 5)
    )
    await client.close()


PARTS: dict[str, Callable[[str, bool], Awaitable[list[Figure]]]] = {
    "idle": idle,
    "fanout": fanout,
    "connecting": connecting,
    "reconnecting": reconnecting,
}


async def run(quick: bool, only: list[str], console: Console) -> list[Figure]:
    figures: list[Figure] = []
    async with mongod() as database:
        async with server("concave", database.uri) as first:
            await fill(database.uri, first)
        for name, part in PARTS.items():
            if not only or name in only:
                with console.status(f"measuring {name}"):
                    figures += await part(database.uri, quick)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements")
    parser.add_argument("--only", action="append", default=[], choices=PARTS, help="one part; may be repeated")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    console = Console(width=140)
    limit = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)
    psutil.Process().rlimit(psutil.RLIMIT_NOFILE, (limit[1], limit[1]))
    figures = asyncio.run(run(options.quick, options.only, console))
    return conclude("the wire", figures, console, options.json)


if __name__ == "__main__":
    sys.exit(main())
