"""What reactivity costs at scale: a million intervals in the invalidation index, and many live queries. No database.

Run: `python bench/scale.py`. Prints one JSON line: bytes an interval takes, in the index and in the read set that it is
of; microseconds to find who is hit by a commit of one document, with a thousand and with a million intervals
registered; bytes a live query takes.
"""

from __future__ import annotations

import gc
import json
import statistics
import time

import psutil

from concave.reactive.content import Content
from concave.reactive.invalidation import InvalidationIndex
from concave.reactive.live_query import LiveQuery, Version
from concave.storage.recent_log import Published
from concave.storage.store import DocumentWrite, IndexKeyChange
from concave.values.intervals import Interval, IntervalSet, point
from concave.values.keys import encode_column
from concave.values.types import Timestamp

FEW = 1_000
MANY = 1_000_000
LIVE_QUERIES = 20_000
INTERVALS_EACH = 100
"""Intervals of one live query in the crowded index: half of them points, half ranges of an index."""


def memory() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def read_set(number: int, count: int) -> IntervalSet:
    found = IntervalSet()
    for each in range(count // 2):
        found.add(point("messages", f"{number:08}{each:024}"))
        prefix = encode_column(f"channel {number} {each}")
        found.add(Interval("messages", "by_channel", prefix, 1, prefix, prefix + b"\xff"))
    return found


def live_query(number: int, count: int) -> LiveQuery:
    args = b'{"channel":"channel %d"}' % number
    live = LiveQuery("messages:list", args, journal=None, identity=None, internal_ok=False)
    live.version = Version(Content(False, b"[]", None, b"[]", b"[]"), Timestamp(1), read_set(number, count))
    return live


def commit(channel: str) -> Published:
    document_id = "x" * 32
    created = encode_column(1.0)
    keys = (
        IndexKeyChange("by_id", None, (encode_column(document_id),)),
        IndexKeyChange("by_creation_time", None, (created, encode_column(document_id))),
        IndexKeyChange("by_channel", None, (encode_column(channel), created, encode_column(document_id))),
    )
    return Published(Timestamp(2), (DocumentWrite("messages", document_id, None, {}, keys),))


def hit_us(index: InvalidationIndex) -> float:
    """A commit that hits exactly one live query."""
    published = commit("channel 3 7")
    assert len(index.hits(published)) == 1
    times = []
    for _ in range(50):
        started = time.perf_counter()
        for _ in range(100):
            index.hits(published)
        times.append((time.perf_counter() - started) * 1e4)
    return statistics.median(times)


def fill(index: InvalidationIndex, held: list[LiveQuery], intervals: int) -> None:
    while len(index) < intervals:
        live = live_query(len(held), INTERVALS_EACH)
        assert live.version is not None
        index.register(live, live.version.read_set)
        held.append(live)


def main() -> None:
    index, held = InvalidationIndex(), list[LiveQuery]()
    fill(index, held, FEW)
    few_us = hit_us(index)
    started = memory()
    fill(index, held, MANY)
    interval_bytes = (memory() - started) / (MANY - FEW)
    many_us = hit_us(index)
    started = memory()
    queries = [live_query(number, 2) for number in range(LIVE_QUERIES)]
    for live in queries:
        assert live.version is not None
        index.register(live, live.version.read_set)
    live_bytes = (memory() - started) / LIVE_QUERIES
    figures = {"intervalBytes": interval_bytes, "fewUs": few_us, "manyUs": many_us, "liveQueryBytes": live_bytes}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
