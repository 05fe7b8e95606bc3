"""Heads of requests that do not end, and those that may take their time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from concave.http import http_protocol
from concave.http.http_protocol import BoundedHttpProtocol

PATIENCE_S = 5.0
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(answer, http=BoundedHttpProtocol, lifespan="off", log_level="error"))
        task = asyncio.create_task(server.serve(sockets=[bound]))
        while not server.started:
            await asyncio.sleep(0.01)
        yield bound.getsockname()[1]
        server.should_exit = True
        await task


@pytest.mark.parametrize("beginning", [b"", b"POST / HT", REQUEST[:30], REQUEST + REQUEST[:9]])
async def test_a_head_that_does_not_end(port: int, beginning: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(beginning)
    received = await asyncio.wait_for(reader.read(), PATIENCE_S)
    assert received.count(b"200 OK") == beginning.count(b"{}")
    writer.close()


async def test_a_head_without_measure(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n")
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 100 << 20 and not reader.at_eof():
            writer.write(b"X: " + b"y" * 10_000 + b"\r\n")
            sent += 10_005
            await writer.drain()
    assert sent < 50 << 20, "it was taken in to the end"
    writer.transport.abort()


async def test_a_body_may_take_its_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST[:-1])
    await asyncio.sleep(0.3)  # longer than a head may take: the point of the test
    writer.write(REQUEST[-1:])
    assert b"200 OK" in await asyncio.wait_for(reader.readline(), PATIENCE_S)
    writer.close()


async def test_requests_on_one_connection(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for _ in range(3):
        writer.write(REQUEST)
        assert b"200 OK" in await asyncio.wait_for(reader.readline(), PATIENCE_S)
        await asyncio.wait_for(reader.readuntil(b"ok"), PATIENCE_S)
    writer.close()
