"""A TCP balancer: new connections go in turn to the servers that are ready; a silent server loses those it has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chaos.links import Network
from chaos.processes import until

CHECK_S: Final = 0.3
CHECK_TIMEOUT_S: Final = 1.0
SILENT_CHECKS: Final = 3
"""After so many checks without an answer a server counts as gone."""
WAIT_S: Final = 5.0
"""How long a new connection waits for a server to be there."""


@dataclass(slots=True)
class Backend:
    """A server as the balancer sees it: ready unless it says 503 to `/ready`, and alive while it says anything."""

    name: str
    port: int
    silent_checks: int = SILENT_CHECKS
    is_ready: bool = False

    @property
    def is_alive(self) -> bool:
        return self.silent_checks < SILENT_CHECKS


class Balancer:
    def __init__(self, network: Network, backends: Sequence[Backend]) -> None:
        self.backends = backends
        self._network = network
        self._next = 0
        self._checks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._checks = [loop.create_task(self._watch(backend)) for backend in self.backends]

    async def close(self) -> None:
        for check in self._checks:
            check.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)

    async def choose(self) -> tuple[str, int] | None:
        """Where the next connection goes; None if no server is there in time."""
        await until(lambda: any(backend.is_ready for backend in self.backends), WAIT_S)
        backends = [backend for backend in self.backends if backend.is_ready]
        # Better one that is not caught up than none.
        backends = backends or [backend for backend in self.backends if backend.is_alive]
        if not backends:
            return None
        self._next += 1
        chosen = backends[self._next % len(backends)]
        return chosen.name, chosen.port

    async def _watch(self, backend: Backend) -> None:
        while True:
            status = await _status(backend.port)
            backend.is_ready = status is not None and status != 503
            if status is None:
                was_alive = backend.is_alive
                backend.silent_checks += 1
                if was_alive and not backend.is_alive:
                    self._network.drop(backend.name)
            else:
                backend.silent_checks = 0
            await asyncio.sleep(CHECK_S)


async def _status(port: int) -> int | None:
    """The HTTP status of `/ready`, or None without an answer in time."""
    writer = None
    with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError, EOFError):
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            line = await reader.readline()
            writer.close()
            return int(line.split()[1])
    if writer is not None:
        writer.close()
    return None
