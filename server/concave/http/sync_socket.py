"""The websocket endpoint: owns sockets, and knows nothing of what is said on them (spec/sync-protocol.md section 1).

A raw ASGI application. There is one task per connection, which reads, and with `websocket_protocol` sleeps; signs of
life come from one ticker that all connections share. So an idle subscriber costs a few kilobytes and no timer.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import deque
from typing import Final, NamedTuple

import orjson
from starlette.types import Receive, Scope, Send

from concave.http.client_version import ClientVersion, parse_client_version
from concave.http.websocket_protocol import EXTENSION, FramePort
from concave.sync.limits import DEFAULT_SESSION_LIMITS, SessionLimits
from concave.sync.messages import PING, transition_chunks
from concave.sync.session import CallerVerifier, NobodyVerifies, Session, SyncBackend
from concave.sync.session_state import GOING_AWAY, INTERNAL_ERROR, NORMAL_CLOSURE, TRY_AGAIN_LATER
from concave.values.errors import INTERNAL_SERVER_ERROR, ClientError
from concave.values.runtime import Runtime

logger = logging.getLogger(__name__)

# A trailing slash in the address that a client is given makes its path begin with two.
_PATH: Final = re.compile(r"^//?api/(?:(?P<version>[^/]+)/)?sync$")

_CHUNKS_SINCE: Final = ("npm", (1, 28, 0))
_UNSUPPORTED: Final = {"npm": (0, 19, 1), "python": (0, 0, 2), "rust": (0, 0, 1)}
"""The last versions that cannot be served; later ones of other names are always let in."""
_OUTDATED: Final = {"python": (0, 2, 0)}

TICK_S: Final = 5.0
STEP_CONNECTIONS: Final = 200
"""How many connections are told something in one step of the event loop."""
SILENCE_BEFORE_PING_S: Final = 20.0
"""A client that has said nothing for so long is sent websocket pings, which its side answers by itself."""
OUTBOX_MESSAGES_MAX: Final = 20_000
"""Messages that may wait for a client that does not read: Transitions are bounded, responses are not. Beyond it the
connection ends."""


class SyncSocket:
    """The ASGI application for `/api/sync` and `/api/{version}/sync`."""

    def __init__(
        self,
        backend: SyncBackend,
        runtime: Runtime,
        *,
        verifier: CallerVerifier | None = None,
        limits: SessionLimits = DEFAULT_SESSION_LIMITS,
    ) -> None:
        """Without a verifier no token and no key is accepted."""
        self._backend = backend
        self._verifier: CallerVerifier = NobodyVerifies() if verifier is None else verifier
        self._runtime = runtime
        self._limits = limits
        self._connections: set[Connection] = set()
        self._ticker: asyncio.Task[None] | None = None
        self._is_draining = False
        self._nobody_left = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._connections)

    async def drain(self) -> None:
        """Let no more clients in, and end every connection as soon as nothing is under way on it; return when none is
        left. Clients reconnect, to another node or to this one when it is back."""
        self._is_draining = True
        for number, connection in enumerate(list(self._connections), 1):
            connection.session.drain()
            if number % STEP_CONNECTIONS == 0:
                await self._runtime.sleep(0)
        while self._connections:
            self._nobody_left.clear()
            await self._nobody_left.wait()

    def close(self) -> None:
        """End all connections, whatever is under way."""
        for connection in list(self._connections):
            connection.session.close(GOING_AWAY, "ServerRestart")
        if self._ticker is not None:
            self._ticker.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        match = _PATH.match(scope["path"])
        if match is None:
            await _refuse(scope, send, 404, "NotFound", f"There is no websocket at {scope['path']}.")
            return
        try:
            client = _client(scope, match["version"])
        except ClientError as error:
            await _refuse(scope, send, error.http_status, error.code, error.message)
            return
        if self._is_draining:
            await _refuse(scope, send, 503, "ServerRestart", "This server is shutting down: connect again.")
            return
        deprecation = _deprecation(client)
        if deprecation and deprecation[0] == b"Unsupported":
            await _refuse(
                scope, send, 400, "ClientVersionUnsupported", deprecation[1].decode(), _deprecation_headers(deprecation)
            )
            return
        await send({"type": "websocket.accept", "headers": _deprecation_headers(deprecation)})
        await self._serve(scope, receive, send, client)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, client: ClientVersion | None) -> None:
        if self._ticker is None or self._ticker.done():
            self._ticker = self._runtime.spawn(self._tick(), name="sync sockets: signs of life")
        frames: FramePort | None = scope.get("extensions", {}).get(EXTENSION)
        connection = Connection(self._backend, self._verifier, self._runtime, send, frames, client, self._limits)
        self._connections.add(connection)
        try:
            while True:
                # Messages that came with the handshake are waiting in the server's queue; those after them need not
                # take that way, and then this task sleeps until the connection ends.
                if frames is not None and frames.attach(connection.receive, connection.receive_binary):
                    frames = None
                event = await receive()
                if event["type"] != "websocket.receive":
                    return
                text = event.get("text")
                if text is None:
                    connection.receive_binary()
                else:
                    connection.receive(text)
        finally:
            self._connections.discard(connection)
            connection.lost()
            if not self._connections:
                self._nobody_left.set()

    async def _tick(self) -> None:
        """Let no client wait for a sign of life longer than it is willing to, nor wait for one that is gone."""
        while True:
            await self._runtime.sleep(TICK_S)
            now_s = self._runtime.monotonic()
            for number, connection in enumerate(list(self._connections)):
                connection.tick(now_s)
                if number % 1000 == 999:
                    await self._runtime.sleep(0)


class _Outgoing(NamedTuple):
    """One message that waits. The session is told when a Transition has left."""

    data: bytes
    is_transition: bool


class Connection:
    """The `Transport` of one session, and its way to the session.

    With frames, a message is written in the step that sends it as long as the client keeps up; while it does not, and
    always without frames, messages queue up and a task writes them.
    """

    __slots__ = (
        "_asgi_send",
        "_chunk_bytes",
        "_closing",
        "_frames",
        "_heard_s",
        "_is_over",
        "_limits",
        "_outbox",
        "_runtime",
        "_sent_s",
        "session",
    )

    def __init__(
        self,
        backend: SyncBackend,
        verifier: CallerVerifier,
        runtime: Runtime,
        send: Send,
        frames: FramePort | None,
        client: ClientVersion | None,
        limits: SessionLimits,
    ) -> None:
        self._asgi_send = send
        self._frames = frames
        self._runtime = runtime
        self._limits = limits
        self._chunk_bytes = limits.chunk_bytes if _knows_chunks(client) else None
        self._sent_s = self._heard_s = runtime.monotonic()
        self._outbox: deque[_Outgoing] | None = None
        """What waits to be written; None while no task is writing."""
        self._closing: tuple[int, str] | None = None
        """Code and reason to close with when everything has been written."""
        self._is_over = False
        """Close was asked for, or the socket is gone: nothing more is taken."""
        self.session = Session(backend, runtime, self, limits, verifier)

    # -- from the client ----------------------------------------------------------------------------------------------

    def receive(self, text: str | bytes) -> None:
        try:
            self.session.receive(text)
        except Exception:
            logger.exception("a message could not be dealt with: %.200s", text)
            self.session.close(INTERNAL_ERROR, INTERNAL_SERVER_ERROR)

    def receive_binary(self) -> None:
        self.session.close(INTERNAL_ERROR, f"{INTERNAL_SERVER_ERROR}: messages are text frames, not binary ones")

    def lost(self) -> None:
        """The socket is gone. May be called twice."""
        self._is_over = True
        if self._outbox is not None:
            self._outbox.clear()
        self.session.disconnected()

    # -- from the session ---------------------------------------------------------------------------------------------

    def send(self, data: bytes, is_transition: bool) -> bool:
        if self._is_over:
            return False
        self._sent_s = self._runtime.monotonic()
        if not is_transition or self._chunk_bytes is None or len(data) <= self._chunk_bytes:
            return self._write(data, is_transition)
        # Nothing can come in between: all are written, or queued, in this very step.
        *chunks, last = transition_chunks(data, self._chunk_bytes)
        for chunk in chunks:
            self._write(chunk, False)
        return self._write(last, True)

    def close(self, code: int, reason: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._closing = (code, reason)
        if self._outbox is None:
            self._start_writing(deque())

    # -- signs of life ------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """To be called every `TICK_S`."""
        # To a client that does not read what it was sent, one more message says nothing.
        if now_s - self._sent_s > self._limits.ping_interval_s - 2 * TICK_S and self._outbox is None:
            self.send(PING, False)
        if self._frames is None:
            return
        if self._frames.was_heard():
            self._heard_s = now_s
        elif now_s - self._heard_s > self._limits.client_silence_s_max:
            self.session.close(NORMAL_CLOSURE, "ClientDisconnected")
        elif now_s - self._heard_s > SILENCE_BEFORE_PING_S:
            self._frames.ping()

    # -- writing ------------------------------------------------------------------------------------------------------

    def _write(self, data: bytes, is_transition: bool) -> bool:
        outbox = self._outbox
        if outbox is None:
            if self._frames is not None and self._frames.write_text(data):
                return True
            self._start_writing(deque((_Outgoing(data, is_transition),)))
        elif len(outbox) < OUTBOX_MESSAGES_MAX:
            outbox.append(_Outgoing(data, is_transition))
        else:
            logger.warning("a client does not read its messages; its connection ends")
            self.lost()
            self._closing = (TRY_AGAIN_LATER, "ClientTooSlow")
        return False

    def _start_writing(self, outbox: deque[_Outgoing]) -> None:
        self._outbox = outbox
        self._runtime.spawn(self._write_outbox(outbox), name="sync socket: writer")

    async def _write_outbox(self, outbox: deque[_Outgoing]) -> None:
        try:
            while outbox:
                data, is_transition = outbox.popleft()
                if self._frames is None:
                    await self._asgi_send({"type": "websocket.send", "text": data.decode()})
                else:
                    while not self._frames.write_text(data):
                        await self._frames.wait_writable()
                if is_transition:
                    self.session.transition_sent()
            if self._closing is not None:
                code, reason = self._closing
                await self._asgi_send({"type": "websocket.close", "code": code, "reason": reason})
        except Exception:
            # Whatever the server raises when the client has gone; the reading task is told as well.
            self.lost()
        finally:
            self._outbox = None


async def _refuse(
    scope: Scope,
    send: Send,
    status: int,
    code: str,
    message: str,
    headers: list[tuple[bytes, bytes]] | None = None,
) -> None:
    """Answer the upgrade request with an HTTP error; where the server cannot, with its plain refusal."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    body = orjson.dumps({"code": code, "message": message})
    await send(
        {
            "type": "websocket.http.response.start",
            "status": status,
            "headers": [(b"content-type", b"application/json"), *(headers or [])],
        }
    )
    await send({"type": "websocket.http.response.body", "body": body})


def _client(scope: Scope, path_version: str | None) -> ClientVersion | None:
    """Who calls: the header's word, else the version in the path, which only npm clients put there.

    Raises `ClientError` for what is no version.
    """
    for name, value in scope["headers"]:
        if name == b"convex-client":
            text = value
            break
    else:
        if path_version is None:
            return None
        text = b"npm-" + path_version.encode()
    client = parse_client_version(text)
    if client is None:
        raise ClientError("InvalidClientVersion", f"{text.decode('latin-1')!r} names no version of a client.")
    return client


def _knows_chunks(client: ClientVersion | None) -> bool:
    name, since = _CHUNKS_SINCE
    return client is not None and client.name == name and client.number >= since


def _deprecation(client: ClientVersion | None) -> tuple[bytes, bytes] | None:
    """State and message for a client that is too old, None for all others."""
    if client is None:
        return None
    if client.number <= _UNSUPPORTED.get(client.name, (-1, 0, 0)):
        state = b"Unsupported"
    elif client.number <= _OUTDATED.get(client.name, (-1, 0, 0)):
        state = b"UpgradeRequired"
    else:
        return None
    version = ".".join(map(str, client.number))
    return state, f"The Convex client {client.name} {version} is too old: upgrade it.".encode()


def _deprecation_headers(deprecation: tuple[bytes, bytes] | None) -> list[tuple[bytes, bytes]]:
    if deprecation is None:
        return []
    return [(b"x-convex-deprecation-state", deprecation[0]), (b"x-convex-deprecation-message", deprecation[1])]
