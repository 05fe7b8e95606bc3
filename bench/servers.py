"""The processes that a benchmark starts: one mongod, the two servers, and load clients in Node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil

from concave.storage.mongod import EmbeddedMongod

BENCH = Path(__file__).resolve().parent
CLIENTS = BENCH / "clients"
START_TIMEOUT_S = 60.0
CLIENT_TIMEOUT_S = 300.0

Target = Literal["concave", "baseline"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(slots=True)
class Server:
    """A running server under test."""

    target: Target
    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """Processor seconds (user and system) that the server's process has used."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        if tasks.exists():
            # In nanoseconds, where the process's own times come in ticks of 10 ms.
            return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def memory_mb(self) -> float:
        return float(self.process.memory_info().rss) / 1e6


@contextlib.asynccontextmanager
async def mongod() -> AsyncIterator[EmbeddedMongod]:
    """One mongod for all that is measured, with fresh data."""
    with tempfile.TemporaryDirectory(prefix="concave-bench-") as directory:
        database = EmbeddedMongod(directory, database="bench", cache_gb=1.0)
        await database.start()
        try:
            yield database
        finally:
            await database.stop()


@contextlib.asynccontextmanager
async def server(target: Target, uri: str, *, port: int | None = None) -> AsyncIterator[Server]:
    port = free_port() if port is None else port
    if target == "concave":
        command = ["-m", "concave.cli.main", "serve", "--app", str(BENCH / "app"), "--port", str(port), "--db", uri]
    else:
        command = [str(BENCH / "baseline" / "server.py"), uri, str(port)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.DEVNULL, cwd=tempfile.gettempdir()
    )
    try:
        await _accepts(process, port)
        yield Server(target, f"http://127.0.0.1:{port}", psutil.Process(process.pid))
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _accepts(process: asyncio.subprocess.Process, port: int) -> None:
    async with asyncio.timeout(START_TIMEOUT_S):
        while True:
            if process.returncode is not None:
                raise RuntimeError(f"the server ended with status {process.returncode} while starting")
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return


class Client:
    """A Node script under `clients/`; it reports in JSON lines and goes on when told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def run(cls, script: str, *arguments: object) -> AsyncIterator[Client]:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(CLIENTS / script),
            *map(str, arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "NODE_NO_WARNINGS": "1"},
        )
        try:
            yield cls(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def report(self) -> dict[str, Any]:
        """The next report; other output of the client goes to our standard error."""
        assert self._process.stdout is not None
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            while line := await self._process.stdout.readline():
                if line.startswith(b"{"):
                    figures: dict[str, Any] = json.loads(line)
                    return figures
                sys.stderr.write(line.decode())
        raise RuntimeError(f"the client ended with status {await self._process.wait()} before it reported")

    async def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()

    async def wait(self) -> None:
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            await self._process.wait()
