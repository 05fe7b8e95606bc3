"""Motor against PyMongo's asyncio API, on what the engine asks of a driver: keeps the choice of driver a measured one.

Run: `python bench/drivers.py [--seconds S]`. Starts a mongod of its own, prints one table and JSON. Rounds alternate
between the drivers, so that a disturbance meets both; the ratio is of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

from pymongo import AsyncMongoClient
from rich.console import Console
from rich.table import Table

from concave.storage.lane import Lanes
from servers import mongod

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from motor.motor_asyncio import AsyncIOMotorClient

ROUND_OPERATIONS = 50
POINT_READ = {"find": "documents", "filter": {"_id": 17}, "limit": 1, "singleBatch": True}
RANGE_READ = {"find": "documents", "filter": {}, "sort": {"_id": -1}, "limit": 50, "singleBatch": True}

Operation = Callable[[], Awaitable[object]]


async def fill(client: AsyncMongoClient[dict[str, Any]]) -> None:
    documents = client.get_default_database()["documents"]
    await documents.insert_many({"_id": i, "channel": "general", "body": "x" * 120, "at": float(i)} for i in range(500))


def operations(pymongo: Any, motor: Any, lanes: Lanes) -> dict[str, dict[str, Operation]]:
    """For each thing to do: how each driver does it."""
    databases = {"Motor": motor.get_default_database(), "PyMongo": pymongo.get_default_database()}

    def insert(database: Any) -> Operation:
        return lambda: database["inserted"].insert_one({"channel": "general", "body": "x" * 120})

    def command(database: Any, body: dict[str, Any]) -> Operation:
        return lambda: database.command(body)

    return {
        "insert_one, majority": {name: insert(database) for name, database in databases.items()},
        "read one document": {
            **{name: command(database, POINT_READ) for name, database in databases.items()},
            "lane": lambda: lanes.command(POINT_READ),
        },
        "read 50 documents": {
            **{name: command(database, RANGE_READ) for name, database in databases.items()},
            "lane": lambda: lanes.command(RANGE_READ),
        },
    }


async def measure(drivers: dict[str, Operation], seconds: float) -> dict[str, dict[str, float]]:
    """Median milliseconds and CPU microseconds of this process for one operation, for each driver."""
    elapsed: dict[str, list[float]] = {name: [] for name in drivers}
    cpu: dict[str, list[float]] = {name: [] for name in drivers}
    for operation in drivers.values():
        await operation()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, operation in drivers.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            for _ in range(ROUND_OPERATIONS):
                await operation()
            elapsed[name].append((time.perf_counter() - wall_start) / ROUND_OPERATIONS * 1e3)
            cpu[name].append((time.process_time() - cpu_start) / ROUND_OPERATIONS * 1e6)
    return {name: {"ms": statistics.median(elapsed[name]), "cpuUs": statistics.median(cpu[name])} for name in drivers}


async def run(seconds: float) -> dict[str, dict[str, dict[str, float]]]:
    async with mongod() as database:
        pymongo: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(database.uri, w="majority")
        motor = AsyncIOMotorClient(database.uri, w="majority")
        lanes = Lanes(pymongo, "bench")
        try:
            await fill(pymongo)
            return {
                name: await measure(drivers, seconds) for name, drivers in operations(pymongo, motor, lanes).items()
            }
        finally:
            await lanes.close()
            await pymongo.close()
            motor.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each operation")
    console = Console(width=120)
    figures = asyncio.run(run(parser.parse_args().seconds))
    table = Table(title="drivers", title_justify="left")
    for heading in ("operation", "driver", "ms", "CPU, us", "of Motor's time", "of Motor's CPU"):
        table.add_column(heading, justify="left" if heading in ("operation", "driver") else "right")
    for name, drivers in figures.items():
        motor = drivers["Motor"]
        for driver, figure in drivers.items():
            ratios = (f"{figure['ms'] / motor['ms']:.2f}", f"{figure['cpuUs'] / motor['cpuUs']:.2f}")
            table.add_row(name, driver, f"{figure['ms']:.3f}", f"{figure['cpuUs']:.0f}", *ratios)
    console.print(table)
    console.print_json(json.dumps(figures))


if __name__ == "__main__":
    main()
