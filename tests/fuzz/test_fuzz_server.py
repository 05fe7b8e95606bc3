"""A running server under hostile sockets and requests: it goes on, logs no error, keeps its memory, and somebody who
was connected all the time never notices."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from hostile import Versions, arguments, damage, damaged, frame, messages, mostly, paths, text, values
from processes import ConcaveServer, concave_server, database_in
from sync_client import SyncClient

APP = Path(__file__).resolve().parents[1] / "interop" / "app"
GROWTH_BYTES_MAX = 48 << 20
"""How much larger a server may be after a hundred rounds than after the first ones. A leak of all that it was sent
would be far beyond it."""
ANSWER_TIMEOUT_S = 20.0


class Bystander:
    """Somebody with a live query; `is_well` is whether a mutation still shows in it."""

    def __init__(self, running: ConcaveServer) -> None:
        self._running = running
        self._runner = asyncio.Runner()
        self._client = SyncClient(running.url)
        self._channel = f"bystander {uuid.uuid4()}"
        self._sent = 0
        self._process = psutil.Process(running.process.pid)
        self._sizes: list[int] = []
        self.run(self._client.__aenter__())
        self.run(self._client.watch("messages:count", {"channel": self._channel}))

    def run(self, coroutine: Any) -> Any:
        return self._runner.run(coroutine)

    def check(self) -> None:
        """All is well with this client, the log, and the server's size."""

        async def look() -> None:
            await self._client.call("messages:send", {"channel": self._channel, "body": "still here"})
            self._sent += 1
            await self._client.until(lambda: self._client.values.get(0) == self._sent)
            assert self._client.closed is None

        self.run(look())
        assert_quiet(self._running.log)
        self._sizes.append(self._process.memory_info().rss)
        assert self._sizes[-1] - max(self._sizes[:3]) < GROWTH_BYTES_MAX, self._sizes

    def close(self) -> None:
        self.run(self._client.__aexit__(None, None, None))
        self._runner.close()


def assert_quiet(log: str) -> None:
    for sign in ("Traceback", "ERROR", "never retrieved", "never awaited"):
        assert sign not in log, log[-5000:]


@pytest.fixture(scope="module")
def running(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConcaveServer]:
    directory = tmp_path_factory.mktemp("fuzz")
    options = ("--data-dir", directory / "data", "--db", database_in(mongo_uri, "fuzz"))
    with concave_server("dev", APP, *options, directory=directory) as server:
        yield server
    assert_quiet(server.log)


@pytest.fixture
def bystander(running: ConcaveServer) -> Iterator[Bystander]:
    client = Bystander(running)
    yield client
    client.close()


# -- sockets ----------------------------------------------------------------------------------------------------------

scripts = st.lists(st.tuples(messages, damage, st.booleans()), min_size=1, max_size=8)


async def _converse(url: str, script: list[tuple[dict[str, Any], int | None, bool]], breaks: bool) -> None:
    """Says it all, and then leaves: in good order, or as when a cable is cut."""
    versions = Versions()
    with contextlib.suppress(ConnectionClosed, InvalidHandshake):
        async with connect(url.replace("http", "ws", 1) + "/api/1.48.0/sync", max_size=None, proxy=None) as socket:
            hello = {"type": "Connect", "sessionId": "hostile", "connectionCount": 1, "lastCloseReason": None}
            await socket.send(json.dumps({**hello, "clientTs": 0}))
            for message, seed, is_text in script:
                data = frame(message, versions)
                await socket.send(data if seed is None else damaged(data, seed), text=is_text or seed is None)
                if message.get("type") == "ModifyQuerySet":
                    versions.query_set += 1
            # The server has taken in everything before this, or has ended the connection.
            await (await socket.ping())
            if breaks:
                socket.transport.abort()


def test_sockets(
    running: ConcaveServer,
    bystander: Bystander,
    keep_trying: Callable[[Callable[[], None]], int],
    round_settings: settings,
) -> None:
    @round_settings
    @given(scripts, st.booleans())
    def play_round(script: list[tuple[dict[str, Any], int | None, bool]], breaks: bool) -> None:
        bystander.run(asyncio.wait_for(_converse(running.url, script, breaks), ANSWER_TIMEOUT_S))

    def play() -> None:
        play_round()
        bystander.check()

    assert keep_trying(play) > 0


# -- requests ---------------------------------------------------------------------------------------------------------

ROUTES = (
    *(f"/api/{name}" for name in ("query", "mutation", "action", "query_ts", "query_at_ts", "query_batch", "function")),
    *("/api/run/messages/list", "/api/run/messages/send", "/api/run/x", "/api/nothing", "/", "/version", "/health"),
    *("/api/sync", "/api/1.48.0/sync", "/api/query?path=messages:list&args={", "//api/query", "/%00", "/..%2f..%2fetc"),
)
HEADERS = (
    *("Content-Type: application/json", "Content-Type: text/plain", "Content-Type:", "Content-Encoding: gzip"),
    *(
        "Authorization: Bearer x.y.z",
        "Authorization: Convex wrong|key",
        "Authorization: Basic YTpi",
        "Authorization: B",
    ),
    *("Convex-Client: npm-1.48.0", "Convex-Client: nodash", "Convex-Client: npm-x.y", "Convex-Client: python-0.1.0"),
    *("Origin: http://evil.example", "Origin: \x7f", "Accept-Encoding: gzip", "Convex-Request-Id: a b\tc"),
    *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Transfer-Encoding: chunked"),
    *("Expect: 100-continue", "Content-Length: -1", "Content-Length: 99999999999", "X: " + "y" * 3000),
    *(
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Key: x",
        "Host: \u00fc",
        "X-Forwarded-Proto: gopher",
    ),
)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    path = draw(paths)
    body: dict[str, Any] = {"path": path, "args": draw(arguments(path))}
    if draw(st.booleans()) and isinstance(body["args"], list) and body["args"]:
        body["args"] = body["args"][0]
    if draw(st.integers(0, 3)) == 0:
        body[draw(st.sampled_from(["format", "ts", "queries", "componentPath", "path"]))] = draw(values)
    if draw(st.integers(0, 5)) == 0:
        body = {"queries": [body, draw(values)]}
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """The bytes of one request; the connection is to be closed after it."""
    method = draw(
        mostly(st.sampled_from(["GET", "POST", "OPTIONS", "PUT", "HEAD"]), st.sampled_from(["get", "BREW", ""]))
    )
    route = draw(mostly(st.sampled_from(ROUTES), text.map(lambda name: f"/api/{name}")))
    body = draw(bodies() | st.binary(max_size=40))
    if (seed := draw(damage)) is not None:
        body = damaged(body, seed)
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=4))
    if draw(st.integers(0, 9)):
        headers.append(f"Content-Length: {len(body)}")
    if draw(st.integers(0, 2)):
        headers.append("Content-Type: application/json")
    head = "\r\n".join([f"{method} {route} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers])
    data = head.encode("utf-8", "surrogatepass") + b"\r\n\r\n" + body
    return damaged(data, seed) if (seed := draw(damage)) is not None and draw(st.booleans()) else data


async def _ask(host: str, port: int, data: bytes) -> bytes:
    """What the server answers, until it closes the connection or has nothing to say to what is no whole request."""
    reader, writer = await asyncio.open_connection(host, port)
    answer = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            answer = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


def test_requests(
    running: ConcaveServer,
    bystander: Bystander,
    keep_trying: Callable[[Callable[[], None]], int],
    round_settings: settings,
) -> None:
    host, _, port = running.url.removeprefix("http://").partition(":")

    @round_settings
    @given(requests())
    def play_round(data: bytes) -> None:
        answer = bystander.run(_ask(host, int(port), data))
        if not answer:
            return
        line = answer.split(b"\r\n", 1)[0].split(b" ")
        assert line[0] == b"HTTP/1.1", answer[:200]
        status = int(line[1])
        assert status < 500, answer
        head, _, body = answer.partition(b"\r\n\r\n")
        if status >= 400 and b"application/json" in head.lower() and body.startswith(b"{"):
            assert set(json.loads(body)) == {"code", "message"}, answer

    def play() -> None:
        play_round()
        bystander.check()

    assert keep_trying(play) > 0
