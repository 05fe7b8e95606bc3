"""The commit path, measured on one mongod against bare PyMongo and against itself under other conditions.

Run: `make bench-commit`, or `python bench/commit.py [--quick] [--only NAME] [--json FILE]`. Prints one table of ratios,
each beside the limit that it must keep, the profile of a mutation, and the same as JSON. Exit status 1 if a limit is
broken. Machines are noisy and shared, so what is compared is measured in turns, several times, and medians are taken.

Clients: latency is that of the official npm client. Where 64 clients or more are needed, one Node process plays all of
them with bare sockets (`clients/bare.mjs`, `clients/mix.mjs`), because that many official clients need more processor
time than the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from figures import Figure, amount, conclude, ratio
from live import fill
from servers import BENCH, Client, Server, mongod, server

CLIENTS = 64
LIVE_QUERIES_FEW = 5
LIVE_QUERIES_MANY = 500


@dataclass(frozen=True, slots=True)
class Sizes:
    rounds: int
    latency_messages: int
    seconds: float
    writes: int
    intervals: int

    @classmethod
    def of(cls, quick: bool) -> Sizes:
        return cls(1, 150, 2.0, 150, 20_000) if quick else cls(3, 300, 4.0, 400, 100_000)


@dataclass(slots=True)
class Bench:
    uri: str
    sizes: Sizes
    concave: Server
    notes: list[str] = field(default_factory=list)
    profile: list[dict[str, Any]] = field(default_factory=list)

    async def latency(self) -> list[Figure]:
        """One client, one mutation after the other."""
        count = self.sizes.latency_messages
        raw, concave = await self._in_turns(
            lambda: self._python("raw_inserts.py", "latency", count),
            lambda: self._client("latency.mjs", self.concave.url, count),
        )
        name = "one client, one insert after the other, p50"
        return [ratio(name, _median(concave, "p50"), _median(raw, "p50"), "raw insert_one", "ms", 1.6)]

    async def throughput(self) -> list[Figure]:
        """Many clients that insert at once; and what the server needed for each."""
        cpu: list[float] = []

        async def concave() -> dict[str, Any]:
            figures = await self._mutations([self.concave], "insert")
            cpu.append(figures["cpuUs"])
            return figures

        raw, ours = await self._in_turns(
            lambda: self._python("raw_inserts.py", "throughput", CLIENTS, self.sizes.seconds), concave
        )
        name = f"{CLIENTS} clients inserting, mutations a second"
        return [
            ratio(
                name,
                _median(ours, "perSecond"),
                _median(raw, "perSecond"),
                "raw insert_one",
                "/s",
                1.2,
                better="higher",
            ),
            amount(f"{CLIENTS} clients inserting, server CPU a mutation", median(cpu), "us", 400.0),
        ]

    async def hot(self) -> list[Figure]:
        """Read-modify-write on a document of one's own, and on one for all."""
        own, hot = await self._in_turns(
            lambda: self._mutations([self.concave], "own"), lambda: self._mutations([self.concave], "hot")
        )
        errors = sum(figures["errors"] for figures in hot)
        self.notes += [f"error on the hot document: {figures['firstError']}" for figures in hot if figures["errors"]]
        name = f"{CLIENTS} clients, read-modify-write of one document"
        return [
            ratio(name, _median(hot, "perSecond"), _median(own, "perSecond"), "of 64", "/s", 0.3, better="higher"),
            amount(f"{name}, errors", errors, "", 0),
            amount(f"{name}, increments lost", sum(abs(figures["lost"]) for figures in hot), "", 0),
            amount(f"{name}, slowest", max(figures["max"] for figures in hot), "ms", 5_000.0),
        ]

    async def workers(self) -> list[Figure]:
        """One process, and two, on one database."""
        async with AsyncExitStack() as stack:
            second = await stack.enter_async_context(server("concave", self.uri))
            both = [self.concave, second]
            one_mix, two_mix = await self._in_turns(lambda: self._mix([self.concave]), lambda: self._mix(both))
            one, two = await self._in_turns(
                lambda: self._mutations([self.concave], "insert"), lambda: self._mutations(both, "insert")
            )
            own, hot = await self._in_turns(lambda: self._mutations(both, "own"), lambda: self._mutations(both, "hot"))
        errors = sum(figures["errors"] for figures in two + own)
        shares = [min(figures["shares"]) / max(1, max(figures["shares"])) for figures in two]
        self.notes += [f"error on two processes: {figures['firstError']}" for figures in two + own if figures["errors"]]
        one_s, two_s, mix_one_s, mix_two_s = (_median(each, "perSecond") for each in (one, two, one_mix, two_mix))
        return [
            ratio("two processes, 95% reads, calls a second", mix_two_s, mix_one_s, "one", "/s", 1.3, better="higher"),
            ratio("two processes, inserts only, a second", two_s, one_s, "one", "/s", 0.8, better="higher"),
            amount(
                "two processes, inserts only, share of the slower to the faster",
                median(shares),
                "",
                0.5,
                better="higher",
            ),
            amount("two processes, inserts and own documents, errors", errors, "", 0),
            amount("two processes, inserts only, slowest", max(figures["max"] for figures in two), "ms", 5_000.0),
            ratio(
                "two processes, one hot document, a second",
                _median(hot, "perSecond"),
                _median(own, "perSecond"),
                "of 64",
                "/s",
                0.1,
                better="higher",
            ),
        ]

    async def live_queries(self) -> list[Figure]:
        """What a write costs the server while few and many live queries, and many intervals, are registered."""
        few, many = await self._in_turns(
            lambda: self._cpu_a_write(LIVE_QUERIES_FEW, 0), lambda: self._cpu_a_write(LIVE_QUERIES_MANY, 0)
        )
        intervals = self.sizes.intervals
        crowded = await self._cpu_a_write(LIVE_QUERIES_FEW, intervals)
        few_us, many_us = _median(few, "cpuUs"), _median(many, "cpuUs")
        reference = f"{LIVE_QUERIES_FEW} queries"
        return [
            ratio(f"{LIVE_QUERIES_MANY} live queries, server CPU a write", many_us, few_us, reference, "us", 1.2),
            ratio(
                f"{self.sizes.intervals:,} intervals, server CPU a write",
                crowded["cpuUs"],
                few_us,
                reference,
                "us",
                1.3,
            ),
        ]

    async def overhead(self) -> list[Figure]:
        """One session without a socket, in a process of its own: see `overhead.py`."""
        count = self.sizes.writes * 2
        store, engine = await self._in_turns(
            lambda: self._python("overhead.py", count, "store"), lambda: self._python("overhead.py", count)
        )
        self.profile = engine[-1]["top"]
        all_us, store_us = _median(engine, "cpuUs"), _median(store, "cpuUs")
        name = "one insert after the other, CPU a mutation less that of the commit"
        return [Figure(name, all_us, store_us, "commit", "us", all_us - store_us, 400.0, "lower")]

    async def scale(self) -> list[Figure]:
        """A million intervals, without a database: see `scale.py`."""
        found = await self._python("scale.py")
        name = "a commit's look-up among 1,000,000 intervals"
        return [
            ratio(name, found["manyUs"], found["fewUs"], "among 1,000", "us", 1.5),
            amount("memory of an interval, in the index and with its owner", found["intervalBytes"], "bytes", 500.0),
            amount("memory of a live query of two intervals", found["liveQueryBytes"], "bytes", 3_000.0),
        ]

    # -- how it is measured ----------------------------------------------------------------------------------------

    async def _in_turns(
        self, first: Callable[[], Awaitable[dict[str, Any]]], second: Callable[[], Awaitable[dict[str, Any]]]
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        firsts, seconds = [], []
        for _ in range(self.sizes.rounds):
            firsts.append(await first())
            seconds.append(await second())
        return firsts, seconds

    async def _python(self, script: str, *arguments: object) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(BENCH / script), self.uri, *map(str, arguments), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        figures: dict[str, Any] = json.loads(output.splitlines()[-1])
        return figures

    async def _client(self, script: str, *arguments: object) -> dict[str, Any]:
        async with Client.run(script, *arguments) as client:
            return await client.report()

    async def _mutations(self, servers: list[Server], kind: str) -> dict[str, Any]:
        return await self._load("mutations.mjs", servers, kind)

    async def _mix(self, servers: list[Server]) -> dict[str, Any]:
        return await self._load("mix.mjs", servers)

    async def _load(self, script: str, servers: list[Server], *more: object) -> dict[str, Any]:
        urls = ",".join(each.url for each in servers)
        async with Client.run(script, urls, CLIENTS, self.sizes.seconds, *more) as client:
            await client.report()
            await asyncio.sleep(0.5)
            cpu = sum(each.cpu_s() for each in servers)
            await client.go_on()
            figures = await client.report()
            calls = figures["calls"] if "calls" in figures else figures["sent"]
            figures["cpuUs"] = (sum(each.cpu_s() for each in servers) - cpu) * 1e6 / max(1, calls)
        await asyncio.sleep(0.5)
        return figures

    async def _cpu_a_write(self, queries: int, intervals: int) -> dict[str, Any]:
        """On a server of its own, so that nothing cached from before is in the way."""
        writes = self.sizes.writes
        async with (
            server("concave", self.uri) as fresh,
            Client.run("live_queries.mjs", fresh.url, queries, intervals, writes) as client,
        ):
            await client.report()
            await asyncio.sleep(1.0)
            cpu = fresh.cpu_s()
            await client.go_on()
            figures = await client.report()
            figures["cpuUs"] = (fresh.cpu_s() - cpu) * 1e6 / writes
        return figures


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return float(median(figures[name] for figures in runs))


def show_profile(rows: list[dict[str, Any]], console: Console) -> None:
    table = Table(title="a mutation that inserts a document: profile, by own time", title_justify="left")
    table.add_column("function")
    for heading in ("calls", "own us", "with callees us"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(row["function"], f"{row['calls']:.1f}", f"{row['ownUs']:.1f}", f"{row['totalUs']:.1f}")
    console.print(table)


async def run(quick: bool, only: list[str], console: Console) -> tuple[list[Figure], Bench]:
    figures: list[Figure] = []
    async with mongod() as database, server("concave", database.uri) as concave:
        await fill(database.uri)
        bench = Bench(database.uri, Sizes.of(quick), concave)
        parts: dict[str, Callable[[], Awaitable[list[Figure]]]] = {
            "latency": bench.latency,
            "throughput": bench.throughput,
            "hot": bench.hot,
            "workers": bench.workers,
            "live_queries": bench.live_queries,
            "overhead": bench.overhead,
            "scale": bench.scale,
        }
        for name, part in parts.items():
            if not only or name in only:
                console.print(f"measuring {name}")
                figures += await part()
    return figures, bench


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter measurements")
    parser.add_argument(
        "--only", action="append", default=[], help="latency, throughput, hot, workers, live_queries, overhead, scale"
    )
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    console = Console(width=150)
    figures, bench = asyncio.run(run(options.quick, options.only, console))
    if bench.profile:
        show_profile(bench.profile, console)
    for note in bench.notes:
        console.print(note, markup=False)
    return conclude("the commit path", figures, console, options.json)


if __name__ == "__main__":
    sys.exit(main())
