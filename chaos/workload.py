"""The clients: Node processes with official clients in them, and what they have reported."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chaos.processes import die_with_parent

ACCOUNTS: Final = 20
BALANCE: Final = 1_000
_SCRIPT: Final = Path(__file__).resolve().parent / "clients" / "workload.mjs"
_LINE_BYTES_MAX: Final = 16 << 20


@dataclass(slots=True, frozen=True)
class Acknowledged:
    """A mutation that resolved; times are seconds of the monotonic clock."""

    op: str
    table: str
    from_s: float
    to_s: float


@dataclass(slots=True)
class History:
    """What all clients have reported so far."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """Operations that the bank refused for want of money."""
    failed: dict[str, str] = field(default_factory=dict)
    """Operations that failed for another reason; no client should hear of one."""
    broken: list[dict[str, Any]] = field(default_factory=list)


class Team:
    """One Node process with several clients behind one front door."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, history: History) -> None:
        self.name = name
        self._process = process
        self._history = history
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=16)
        self._reader = asyncio.get_running_loop().create_task(self._read())

    @classmethod
    @contextlib.asynccontextmanager
    async def run(cls, name: str, url: str, clients: int, pause_ms: float, history: History) -> AsyncIterator[Team]:
        process = await asyncio.create_subprocess_exec(
            "node",
            *(str(_SCRIPT), url, name, str(clients), str(pause_ms), str(ACCOUNTS), str(ACCOUNTS * BALANCE)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_BYTES_MAX,
            env={**os.environ, "NODE_NO_WARNINGS": "1"},
            preexec_fn=die_with_parent(os.getpid()),
        )
        team = cls(name, process, history)
        try:
            yield team
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await asyncio.gather(team._reader, return_exceptions=True)

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())

    async def reply(self, key: str, timeout_s: float) -> Any:
        """The next report with this key. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while True:
                found = await self._replies.get()
                if key in found:
                    return found[key]

    async def _read(self) -> None:
        assert self._process.stdout is not None
        history = self._history
        while line := await self._process.stdout.readline():
            if not line.startswith(b"{"):
                history.broken.append({"broken": "a client printed what it should not", "line": line.decode()})
                continue
            said = json.loads(line)
            if "ack" in said:
                history.acknowledged.append(
                    Acknowledged(said["ack"], said["table"], said["from"] / 1000, said["to"] / 1000)
                )
            elif "refused" in said:
                (history.refused if said["expected"] else history.failed)[said["refused"]] = said["error"]
            elif "broken" in said:
                history.broken.append(said)
            else:
                await self._replies.put(said)
