"""uvicorn, run from a program: our socket, our signals, a notice when connections are accepted."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from concave.http.websocket_protocol import FramesProtocol

WEBSOCKET_PROTOCOL: Final = FramesProtocol
WEBSOCKET_MESSAGE_BYTES_MAX: Final = 64 << 20  # sync-protocol.md 1.2

# Longer than the idle connections of browsers and Node live, so that it is they who close them.
KEEP_ALIVE_S: Final = 75
STOP_PATIENCE_S: Final = 5


class WebServer(uvicorn.Server):
    """Serves `app` on a bound socket until `should_exit` is set. `on_ready` is called once it accepts connections."""

    def __init__(self, app: ASGIApp, bound: socket.socket, on_ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws=WEBSOCKET_PROTOCOL,
                ws_max_size=WEBSOCKET_MESSAGE_BYTES_MAX,
                ws_ping_interval=None,  # the sync socket pings, and finds out who has silently gone
                ws_per_message_deflate=False,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=STOP_PATIENCE_S,
                backlog=4096,
            )
        )
        self._bound = bound
        self._on_ready = on_ready

    async def run_until_stopped(self) -> None:
        """Accept connections until `stop`; then let requests finish, for a while, and close what is open."""
        await self.serve(sockets=[self._bound])

    def stop(self) -> None:
        """Begin to stop; a second call does not wait for requests."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled by the command, which has more to stop than the web server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()
