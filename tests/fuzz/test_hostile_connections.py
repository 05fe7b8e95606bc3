"""Connections that are a nuisance: slow, half open, thousands of them, giant, or in another's name. The server goes on
serving everybody else, promptly, and lets go of them in the end."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from processes import ConcaveServer, concave_server, database_in
from sync_client import SyncClient

APP = Path(__file__).resolve().parents[1] / "interop" / "app"
PROMPT_S = 2.0
HELLO = {"type": "Connect", "connectionCount": 0, "lastCloseReason": None, "clientTs": 0}


@pytest.fixture(scope="module")
def running(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConcaveServer]:
    directory = tmp_path_factory.mktemp("hostile")
    options = ("--data-dir", directory / "data", "--db", database_in(mongo_uri, "hostile"))
    with concave_server("dev", APP, *options, directory=directory) as server:
        yield server
    for sign in ("Traceback", "ERROR"):
        assert sign not in server.log, server.log[-5000:]


@pytest.fixture
def process(running: ConcaveServer) -> psutil.Process:
    return psutil.Process(running.process.pid)


class Bystander(SyncClient):
    """Somebody with a live query, and mutations that it shows."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._channel = f"bystander {uuid.uuid4()}"
        self._sent = 0

    async def begin(self) -> None:
        await self.watch("messages:count", {"channel": self._channel})
        await self.is_served()

    async def is_served(self) -> None:
        self._sent += 1
        before = time.monotonic()
        await self.call("messages:send", {"channel": self._channel, "body": "still here"})
        await self.until(lambda: self.values.get(0) == self._sent)
        assert time.monotonic() - before < PROMPT_S


@pytest.fixture
async def bystander(running: ConcaveServer) -> AsyncIterator[Bystander]:
    """Who afterwards must have kept the connection, and is served promptly still."""
    async with Bystander(running.url) as client:
        await client.begin()
        yield client
        await client.is_served()
        assert client.closed is None


def address(running: ConcaveServer) -> tuple[str, int]:
    host, _, port = running.url.removeprefix("http://").partition(":")
    return host, int(port)


async def open_socket(running: ConcaveServer, **hello: Any) -> ClientConnection:
    url = running.url.replace("http", "ws", 1) + "/api/1.48.0/sync"
    socket = await connect(url, max_size=None, compression=None, proxy=None, ping_interval=None)
    await socket.send(json.dumps({**HELLO, "sessionId": str(uuid.uuid4()), **hello}))
    return socket


def handshake() -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        "GET /api/1.48.0/sync HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


async def until(condition: Any, what: str, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "beginning",
    [b"", b"POST /api/query HTT", b"POST /api/query HTTP/1.1\r\nContent-Length: 100\r\n", handshake()[:-2]],
    ids=["nothing", "half a line", "half a head", "half a handshake"],
)
async def test_slow_heads(running: ConcaveServer, bystander: Bystander, beginning: bytes) -> None:
    """Hundreds that never come to the point stand in nobody's way."""
    connections = [await asyncio.open_connection(*address(running)) for _ in range(300)]
    for _, writer in connections:
        writer.write(beginning)
    for at in range(3):  # a byte now and then, as a slow-loris sends it
        await asyncio.sleep(0.05)
        for _, writer in connections:
            writer.write(b"X: y\r\n"[at : at + 1])
    await bystander.is_served()
    for _, writer in connections:
        writer.transport.abort()


async def test_half_a_body(running: ConcaveServer, bystander: Bystander) -> None:
    """Requests that announce more than they send are dropped with their connection, and answered by nobody."""
    head = b"POST /api/query HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    connections = [await asyncio.open_connection(*address(running)) for _ in range(200)]
    for _, writer in connections:
        writer.write(head)
    await bystander.is_served()
    for reader, writer in connections:
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), PROMPT_S) == b""
        writer.close()


async def test_half_open_sockets(running: ConcaveServer, bystander: Bystander, process: psutil.Process) -> None:
    """Clients that stop reading and never say so: others are served, and their connections end with their sockets."""
    before = process.num_fds()
    sockets = []
    for number in range(100):
        socket = await open_socket(running)
        add = {"type": "Add", "queryId": 0, "udfPath": "messages:list", "args": [{"channel": "half open"}]}
        await socket.send(
            json.dumps({"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add]})
        )
        if number % 2:
            socket.transport.pause_reading()
        sockets.append(socket)
    for body in ("x" * 200_000, "y" * 200_000, "z" * 200_000):
        await bystander.call("messages:send", {"channel": "half open", "body": body})
    for socket in sockets:
        socket.transport.abort()
    await until(lambda: process.num_fds() <= before + 5, "their sockets were not closed")


async def test_thousands_of_connects_and_drops(
    running: ConcaveServer, bystander: Bystander, process: psutil.Process
) -> None:
    async def come_and_go(number: int) -> None:
        reader, writer = await asyncio.open_connection(*address(running))
        with contextlib.suppress(ConnectionError):
            match number % 4:
                case 0:
                    writer.write(handshake())
                    await reader.readuntil(b"\r\n\r\n")
                case 1:
                    writer.write(handshake())  # gone before the answer
                case 2:
                    writer.write(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
                    await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    async def wave(count: int) -> None:
        for start in range(0, count, 100):
            await asyncio.gather(*(come_and_go(start + number) for number in range(100)))

    await wave(500)
    descriptors, size = process.num_fds(), process.memory_info().rss
    await wave(2000)
    await bystander.is_served()
    await until(lambda: process.num_fds() <= descriptors + 5, "their sockets were not closed")
    assert process.memory_info().rss - size < 32 << 20


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b'{"type":"Event","eventType":"x","event":"' + b"x" * (70 << 20) + b'"}', 1009),
        (b'{"type":"Event","event":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}", "FatalError"),
        (b'{"type":"Event","event":' + b'{"a":' * 500_000, "FatalError"),
        (b'{"type":"Event","eventType":"\xff\xfe"}', "FatalError"),
        (b'{"type":"Event","eventType":"\xed\xa0\x80"}', "FatalError"),
    ],
    ids=["giant", "deep arrays", "deep objects", "no UTF-8", "a surrogate"],
)
async def test_monsters(running: ConcaveServer, bystander: Bystander, message: bytes, reason: int | str) -> None:
    socket = await open_socket(running)
    with contextlib.suppress(ConnectionClosed):
        await socket.send(message, text=True)
        while True:
            await socket.recv()
    assert socket.close_code is not None
    if isinstance(reason, int):
        assert socket.close_code in (reason, 1006)
    else:
        assert socket.close_reason == reason


async def test_requests_of_another_session(running: ConcaveServer, bystander: Bystander) -> None:
    """Request ids are each session's own: who replays another's gets no results of theirs, and undoes nothing."""
    name = f"counter {uuid.uuid4()}"
    first = await bystander.call("messages:increment", {"name": name}, number=70)
    async with SyncClient(running.url, connectionCount=1) as other:
        assert await other.call("messages:increment", {"name": name}, number=70) == first + 1
        await other.send("messages:increment", {"name": name}, number=70)
        await other.until(lambda: 70 in other.responses)
    async with SyncClient(running.url, session_id=bystander.session_id, connectionCount=1) as same:
        assert await same.call("messages:increment", {"name": name}, number=70) == first, (
            "a resend, for those who know the id"
        )
    async with SyncClient(running.url) as other:
        assert await other.call("messages:increment", {"name": name}, number=0) == first + 2


async def test_slips_end_one_connection_only(running: ConcaveServer, bystander: Bystander) -> None:
    add = {"type": "Add", "queryId": 0, "udfPath": "messages:list", "args": [{"channel": "x"}]}
    change = {"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1}
    for message, code in (
        ({**change, "modifications": [add, add]}, 1011),
        ({**change, "modifications": [{"type": "Remove", "queryId": 9}]}, 1011),
        ({**change, "baseVersion": 5, "newVersion": 6, "modifications": []}, 1011),
        ({**change, "newVersion": 0, "modifications": []}, 1011),
        ({**change, "newVersion": -1, "modifications": []}, 1000),
        ({"type": "Mutation", "requestId": -1, "udfPath": "messages:nothing", "args": [{}]}, 1000),
        ({"type": "Mutation", "requestId": 2**32, "udfPath": "messages:nothing", "args": [{}]}, 1000),
        ({"type": "Mutation", "requestId": 1.5, "udfPath": "messages:nothing", "args": [{}]}, 1000),
        ({"type": "Authenticate", "baseVersion": 3, "tokenType": "None"}, 1011),
    ):
        socket = await open_socket(running)
        await socket.send(json.dumps(message))
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.wait_for(socket.recv(), PROMPT_S)
        assert socket.close_code == code, message
