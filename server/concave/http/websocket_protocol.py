"""uvicorn's websocket protocol with a shorter way between the socket and the session, for live queries' sake.

One commit may have to be told to thousands of sockets, in bytes that are ready to be sent. ASGI would have each message
decoded to text for the server to encode it again, wrapped, and awaited; the figures are in docs/decisions/0004. So this
protocol offers an ASGI extension, `concave.frames`: a `FramePort` that takes and gives the bytes of text messages by
plain calls. Everything else (handshake, close, errors) is uvicorn's. Use it as `uvicorn.Config(ws=FramesProtocol,
ws_ping_interval=None, ws_per_message_deflate=False)`: the endpoint sends its own pings, for all sockets from one timer.

Any other ASGI server, and uvicorn's own protocols, work too, by ordinary ASGI messages.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

EXTENSION: Final = "concave.frames"

FRAGMENT_BYTES: Final = 8 * 1024 * 1024
"""Longer messages are sent in several frames: Rust clients take messages of 64 MiB, but no frame above 16 MiB."""

CLOSE_TIMEOUT_S: Final = 2.0
"""How long a client may take to answer a close frame before its connection is cut."""

_TEXT: Final = 0x01
_CONTINUATION: Final = 0x00
_FINAL: Final = 0x80
_header_16: Final = struct.Struct("!BBH").pack
_header_64: Final = struct.Struct("!BBQ").pack


class FramePort(Protocol):
    """What the extension offers for one connection, after `websocket.accept`."""

    def attach(self, on_text: Callable[[bytes], None], on_binary: Callable[[], None]) -> bool:
        """From now on hand over incoming messages by these calls, which must not raise. False, and nothing done, while
        messages wait to be fetched by `receive`."""

    def write_text(self, data: bytes) -> bool:
        """Send one text message. False, and nothing done, while the client does not read what it was sent before.

        When the connection is closed or lost the message goes nowhere, and the result is True.
        """

    async def wait_writable(self) -> None:
        """Return when the client reads again, or when the connection is lost."""

    def ping(self) -> None:
        """Send a websocket ping."""

    def was_heard(self) -> bool:
        """Whether anything, pongs included, has come from the client since the last call."""


class FramesProtocol(WebSocketsSansIOProtocol):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._on_text: Callable[[bytes], None] | None = None
        self._on_binary: Callable[[], None] | None = None
        self._heard = True
        self._is_paused = False
        self.close_timeout = CLOSE_TIMEOUT_S

    # -- overridden ---------------------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        self._is_paused = True
        super().pause_writing()

    def resume_writing(self) -> None:
        self._is_paused = False
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_paused = False
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            # The application's task has been created, and runs when this step is over.
            extensions: dict[str, Any] = cast("dict[str, Any]", self.scope)["extensions"]
            extensions[EXTENSION] = self

    def data_received(self, data: bytes) -> None:
        self._heard = True
        super().data_received(data)

    def send_receive_event_to_app(self) -> None:
        if self._on_text is None or self._on_binary is None:
            super().send_receive_event_to_app()
            return
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        if self.curr_msg_data_type == "text":
            self._on_text(data)
        else:
            self._on_binary()

    # -- FramePort ----------------------------------------------------------------------------------------------------

    def attach(self, on_text: Callable[[bytes], None], on_binary: Callable[[], None]) -> bool:
        if not self.queue.empty():
            return False
        self._on_text = on_text
        self._on_binary = on_binary
        return True

    def write_text(self, data: bytes) -> bool:
        if self._is_paused:
            return False
        if self.conn.state is not State.OPEN or self.transport.is_closing():
            return True
        size = len(data)
        if size < 126:
            self.transport.write(bytes((_FINAL | _TEXT, size)) + data)
        elif size < 65536:
            # One buffer, though it is a copy: uvloop takes longer over two of them than over copying one.
            self.transport.write(_header_16(_FINAL | _TEXT, 126, size) + data)
        elif size <= FRAGMENT_BYTES:
            self.transport.writelines((_header_64(_FINAL | _TEXT, 127, size), data))
        else:
            self._write_fragments(memoryview(data))
        return True

    async def wait_writable(self) -> None:
        await self.writable.wait()

    def ping(self) -> None:
        if self.conn.state is State.OPEN and not self.transport.is_closing():
            self.conn.send_ping(b"")
            self.transport.write(b"".join(self.conn.data_to_send()))

    def was_heard(self) -> bool:
        heard, self._heard = self._heard, False
        return heard

    def _write_fragments(self, data: memoryview) -> None:
        opcode = _TEXT
        for start in range(0, len(data), FRAGMENT_BYTES):
            fragment = data[start : start + FRAGMENT_BYTES]
            if start + FRAGMENT_BYTES >= len(data):
                opcode |= _FINAL
            self.transport.writelines((_header_64(opcode, 127, len(fragment)), fragment))
            opcode = _CONTINUATION
