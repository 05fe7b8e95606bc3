"""Where the processor time of a mutation goes: one session in this process, no socket, one insert after the other.

Run: `python bench/overhead.py URI COUNT`. Prints one JSON line: CPU microseconds a mutation (user and system, without
the profiler), and the ten functions that took most time of their own in a second, profiled, run.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import pstats
import sys
import time
import uuid
from pathlib import Path

import uvloop

from concave.cli.loading import load
from concave.cli.node import NodeOptions, started_node
from concave.sync.session import Session
from concave.values.runtime import SystemRuntime

APP = Path(__file__).resolve().parent / "app"
TOP = 10


class LastWord:
    """A transport that only waits: `settled` is set by the Transition that follows a mutation's response."""

    def __init__(self) -> None:
        self.settled = asyncio.Event()
        self._responded = False

    def send(self, data: bytes, is_transition: bool) -> bool:
        if not is_transition:
            assert b'"success":true' in data, data
            self._responded = True
        elif self._responded:
            self._responded = False
            self.settled.set()
        return True

    def close(self, code: int, reason: str) -> None:
        raise RuntimeError(f"the session ended: {code} {reason}")


async def insert(session: Session, transport: LastWord, first: int, count: int) -> None:
    for number in range(first, first + count):
        args = [{"channel": "overhead", "author": "bench", "body": f"message {number} {'x' * 120}"}]
        message = {"type": "Mutation", "requestId": number, "udfPath": "messages:send", "args": args}
        text = json.dumps(message)
        transport.settled.clear()
        session.receive(text)
        await transport.settled.wait()


async def measure(uri: str, count: int) -> dict[str, object]:
    runtime = SystemRuntime()
    app = load(APP)
    async with started_node(app, NodeOptions(uri=uri, admin_key="overhead"), runtime) as node:
        transport = LastWord()
        session = Session(node.engine, runtime, transport)
        session.receive(
            json.dumps(
                {
                    "type": "Connect",
                    "sessionId": str(uuid.uuid4()),
                    "connectionCount": 0,
                    "lastCloseReason": "InitialConnect",
                }
            )
        )
        await insert(session, transport, 0, count // 10)
        started = time.process_time()
        await insert(session, transport, count, count)
        cpu_us = (time.process_time() - started) / count * 1e6
        profile = cProfile.Profile()
        profile.enable()
        await insert(session, transport, 2 * count, count)
        profile.disable()
        session.disconnected()
    return {"cpuUs": cpu_us, "top": _top(profile, count)}


def _top(profile: cProfile.Profile, count: int) -> list[dict[str, object]]:
    rows = []
    statistics = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (file, line, name), (_, calls, own, total, _) in statistics.items():
        rows.append(
            {
                "function": name if line == 0 else f"{Path(file).name}:{line} {name}",
                "calls": calls / count,
                "ownUs": own / count * 1e6,
                "totalUs": total / count * 1e6,
            }
        )
    # Waiting for the sockets is no work.
    rows = [row for row in rows if "epoll" not in str(row["function"])]
    rows.sort(key=lambda row: -float(str(row["ownUs"])))
    return rows[:TOP]


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(sys.argv[1], int(sys.argv[2])))))
