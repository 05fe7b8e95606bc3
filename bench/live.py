"""The live path, measured side by side on one mongod: concave, bare PyMongo, and a hand-written baseline.

Run: `make bench-live`, or `python bench/live.py [--quick] [--only NAME] [--json FILE]`. Prints one table of ratios,
each beside the limit that it must keep, and the same as JSON. Exit status 1 if a limit is broken. Every limit is a
ratio (or a size) against something measured in the same run, because machines are noisy.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from rich.console import Console

from concave.values.ids import new_id
from concave.values.runtime import SystemRuntime
from figures import Figure, amount, conclude, ratio
from servers import BENCH, Client, Server, mongod, server

CHANNEL_MESSAGES = 50
FANOUT_SOCKETS = 1_000
CHANNELS = 500
FANOUT_TURNS = 3


@dataclass(frozen=True, slots=True)
class Sizes:
    latency_messages: int
    seconds: float
    writes: int

    @classmethod
    def of(cls, quick: bool) -> Sizes:
        return cls(120, 3.0, 15) if quick else cls(400, 10.0, 60)


@dataclass(slots=True)
class Bench:
    uri: str
    sizes: Sizes
    concave: Server
    baseline: Server

    async def raw(self, *arguments: object) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(BENCH / "raw_inserts.py"),
            self.uri,
            *map(str, arguments),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        figures: dict[str, Any] = json.loads(output)
        return figures

    # -- one writer, one subscriber, in two processes ------------------------------------------------------------

    async def latency(self) -> list[Figure]:
        count = self.sizes.latency_messages
        raw = await self.raw("latency", count)
        baseline = await self._latency(self.baseline, count)
        concave = await self._latency(self.concave, count)
        return [
            ratio("mutation to subscriber, p50", concave["p50"], raw["p50"], "raw insert", "ms", 3.0),
            ratio("mutation to subscriber, p50", concave["p50"], baseline["p50"], "baseline", "ms", 1.3),
        ]

    async def _latency(self, target: Server, count: int) -> dict[str, Any]:
        arguments = (target.target, target.url, "latency", count)
        async with Client.run("latency_subscriber.mjs", *arguments) as subscriber:
            await subscriber.report()
            async with Client.run("latency_writer.mjs", *arguments) as writer:
                figures = await subscriber.report()
                await writer.wait()
        return figures

    # -- 16 writers ----------------------------------------------------------------------------------------------

    async def throughput(self) -> list[Figure]:
        raw = await self.raw("throughput", 16, self.sizes.seconds)
        arguments = (self.concave.target, self.concave.url, 16, self.sizes.seconds)
        async with Client.run("throughput.mjs", *arguments) as client:
            concave = await client.report()
        name = "16 clients sending, messages a second"
        return [ratio(name, concave["perSecond"], raw["perSecond"], "raw inserts", "/s", 0.7, better="higher")]

    # -- many subscribers ----------------------------------------------------------------------------------------

    async def fanout(self) -> list[Figure]:
        """1,000 sockets on one query."""
        baseline, concave = await self._turns(1)
        prefix = f"{FANOUT_SOCKETS} subscribers of one query"
        return [
            ratio(f"{prefix}, last has it (p50)", concave["lastP50"], baseline["lastP50"], "baseline", "ms", 1.3),
            ratio(f"{prefix}, server CPU a write", concave["cpuMs"], baseline["cpuMs"], "baseline", "ms", 1.3),
            amount(f"{prefix}, runs of the query a write", concave["runs"], "", 1.0),
        ]

    async def channels(self) -> list[Figure]:
        """500 sockets on 500 channels, writes to one."""
        baseline, concave = await self._turns(CHANNELS)
        prefix = f"{CHANNELS} subscribers of {CHANNELS} channels"
        return [
            ratio(f"{prefix}, server CPU a write", concave["cpuMs"], baseline["cpuMs"], "baseline", "ms", 1.3),
            amount(f"{prefix}, woken for nothing", concave["strangers"], "", 0),
        ]

    async def _turns(self, channels: int) -> tuple[dict[str, float], dict[str, float]]:
        """Figures of the baseline and of concave: medians of turns taken in alternation, so that noise meets both."""
        turns: dict[str, list[dict[str, float]]] = {"baseline": [], "concave": []}
        for _ in range(FANOUT_TURNS):
            for target in (self.baseline, self.concave):
                turns[target.target].append(await self._fanout(target, channels))
        baseline, concave = (
            {name: statistics.median(turn[name] for turn in taken) for name in taken[0]} for taken in turns.values()
        )
        return baseline, concave

    async def _fanout(self, target: Server, channels: int) -> dict[str, float]:
        writes = self.sizes.writes
        sockets = FANOUT_SOCKETS if channels == 1 else channels
        async with Client.run("fanout.mjs", target.target, target.url, sockets, channels, writes) as client:
            await client.report()
            await asyncio.sleep(1.0)
            runs = await self._query_runs(target)
            cpu = target.cpu_s()
            await client.go_on()
            figures = await client.report()
            figures["cpuMs"] = (target.cpu_s() - cpu) * 1000 / writes
            figures["runs"] = (await self._query_runs(target) - runs) / writes
            await client.go_on()
            await client.wait()
        return figures

    async def _query_runs(self, target: Server) -> float:
        if target.target == "baseline":
            return 0.0
        answer = await asyncio.to_thread(_call, target.url, "action", "messages:runs", {})
        return float(answer)

    # -- reads and memory ----------------------------------------------------------------------------------------

    async def reads(self) -> list[Figure]:
        figures: dict[str, float] = {}
        for target in (self.baseline, self.concave):
            async with Client.run("reads.mjs", target.target, target.url, 16, self.sizes.seconds / 2) as client:
                figures[target.target] = (await client.report())["perSecond"]
        name = "16 clients reading the latest 50, reads a second"
        return [ratio(name, figures["concave"], figures["baseline"], "baseline", "/s", 2.0, better="higher")]

    async def memory(self) -> list[Figure]:
        """Of a server that was just started, and of one with 1,000 idle subscribers."""
        async with server("concave", self.uri) as fresh:
            await asyncio.sleep(1.0)
            idle = fresh.memory_mb()
            async with Client.run("fanout.mjs", "concave", fresh.url, FANOUT_SOCKETS, CHANNELS, 0) as client:
                await client.report()
                await asyncio.sleep(1.0)
                each = (fresh.memory_mb() - idle) * 1000 / FANOUT_SOCKETS
        return [
            amount("server memory, idle", idle, "MB", 130.0),
            amount("server memory, each idle subscriber", each, "KB", 80.0),
        ]


def _call(url: str, kind: str, path: str, args: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        f"{url}/api/{kind}",
        json.dumps({"path": path, "args": args, "format": "json"}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer = json.load(response)
    if answer["status"] != "success":
        raise RuntimeError(answer["errorMessage"])
    return answer["value"]


async def fill(uri: str) -> None:
    """The same messages in every channel of both servers."""
    runtime = SystemRuntime()
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri)
    database = client.get_default_database()
    table = await database["_tables"].find_one({"_id": "messages"})
    assert table is not None, "concave has not pushed the benchmark's schema"
    start = time.time() * 1000 - 1_000_000
    for channel in [f"channel {number}" for number in range(CHANNELS)] + ["latency"]:
        rows = [
            {"channel": channel, "author": "bench", "body": f"an earlier message, number {i}, {'x' * 80}"}
            for i in range(CHANNEL_MESSAGES)
        ]
        await database["messages"].insert_many(
            {"_id": new_id(table["number"], runtime), "_creationTime": start + i, **row} for i, row in enumerate(rows)
        )
        await database["baseline_messages"].insert_many({**row, "createdAt": start + i} for i, row in enumerate(rows))
    await client.close()


async def run(quick: bool, only: list[str], console: Console) -> list[Figure]:
    figures: list[Figure] = []
    async with (
        mongod() as database,
        server("baseline", database.uri) as baseline,
        server("concave", database.uri) as concave,
    ):
        await fill(database.uri)
        bench = Bench(database.uri, Sizes.of(quick), concave, baseline)
        parts: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
            "latency": bench.latency,
            "throughput": bench.throughput,
            "fanout": bench.fanout,
            "channels": bench.channels,
            "reads": bench.reads,
            "memory": bench.memory,
        }
        for name, part in parts.items():
            if not only or name in only:
                with console.status(f"measuring {name}"):
                    figures += await part()
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements")
    parser.add_argument(
        "--only", action="append", default=[], help="latency, throughput, fanout, channels, reads, memory"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    console = Console(width=140)
    figures = asyncio.run(run(options.quick, options.only, console))
    return conclude("the live path", figures, console, options.json)


if __name__ == "__main__":
    sys.exit(main())
