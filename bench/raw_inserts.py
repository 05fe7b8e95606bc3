"""Bare PyMongo, the other yardstick: `insert_one` with write concern majority, in a process of its own.

Run: `python bench/raw_inserts.py URI latency COUNT` or `... throughput WRITERS SECONDS`. Prints one JSON line.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import Any

from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.collection import AsyncCollection

Document = dict[str, Any]


def message(number: int) -> Document:
    return {
        "channel": "raw",
        "author": "bench",
        "body": f"message {number} {'x' * 120}",
        "createdAt": time.time() * 1000,
    }


def latency(uri: str, count: int) -> Document:
    """One insert after the other by the blocking client, spaced as the benchmark's writer spaces its mutations."""
    client: MongoClient[Document] = MongoClient(uri, w="majority")
    collection = client.get_default_database()["raw_messages"]
    collection.create_index([("channel", 1), ("createdAt", 1)])
    times: list[float] = []
    for number in range(count):
        start = time.perf_counter()
        collection.insert_one(message(number))
        times.append((time.perf_counter() - start) * 1000)
        time.sleep(0.005)
    client.close()
    measured = times[count // 10 :]
    return {"p50": statistics.median(measured), "p95": statistics.quantiles(measured, n=20)[-1]}


async def throughput(uri: str, writers: int, seconds: float) -> Document:
    client: AsyncMongoClient[Document] = AsyncMongoClient(uri, w="majority")
    collection = client.get_default_database()["raw_messages"]
    await collection.insert_one(message(0))
    end = time.perf_counter() + seconds

    async def write(collection: AsyncCollection[Document]) -> int:
        sent = 0
        while time.perf_counter() < end:
            await collection.insert_one(message(sent))
            sent += 1
        return sent

    start = time.perf_counter()
    sent = sum(await asyncio.gather(*(write(collection) for _ in range(writers))))
    elapsed = time.perf_counter() - start
    await client.close()
    return {"sent": sent, "perSecond": sent / elapsed}


if __name__ == "__main__":
    if sys.argv[2] == "latency":
        print(json.dumps(latency(sys.argv[1], int(sys.argv[3]))))
    else:
        print(json.dumps(asyncio.run(throughput(sys.argv[1], int(sys.argv[3]), float(sys.argv[4])))))
