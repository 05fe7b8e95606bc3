"""What faults are done to: three mongods, three servers, two balanced front doors, and a supervisor that starts again
what ended by itself.

A member's address in the replica set's configuration is a link's; so servers, which discover members from it, and
members, which know each other by it, all pass through links. Addresses stay the same from start to finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from chaos.balancer import Backend, Balancer
from chaos.links import Network
from chaos.processes import Process, until
from concave.storage.mongod import find_mongod

MEMBERS: Final = 3
SERVERS: Final = 3
FRONTS: Final = 2
DATABASE: Final = "chaos"
START_TIMEOUT_S: Final = 60.0
SUPERVISOR_S: Final = 0.2
RESTART_PAUSE_S: Final = 1.0
ELECTION_TIMEOUT_MS: Final = 3_000
"""Shorter than MongoDB's 10 s, so that a short run sees elections."""

_REPLICA_SET: Final = "chaos"
_ALREADY_INITIALIZED: Final = 23
_APP: Final = Path(__file__).resolve().parent / "app"
# Below the range from which the system takes ports for outgoing connections: a port must be free again at a restart.
_PORTS: Final = range(20_000, 32_000)
_LIBFAKETIME: Final = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"),
)


class Cluster:
    """`directory` takes databases and logs. `surprises` are things that nobody did on purpose."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.network = Network()
        self.surprises: list[str] = []
        self.failed_starts = 0
        ports = _free_ports(2 * MEMBERS + SERVERS + FRONTS + 1)
        self.probe_port = ports.pop()
        self.front_ports = [ports.pop() for _ in range(FRONTS)]
        self.member_ports = {f"mongod-{number}": ports.pop() for number in range(MEMBERS)}
        self.link_ports = {name: ports.pop() for name in self.member_ports}
        self.backends = [Backend(f"server-{number}", ports.pop()) for number in range(SERVERS)]
        self.balancer = Balancer(self.network, self.backends)
        self.members = {name: self._member(name) for name in self.member_ports}
        self.clock_file = directory / "clock"
        self.servers = {
            backend.name: self._server(backend, with_clock=backend is self.backends[-1]) for backend in self.backends
        }
        self.down: set[str] = set()
        """Processes that are not meant to run just now."""
        self._supervisor: asyncio.Task[None] | None = None
        self._not_before: dict[str, float] = {}
        self._client: AsyncMongoClient[dict[str, Any]] | None = None

    @property
    def processes(self) -> dict[str, Process]:
        return self.members | self.servers

    @property
    def server_with_clock(self) -> str | None:
        """The server whose clock can be set; None where libfaketime is not installed."""
        return self.backends[-1].name if _libfaketime() is not None else None

    @property
    def hosts(self) -> list[str]:
        """The members' addresses, which are those of their links."""
        return [f"127.0.0.1:{port}" for port in self.link_ports.values()]

    @property
    def uri(self) -> str:
        return f"mongodb://{','.join(self.hosts)}/{DATABASE}?replicaSet={_REPLICA_SET}"

    @property
    def client(self) -> AsyncMongoClient[dict[str, Any]]:
        """Our own eyes on the database; links from here are never touched."""
        assert self._client is not None
        return self._client

    async def start(self) -> None:
        """Everything up, and every server ready."""
        for name, process in self.processes.items():
            self.network.know(name, process)
        for name, port in self.link_ports.items():
            await self.network.listen(name, port, _always(name, self.member_ports[name]))
        for number, port in enumerate(self.front_ports):
            await self.network.listen("balancer", port, self.balancer.choose, source=f"clients-{number}")
        await self.network.listen("balancer", self.probe_port, self.balancer.choose, source="probes")
        for member in self.members.values():
            member.start()
        await self._initiate()
        self._client = AsyncMongoClient(self.uri, serverSelectionTimeoutMS=2_000)
        for server in self.servers.values():  # the first pushes the schema
            server.start()
            if server.name == self.backends[0].name:
                await self.ready(server.name)
        self.balancer.start()
        for name in self.servers:
            await self.ready(name)
        self._supervisor = asyncio.get_running_loop().create_task(self._supervise())

    async def close(self) -> None:
        """End everything, whatever state it is in."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        await self.balancer.close()
        for process in self.processes.values():
            await process.kill()
        for server in self.servers.values():
            _remove_libfaketime_memory(server.pids)
        if self._client is not None:
            await self._client.close()
        await self.network.close()

    async def ready(self, server: str) -> None:
        process = self.servers[server]
        has_started = await until(lambda: process.log.exists() and _last_start_is_ready(process), START_TIMEOUT_S)
        if not has_started:
            raise RuntimeError(f"{server} did not start:\n{_tail(process.log)}")

    async def primary(self) -> str | None:
        """The name of the member that is primary now, asked of the members themselves."""
        for name, process in self.members.items():
            if process.pid is None or name in self.down:
                continue
            with contextlib.suppress(PyMongoError, TimeoutError):
                async with asyncio.timeout(1.0):
                    hello = await self._ask(name, {"hello": 1})
                    if hello.get("isWritablePrimary"):
                        return name
        return None

    async def step_down(self, member: str) -> None:
        """Have the primary hand over to another member in good order."""
        with contextlib.suppress(PyMongoError):
            await self._ask(member, {"replSetStepDown": 20, "secondaryCatchUpPeriodSecs": 5})

    def set_clock(self, offset_s: float) -> None:
        """Move the wall clock of `server_with_clock` away from the true time."""
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+.0f}s\n")
        fresh.replace(self.clock_file)

    async def _ask(self, member: str, command: dict[str, Any]) -> dict[str, Any]:
        """A command to one member, past its link."""
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            "127.0.0.1",
            self.member_ports[member],
            directConnection=True,
            serverSelectionTimeoutMS=1_000,
            socketTimeoutMS=8_000,
        )
        try:
            return await client.admin.command(command)
        finally:
            await client.close()

    async def _initiate(self) -> None:
        config = {
            "_id": _REPLICA_SET,
            "members": [{"_id": number, "host": host} for number, host in enumerate(self.hosts)],
            "settings": {
                "electionTimeoutMillis": ELECTION_TIMEOUT_MS,
                "heartbeatIntervalMillis": 500,
                "heartbeatTimeoutSecs": 3,
            },
        }
        first = next(iter(self.members))
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                try:
                    await self._ask(first, {"replSetInitiate": config})
                    break
                except OperationFailure as error:
                    if error.code == _ALREADY_INITIALIZED:
                        break
                    await asyncio.sleep(0.2)  # the other members do not listen yet
                except PyMongoError:
                    await asyncio.sleep(0.1)
            while await self.primary() is None:
                await asyncio.sleep(0.1)

    async def _supervise(self) -> None:
        """Start again, after a pause, what is meant to run and does not; it is a surprise unless a start failed."""
        while True:
            await asyncio.sleep(SUPERVISOR_S)
            for name, process in self.processes.items():
                if name in self.down or process.pid is not None:
                    self._not_before.pop(name, None)
                    continue
                if name not in self._not_before:
                    self._not_before[name] = time.monotonic() + RESTART_PAUSE_S
                    if name in self.servers and not _last_start_is_ready(process):
                        self.failed_starts += 1
                    else:
                        self.surprises.append(f"{name} ended by itself with status {process.status}; see its log")
                elif time.monotonic() > self._not_before[name]:
                    process.start()

    def _member(self, name: str) -> Process:
        data = self.directory / f"{name}-data"
        data.mkdir()
        command = [
            str(find_mongod()),
            *("--dbpath", str(data), "--port", str(self.member_ports[name]), "--bind_ip", "127.0.0.1"),
            *("--nounixsocket", "--replSet", _REPLICA_SET, "--wiredTigerCacheSizeGB", "0.25", "--oplogSize", "256"),
            *("--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false"),
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
        ]
        return Process(name, command, self.directory / f"{name}.log", os.environ)

    def _server(self, backend: Backend, *, with_clock: bool) -> Process:
        command = [
            *(sys.executable, "-m", "concave.cli.main", "serve", "--app", str(_APP)),
            *("--port", str(backend.port), "--db", self.uri, "--data-dir", str(self.directory / backend.name)),
        ]
        environment = {**os.environ, "CONCAVE_ADMIN_KEY": "chaos|0123456789abcdef", "PYTHONUNBUFFERED": "1"}
        library = _libfaketime()
        if with_clock and library is not None:
            self.set_clock(0)
            environment |= {
                "LD_PRELOAD": str(library),
                "FAKETIME_TIMESTAMP_FILE": str(self.clock_file),
                "FAKETIME_CACHE_DURATION": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return Process(backend.name, command, self.directory / f"{backend.name}.log", environment)


def _always(name: str, port: int) -> Callable[[], Awaitable[tuple[str, int] | None]]:
    async def choose() -> tuple[str, int] | None:
        return name, port

    return choose


def _last_start_is_ready(process: Process) -> bool:
    last = process.log.read_text(errors="replace").rpartition("--- start ")[2]
    return "concave ready" in last


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:]) if log.exists() else ""


def _libfaketime() -> Path | None:
    if shutil.which("faketime") is None:
        return None
    return next((path for path in _LIBFAKETIME if path.exists()), None)


def _remove_libfaketime_memory(pids: list[int]) -> None:
    """Killed processes leave it behind."""
    for pid in pids:
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            Path("/dev/shm", name).unlink(missing_ok=True)


def _free_ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free TCP ports on 127.0.0.1")
