"""TCP links that can be cut, silenced and slowed: every connection of the cluster passes through one of these.

A connection has a source and a target, by name; what is done to it is looked up by that pair. The source is found out
from the system's table of sockets when the connection is accepted: so a member of the replica set, which has one
address for all, can be out of reach for one server and in reach for another.

| condition | connections there are | new ones |
|---|---|---|
| `CUT` | reset | reset at once |
| `SILENT` | stay open, nothing passes; what was sent is delivered at the end | accepted, then the same |
| `Slow(s)` | each chunk of bytes arrives `s` seconds later, in either direction | the same |
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, cast

CUT: Final = "cut"
SILENT: Final = "silent"


@dataclass(slots=True, frozen=True)
class Slow:
    """A delay in seconds, each way."""

    delay_s: float


_RESET: Final = struct.pack("ii", 1, 0)
"""Linger for no time: closing resets the connection, as when the other machine has forgotten it."""

Condition = Literal["cut", "silent"] | Slow
Pair = tuple[str, str]


class HasPid(Protocol):
    @property
    def pid(self) -> int | None: ...


class Network:
    """The condition of every link, and the connections that are open."""

    def __init__(self) -> None:
        self._conditions: dict[Pair, Condition] = {}
        self._connections: set[Connection] = set()
        self._processes: dict[str, HasPid] = {}
        self._servers: list[asyncio.Server] = []

    def know(self, source: str, process: HasPid) -> None:
        """Connections of this process are to be known as from `source`."""
        self._processes[source] = process

    def condition(self, pair: Pair) -> Condition | None:
        return self._conditions.get(pair)

    def set(self, pairs: Iterable[Pair], condition: Condition) -> None:
        for pair in pairs:
            self._conditions[pair] = condition
        self._apply()

    def heal(self, pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            self._conditions.pop(pair, None)
        self._apply()

    def drop(self, target: str) -> None:
        """Reset what is connected to `target`, as a balancer does with a server that does not answer."""
        for connection in list(self._connections):
            if connection.reached == target:
                connection.abort()

    async def listen(self, target: str, port: int, choose: Choose, *, source: str | None = None) -> None:
        """Accept connections to `target` on `port`. `choose` says where they lead; without `source` it is found out."""

        def accept() -> _Side:
            connection = Connection(self, target, choose, source)
            self._connections.add(connection)
            return connection.near

        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(accept, "127.0.0.1", port, backlog=512))

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0.01)  # for the event loop to close what was aborted

    def forget(self, connection: Connection) -> None:
        self._connections.discard(connection)

    def source_of(self, port: int) -> str:
        """Which known process has the local TCP port `port`."""
        inode = _socket_inode(port)
        if inode is not None:
            for name, process in self._processes.items():
                if (pid := process.pid) is not None and _has_socket(pid, inode):
                    return name
        return "elsewhere"

    def _apply(self) -> None:
        for connection in list(self._connections):
            connection.apply()


Choose = Callable[[], Awaitable[tuple[str, int] | None]]
"""The name and port that a new connection leads to; None to refuse it."""


class Connection:
    """Two sockets and what passes between them. `near` is the side that was accepted."""

    def __init__(self, network: Network, target: str, choose: Choose, source: str | None) -> None:
        self._network = network
        self._choose = choose
        self._source = source
        self._target = target
        self._opening: asyncio.Task[None] | None = None
        self.pair: Pair = (source or "", target)
        self.reached = ""
        self.near = _Side(self)
        self.far = _Side(self)
        self.near.other, self.far.other = self.far, self.near

    @property
    def condition(self) -> Condition | None:
        return self._network.condition(self.pair)

    def accepted(self, peer_port: int) -> None:
        if self._source is None:
            self.pair = (self._network.source_of(peer_port), self._target)
        if self.condition == CUT:
            self.abort()
            return
        self.near.hold("opening")
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        try:
            where = await self._choose()
            if where is None:
                raise ConnectionRefusedError("nobody to connect to")
            self.reached, port = where
            await asyncio.get_running_loop().create_connection(lambda: self.far, "127.0.0.1", port)
        except OSError:
            self.abort()
            return
        self.near.let_go("opening")
        self.apply()

    def apply(self) -> None:
        """Do what the link's condition says."""
        condition = self.condition
        if condition == CUT:
            self.abort()
            return
        for side in (self.near, self.far):
            if condition == SILENT:
                side.hold("silence")
            else:
                side.let_go("silence")
            side.flush()

    def abort(self) -> None:
        if self._opening is not None and not self._opening.done() and self._opening is not asyncio.current_task():
            self._opening.cancel()
        for side in (self.near, self.far):
            side.abort()
        self._network.forget(self)

    def side_closed(self) -> None:
        if self.near.is_closed and self.far.is_closed:
            self._network.forget(self)


class _Side(asyncio.Protocol):
    """One socket of a connection. What it receives leaves by the other side."""

    other: _Side

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        """What was received and is to leave by the other side, with the time when it may."""
        self._holds: set[str] = set()
        self._ended = False
        self.is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one without saying so
        if self is self._connection.near:
            self._connection.accepted(transport.get_extra_info("peername")[1])

    def data_received(self, data: bytes) -> None:
        condition = self._connection.condition
        out = self.other._transport
        if condition is None and not self._waiting and out is not None:
            out.write(data)
            return
        delay_s = condition.delay_s if isinstance(condition, Slow) else 0.0
        self._waiting.append((asyncio.get_running_loop().time() + delay_s, data))
        self.flush()

    def eof_received(self) -> bool:
        self._ended = True
        self.flush()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = self.is_closed = True
        self.flush()
        self._connection.side_closed()

    def pause_writing(self) -> None:
        self.other.hold("full")

    def resume_writing(self) -> None:
        self.other.let_go("full")

    def flush(self) -> None:
        """Pass on what may leave now."""
        out = self.other._transport
        if out is None or self._connection.condition == SILENT:
            return
        loop = asyncio.get_running_loop()
        while self._waiting:
            due, data = self._waiting[0]
            if due > loop.time():
                loop.call_at(due, self.flush)
                return
            self._waiting.popleft()
            if not out.is_closing():
                out.write(data)
        if self._ended and not out.is_closing():
            out.close()

    def hold(self, reason: str) -> None:
        """Read nothing from this socket until all reasons are gone."""
        if not self._holds and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self._holds.add(reason)

    def let_go(self, reason: str) -> None:
        if reason in self._holds:
            self._holds.discard(reason)
            if not self._holds and self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def abort(self) -> None:
        self.is_closed = True
        self._waiting.clear()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if self._transport is not None:
            self._transport.abort()


def _socket_inode(port: int) -> str | None:
    """The inode of the socket whose local address is `port` on a loopback address, connected or connecting."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == port and fields[9] != "0":
                return fields[9]
    return None


def _has_socket(pid: int, inode: str) -> bool:
    wanted = f"socket:[{inode}]"
    directory = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(directory):
            with contextlib.suppress(OSError):
                if os.readlink(f"{directory}/{descriptor}") == wanted:
                    return True
    return False
