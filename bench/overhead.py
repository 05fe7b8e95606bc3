"""Where the processor time of a mutation goes: one session in this process, no socket, one insert after the other.

Run: `python bench/overhead.py URI COUNT [store]`. Prints one JSON line: CPU microseconds a mutation (user and system,
without the profiler), and the ten functions that took most time of their own in a second, profiled, run. With `store`,
what the same commits take without an engine: the difference is the engine's overhead.
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
from concave.schema.plan import compile_plan
from concave.storage.mongo import MongoStore
from concave.storage.store import DocumentWrite, IndexKeyChange, LogEntry, RequestRecord
from concave.sync.session import Session
from concave.values.ids import new_id
from concave.values.runtime import SystemRuntime

APP = Path(__file__).resolve().parent / "app"
TOP = 10
SLICES = 10
"""The run is cut into slices and the cheapest counts: whoever else uses the processor and its caches makes the rest
dearer."""


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


async def measure_store(uri: str, count: int) -> dict[str, object]:
    """The same commits by the store alone: what it takes to talk to MongoDB, the driver's encoding included."""
    runtime = SystemRuntime()
    store = MongoStore(uri, runtime=runtime, node="overhead")
    await store.start()
    catalog = await store.push(compile_plan(load(APP).schema))
    layout, number = catalog.layout("messages"), catalog.table_number("messages")
    seq = await store.last_seq(await store.current_ts())
    session = runtime.uuid()

    async def append() -> None:
        nonlocal seq
        seq += 1
        body = f"message {seq} {'x' * 120}"
        document = {"_id": new_id(number, runtime), "_creationTime": runtime.now_ms(), "channel": "overhead"}
        document |= {"author": "bench", "body": body}
        keys = tuple([IndexKeyChange(name, None, key) for name, key in layout.keys(document).items()])
        write = DocumentWrite("messages", document["_id"], None, document, keys)
        record = RequestRecord(session, seq, b'"result"', ())
        await store.append(LogEntry(seq, "overhead", runtime.uuid(), (write,), (record,), functions=("messages:send",)))

    for _ in range(count // 10):
        await append()
    slices = []
    for _ in range(SLICES):
        started = time.process_time()
        for _ in range(count // SLICES):
            await append()
        slices.append((time.process_time() - started) / (count // SLICES) * 1e6)
    await store.close()
    return {"cpuUs": min(slices)}


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
        slices = []
        for number in range(SLICES):
            started = time.process_time()
            await insert(session, transport, count + number * (count // SLICES), count // SLICES)
            slices.append((time.process_time() - started) / (count // SLICES) * 1e6)
        cpu_us = min(slices)
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
    what = measure_store if "store" in sys.argv else measure
    print(json.dumps(uvloop.run(what(sys.argv[1], int(sys.argv[2])))))
