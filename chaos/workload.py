"""The clients: Node processes with official clients in them, and what they have reported."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from chaos.processes import die_with_parent

ACCOUNTS: Final = 20
BALANCE: Final = 60
"""Little enough that the bank has to refuse transfers now and then."""
PROBES: Final = 2
PROBE_PAUSE_S: Final = 0.2
PROBE_TIMEOUT_S: Final = 1.0
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


async def probe(name: str, url: str, history: History) -> None:
    """Send messages over HTTP, one after the other, until cancelled; one that gets no answer is not sent again.

    Unlike the official client, which waits up to 24 s before it connects again, this tells when the service is back.
    """
    # Connections are not kept: the balancer chooses anew each time.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=PROBE_TIMEOUT_S, limits=limits) as http:
        for number in itertools.count():
            op = f"{name}#{number}"
            args = {"op": op, "client": name, "number": number, "channel": "probes"}
            from_s = time.monotonic()
            with contextlib.suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    answer = await http.post(f"{url}/api/mutation", json={"path": "chat:send", "args": args})
                if answer.status_code == 200 and answer.json()["status"] == "success":
                    history.acknowledged.append(Acknowledged(op, "messages", from_s, time.monotonic()))
            await asyncio.sleep(PROBE_PAUSE_S)


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
