"""uvicorn, run from a program: our socket, our signals, a notice when connections are accepted, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp

from concave.http.http_protocol import BoundedHttpProtocol
from concave.http.websocket_protocol import FramesProtocol
from concave.values.runtime import Runtime

WEBSOCKET_PROTOCOL: Final = FramesProtocol
WEBSOCKET_MESSAGE_BYTES_MAX: Final = 64 << 20  # sync-protocol.md 1.2

# Longer than the idle connections of browsers and Node live, so that it is they who close them.
KEEP_ALIVE_S: Final = 75
STOP_PATIENCE_S: Final = 10.0
FIRST_REQUEST_S: Final = 0.1
"""How long a client that has just connected may take to send its request, when the server is about to end."""

LAST_WAIT_S: Final = 0.5
"""How long requests that outlive the patience may take to end once they are cancelled."""

logger = logging.getLogger(__name__)


class WebServer(uvicorn.Server):
    """Serves `app` on bound sockets until it is stopped. `on_ready` is called once it accepts connections.

    The end: no connection is accepted, idle ones are closed, and those with a request are once it is answered; `drain`
    ends the websockets in its own time and returns when nothing is under way any more. `patience_s` after the beginning
    of all this `cut_off` ends them at once, and what still goes on is cancelled.
    """

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        on_ready: Callable[[], None],
        *,
        drain: Callable[[], Coroutine[Any, Any, None]],
        cut_off: Callable[[], None],
        runtime: Runtime,
        patience_s: float = STOP_PATIENCE_S,
        more: tuple[socket.socket, ...] = (),
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedHttpProtocol,
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
                backlog=4096,
            )
        )
        self._bound = bound
        self._on_ready = on_ready
        self._drain = drain
        self._cut_off = cut_off
        self._draining: asyncio.Task[None] | None = None
        self._runtime = runtime
        self._patience_s = patience_s
        self._more = more

    async def run_until_stopped(self) -> None:
        """Accept connections until `stop`; then let what is under way finish, for a while, and close what is open."""
        await self.serve(sockets=[self._bound, *self._more])

    def stop(self) -> None:
        """Begin to stop; a second call does not wait for what is under way."""
        if self.should_exit:
            self.force_exit = True
            if self._draining is not None:
                self._draining.cancel()
        elif self.started:
            self._stop_accepting()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are handled by the command, which has more to stop than the web server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        deadline = self._runtime.monotonic() + self._patience_s
        if not self.force_exit:
            self._draining = self._runtime.spawn(self._drain(), name="drain")
            await self._runtime.sleep(FIRST_REQUEST_S)
        for connection in list(self.server_state.connections):
            if not isinstance(connection, WEBSOCKET_PROTOCOL):
                connection.shutdown()
        if self._draining is not None:
            await asyncio.wait((self._draining,), timeout=self._patience_s)
            if not self._draining.done():
                logger.warning("calls are still running %g s after the stop signal; they are cut off", self._patience_s)
                self._draining.cancel()
        self._cut_off()
        await self._runtime.sleep(0)  # close frames that were asked for are on their way after this
        remaining_s = max(LAST_WAIT_S, deadline - self._runtime.monotonic())
        self.config.timeout_graceful_shutdown = remaining_s  # type: ignore[assignment]  # any number will do
        await super().shutdown(sockets)

    def _stop_accepting(self) -> None:
        # What the system has accepted and we have not would be reset; connections from now on are another process's.
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._bound.accept()
                accepted.setblocking(False)
                self._runtime.spawn(self._take_in(accepted), name="last connections")
        for server in self.servers:
            server.close()

    async def _take_in(self, accepted: socket.socket) -> None:
        def protocol() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]  # as uvicorn's own startup does
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        await asyncio.get_running_loop().connect_accepted_socket(protocol, accepted)
