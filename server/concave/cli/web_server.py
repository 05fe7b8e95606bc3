"""uvicorn, run from a program: our socket, our signals, a notice when connections are accepted."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

# The only one of uvicorn's websocket implementations that is not deprecated, and the leanest per message.
WEBSOCKET_IMPLEMENTATION: Final = "websockets-sansio"
WEBSOCKET_MESSAGE_BYTES_MAX: Final = 64 << 20  # sync-protocol.md 1.2

# Sessions send messages of their own every 15 s, which is what clients live by; these pings find peers that have
# silently gone. A pong may sit behind megabytes of download, hence the patience (sync-protocol.md 1.3).
WEBSOCKET_PING_INTERVAL_S: Final = 30.0
WEBSOCKET_PING_PATIENCE_S: Final = 120.0

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
                ws=WEBSOCKET_IMPLEMENTATION,
                ws_max_size=WEBSOCKET_MESSAGE_BYTES_MAX,
                ws_ping_interval=WEBSOCKET_PING_INTERVAL_S,
                ws_ping_timeout=WEBSOCKET_PING_PATIENCE_S,
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
