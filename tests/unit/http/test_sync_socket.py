"""The websocket endpoint under a real uvicorn: with its own protocol class, and with uvicorn's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest
import uvicorn
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from concave.http import sync_socket
from concave.http.sync_socket import SyncSocket
from concave.http.websocket_protocol import FramesProtocol
from concave.reactive.content import Content
from concave.sync.limits import DEFAULT_SESSION_LIMITS, SessionLimits

Serve = Callable[..., Any]


class Server:
    def __init__(self, port: int, endpoint: SyncSocket) -> None:
        self.port = port
        self.endpoint = endpoint

    def connect(self, path: str = "/api/1.48.0/sync", **options: Any) -> connect:
        return connect(f"ws://127.0.0.1:{self.port}{path}", compression=None, max_size=None, **options)


@pytest.fixture(params=["frames", "websockets-sansio"])
def serve(request: pytest.FixtureRequest, node: Any) -> Serve:
    @asynccontextmanager
    async def served(limits: SessionLimits = DEFAULT_SESSION_LIMITS) -> AsyncIterator[Server]:
        endpoint = SyncSocket(node, node.runtime, limits=limits)
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            config = uvicorn.Config(
                endpoint,
                ws=FramesProtocol if request.param == "frames" else request.param,
                lifespan="off",
                log_level="error",
                ws_ping_interval=None,
                ws_per_message_deflate=False,
            )
            server = uvicorn.Server(config)
            task = asyncio.create_task(server.serve(sockets=[bound]))
            while not server.started:
                await asyncio.sleep(0.01)
            try:
                yield Server(bound.getsockname()[1], endpoint)
            finally:
                endpoint.close()
                server.should_exit = True
                await task

    return served


async def say(ws: ClientConnection, type: str, **fields: Any) -> None:
    await ws.send(orjson.dumps({"type": type, **fields}).decode())


async def hear(ws: ClientConnection) -> Any:
    async with asyncio.timeout(5):
        return orjson.loads(await ws.recv())


async def begin(ws: ClientConnection, path: str = "all", args: Any = None) -> Any:
    await say(ws, "Connect", sessionId="s", connectionCount=0, lastCloseReason=None, clientTs=0)
    add = {"type": "Add", "queryId": 0, "udfPath": path, "args": [args or {}]}
    await say(ws, "ModifyQuerySet", baseVersion=0, newVersion=1, modifications=[add])
    return await hear(ws)


@pytest.mark.parametrize("path", ["/api/sync", "/api/1.48.0/sync", "//api/1.48.0/sync"])
async def test_a_conversation(path: str, serve: Serve) -> None:
    async with serve() as server, server.connect(path) as ws:
        assert ws.subprotocol is None
        first = await begin(ws)
        assert first["modifications"][0]["value"] == {}
        await say(ws, "Mutation", requestId=0, udfPath="add", args=[{"key": "ä😀", "by": 2}])
        response, transition = await hear(ws), await hear(ws)
        assert response["type"] == "MutationResponse"
        assert transition["modifications"][0]["value"] == {"ä😀": 2}
        assert transition["startVersion"] == first["endVersion"]


async def test_the_header_names_the_client_and_the_path_does_otherwise(serve: Serve) -> None:
    async with serve() as server:
        async with server.connect("/api/sync", additional_headers={"Convex-Client": "python-0.8.0"}) as ws:
            await begin(ws)
        for path, header in [("/api/latest/sync", None), ("/api/sync", "python"), ("/api/1.0.0/sync", "npm-x")]:
            headers = {"Convex-Client": header} if header else {}
            with pytest.raises(InvalidStatus) as refused:
                async with server.connect(path, additional_headers=headers):
                    pass
            assert refused.value.response.status_code == 400
            assert orjson.loads(refused.value.response.body)["code"] == "InvalidClientVersion"


async def test_old_clients_are_warned_or_refused(serve: Serve) -> None:
    async with serve() as server:
        async with server.connect("/api/sync", additional_headers={"Convex-Client": "python-0.1.9"}) as ws:
            assert ws.response.headers["x-convex-deprecation-state"] == "UpgradeRequired"
        with pytest.raises(InvalidStatus) as refused:
            async with server.connect("/api/0.19.1/sync"):
                pass
        assert refused.value.response.status_code == 400
        assert refused.value.response.headers["x-convex-deprecation-state"] == "Unsupported"
        assert orjson.loads(refused.value.response.body)["code"] == "ClientVersionUnsupported"


async def closing(ws: ClientConnection) -> tuple[int, str]:
    try:
        while True:
            await hear(ws)
    except ConnectionClosed:
        assert ws.close_code is not None
        return ws.close_code, ws.close_reason or ""


async def test_close_frames(serve: Serve, node: Any) -> None:
    async with serve() as server:
        async with server.connect() as ws:
            await ws.send(b"binary")
            assert (await closing(ws))[0] == 1011
        async with server.connect() as ws:
            await ws.send("nonsense")
            assert (await hear(ws))["type"] == "FatalError"
            assert await closing(ws) == (1000, "FatalError")
        async with server.connect() as ws:
            await say(ws, "Connect", sessionId="s", connectionCount=0)
            await say(ws, "Authenticate", baseVersion=0, tokenType="User", value="x")
            assert (await hear(ws))["type"] == "AuthError"
            await closing(ws)
        async with server.connect() as ws:
            await begin(ws)
            server.endpoint.close()
            assert (await closing(ws))[0] == 1001
        await until(lambda: server.endpoint.connections == 0)
        assert all(not live.subscriptions for live in node.cache.live_queries())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_connection_that_breaks_leaves_nothing(serve: Serve, node: Any) -> None:
    async with serve() as server:
        ws = await server.connect()
        await begin(ws)
        assert server.endpoint.connections == 1
        ws.transport.abort()
        await until(lambda: server.endpoint.connections == 0)
        assert all(not live.subscriptions for live in node.cache.live_queries())


async def test_pings_come_while_nothing_else_does(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_socket, "TICK_S", 0.02)
    async with serve(replace(DEFAULT_SESSION_LIMITS, ping_interval_s=0.1)) as server, server.connect() as ws:
        for _ in range(3):
            assert await hear(ws) == {"type": "Ping"}, "even before Connect"


async def test_a_client_that_is_gone_is_closed_and_one_that_pongs_is_not(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if "websockets-sansio" in request.node.name:
        pytest.skip("ASGI does not show pongs; the server's own keep-alive is used there")
    monkeypatch.setattr(sync_socket, "TICK_S", 0.02)
    monkeypatch.setattr(sync_socket, "SILENCE_BEFORE_PING_S", 0.05)
    limits = replace(DEFAULT_SESSION_LIMITS, client_silence_s_max=0.3)
    async with serve(limits) as server, server.connect() as silent, server.connect() as answering:
        task = asyncio.create_task(closing(answering))
        monkeypatch.setattr(silent.protocol, "recv_frame", _deaf_to_pings(silent.protocol.recv_frame))
        assert await closing(silent) == (1000, "ClientDisconnected")
        assert not task.done()
        task.cancel()


def _deaf_to_pings(recv_frame: Callable[[Any], None]) -> Callable[[Any], None]:
    def receive(frame: Any) -> None:
        if frame.opcode != 0x9:
            recv_frame(frame)

    return receive


def large(node: Any, size: int) -> None:
    """Have `get` return a text of so many characters of three bytes, another one at each time."""
    evaluate = node.evaluate

    def returning_much(path: str, args: Any, ts: Any, journal: Any) -> Any:
        content, read_set, journal = evaluate(path, args, ts, journal)
        if path == "get":
            body = orjson.dumps("€" * size + str(ts))
            content = Content(False, body, None, b"[]", body)
        return content, read_set, journal

    node.evaluate = returning_much


@pytest.mark.parametrize("client", ["npm-1.48.0", "npm-1.27.9", "python-0.8.0"])
async def test_large_transitions_are_cut_for_those_who_can_join_them(client: str, serve: Serve, node: Any) -> None:
    large(node, 4_000_000)
    async with serve() as server:
        headers = {"Convex-Client": client}
        async with server.connect("/api/sync", additional_headers=headers) as ws:
            message = await begin(ws, "get", {"key": "a"})
            if client == "npm-1.48.0":
                parts = [message]
                while len(parts) < parts[0]["totalParts"]:
                    parts.append(await hear(ws))
                assert len(parts) == 3
                assert [part["partNumber"] for part in parts] == [0, 1, 2]
                message = orjson.loads("".join(part["chunk"] for part in parts))
            assert message["type"] == "Transition"
            assert message["modifications"][0]["value"].startswith("€" * 4_000_000)
            await say(ws, "Mutation", requestId=0, udfPath="add", args=[{"key": "b", "by": 2}])
            assert (await hear(ws))["type"] == "MutationResponse"
            assert (await hear(ws))["type"] == "Transition"


async def test_frames_of_large_messages_are_bounded(serve: Serve, node: Any, request: pytest.FixtureRequest) -> None:
    if "websockets-sansio" in request.node.name:
        pytest.skip("ASGI has no fragments")
    large(node, 7_000_000)
    async with serve() as server:
        sizes = []
        async with server.connect("/api/sync", additional_headers={"Convex-Client": "python-0.8.0"}) as ws:
            receive = ws.protocol.recv_frame

            def record(frame: Any) -> None:
                sizes.append(len(frame.data))
                receive(frame)

            ws.protocol.recv_frame = record
            assert (await begin(ws, "get", {"key": "a"}))["type"] == "Transition"
        assert max(sizes) <= 8 * 1024 * 1024
        assert sum(sizes) > 20 * 1024 * 1024


async def test_a_client_that_does_not_read_is_skipped_and_catches_up(serve: Serve, node: Any) -> None:
    large(node, 300_000)
    rounds = 60
    async with serve() as server, server.connect(max_queue=1) as slow, server.connect() as quick:
        await begin(slow, "all")
        add = {"type": "Add", "queryId": 1, "udfPath": "get", "args": [{"key": "a"}]}
        await say(slow, "ModifyQuerySet", baseVersion=1, newVersion=2, modifications=[add])
        await begin(quick, "all")
        for value in range(1, rounds + 1):
            node.write("a", value)
            assert (await hear(quick))["modifications"][0]["value"] == {"a": value}
        seen: list[Any] = []
        while not seen or seen[-1] != {"a": rounds}:
            seen += [m["value"] for m in (await hear(slow))["modifications"] if m["queryId"] == 0]
    assert len(seen) < rounds / 2


async def test_messages_in_one_packet_are_heard_in_order(serve: Serve, node: Any) -> None:
    async with serve() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        add = {"type": "Add", "queryId": 0, "udfPath": "all", "args": [{}]}
        said = [{"type": "Connect", "sessionId": "s", "connectionCount": 0}]
        said += [
            {"type": "ModifyQuerySet", "baseVersion": n, "newVersion": n + 1, "modifications": [] if n else [add]}
            for n in range(20)
        ]
        writer.write(
            b"GET /api/sync HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        writer.write(b"".join(_frame(orjson.dumps(message)) for message in said))
        received = b""
        async with asyncio.timeout(5):
            while b'"querySet":20' not in received:
                chunk = await reader.read(4096)
                assert chunk, received
                received += chunk
        writer.close()


def _frame(payload: bytes) -> bytes:
    assert len(payload) < 65536
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return b"\x81" + size + b"\0\0\0\0" + payload
