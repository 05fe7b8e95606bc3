"""Sets of index keys: what a transaction read, and who must hear of a write (`spec/data-model.md` 7.3).

An *interval* is a half-open range of key bytes in one index, see `keys.py` for how conditions become bounds. Its
*prefix* is the encoded equality columns in front, its *depth* their number: all keys of the interval begin with the
prefix. `IntervalSet` is one transaction's read set. `IntervalIndex` holds the intervals of all live queries and finds
those that a written key lies in.

A write touches an interval if the document's key before or after the write lies in it; the caller asks for both.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from concave.values.keys import PREFIX_END, IndexKey, encode_column
from concave.values.stabbing import Owners, RangeTree, add_owner, collect_owners, discard_owner

T = TypeVar("T", bound=Hashable)

BY_ID: Final = "by_id"
BY_CREATION_TIME: Final = "by_creation_time"


@dataclass(slots=True, unsafe_hash=True)
class Interval:
    """The keys `low <= key < high` of one index. `low` and `high` lie within `[prefix, prefix ff]`.

    Never changed once made. Not `frozen`, since every read makes one: 0.1 us this way, 0.6 us frozen.
    """

    table: str
    index: str
    prefix: bytes
    depth: int
    low: bytes
    high: bytes


def point(table: str, id: str) -> Interval:
    """The one key of `by_id` that a document has, whether it exists or not."""
    prefix = encode_column(id)
    return Interval(table, BY_ID, prefix, 1, prefix, prefix + PREFIX_END)


def whole_table(table: str) -> Interval:
    """Every key of `by_creation_time`, and so every document of the table."""
    return Interval(table, BY_CREATION_TIME, b"", 0, b"", PREFIX_END)


class IntervalSet:
    """A read set: intervals by index, sorted, those that overlap or touch merged into one.

    `len` is the number of intervals after merging, which is what the limit on index ranges counts.
    Adding costs a bisection and the shifting of a list; looking up costs a bisection.
    """

    __slots__ = ("_by_index", "_count")

    def __init__(self) -> None:
        # Lows apart from the intervals, so that bisecting compares bytes and nothing else.
        self._by_index: dict[tuple[str, str], tuple[list[bytes], list[Interval]]] = {}
        self._count = 0

    def add(self, interval: Interval) -> None:
        """Take the keys of `interval` into the set. An empty interval adds nothing."""
        low = interval.low
        high = interval.high
        if low >= high:
            return
        where = (interval.table, interval.index)
        held = self._by_index.get(where)
        if held is None:
            self._by_index[where] = ([low], [interval])
            self._count += 1
            return
        lows, intervals = held
        first = bisect_left(lows, low)
        if first and intervals[first - 1].high >= low:
            first -= 1
        # All from `first` up to `last` overlap the new one or touch it.
        last = bisect_right(lows, high, first)
        if last == first:
            lows.insert(first, low)
            intervals.insert(first, interval)
            self._count += 1
            return
        if last == first + 1 and lows[first] <= low and intervals[first].high >= high:
            return
        merged = interval
        for other in intervals[first:last]:
            merged = _merge(merged, other)
        lows[first:last] = [merged.low]
        intervals[first:last] = [merged]
        self._count -= last - first - 1

    def update(self, other: IntervalSet) -> None:
        """Take in every key of another set."""
        for where, (lows, intervals) in other._by_index.items():
            if where in self._by_index:
                for interval in intervals:
                    self.add(interval)
            else:
                self._by_index[where] = (lows.copy(), intervals.copy())
                self._count += len(intervals)

    def contains(self, table: str, index: str, key: bytes) -> bool:
        """Whether the key (as `keys.key_bytes`) of one index lies in the set. O(log n)."""
        held = self._by_index.get((table, index))
        if held is None:
            return False
        lows, intervals = held
        position = bisect_right(lows, key) - 1
        return position >= 0 and key < intervals[position].high

    def tables(self) -> set[str]:
        """The tables that anything was read of."""
        return {table for table, _ in self._by_index}

    def __iter__(self) -> Iterator[Interval]:
        """The merged intervals, sorted within each index."""
        for _, intervals in self._by_index.values():
            yield from intervals

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"IntervalSet({list(self)!r})"


def _merge(a: Interval, b: Interval) -> Interval:
    """One interval over both, which overlap or touch.

    Its prefix is the shorter of the two: by the grammar of bounds prefixes are nested or disjoint, and ranges of
    disjoint prefixes neither overlap nor touch. Should they yet, no prefix is claimed, which is right for any range.
    """
    if a.depth > b.depth:
        a, b = b, a
    prefix, depth = (a.prefix, a.depth) if b.prefix.startswith(a.prefix) else (b"", 0)
    return Interval(a.table, a.index, prefix, depth, min(a.low, b.low), max(a.high, b.high))


class IntervalIndex(Generic[T]):
    """Who holds an interval that a key lies in, found by look-up: the cost does not depend on how many are held.

    Intervals are grouped by table, index, depth and prefix. A written key is looked up once per depth that is in use in
    its index. Within a group the commonest interval covers the whole prefix (an equality query read to its end, a point
    read): its owners are a set, and all are hit. Other ranges (a page, a `take` that filled up) are in a tree that is
    stabbed in O(log n + hits * log n) at worst, see `stabbing.py`.

    The pairs (interval, owner) are a set: adding one twice is adding it once, removing one not held does nothing.

    Memory, measured at a million intervals: one that covers its whole prefix and is alone there costs a dictionary
    entry, 42 bytes, besides the prefix itself, which is shared with the owner's `Interval`. Any other range costs
    230 bytes if it is alone in its group, 145 in company.
    """

    __slots__ = ("_count", "_tables")

    def __init__(self) -> None:
        self._tables: dict[str, dict[str, dict[int, dict[bytes, Owners[T] | _Group[T]]]]] = {}
        self._count = 0

    def add(self, interval: Interval, owner: T) -> None:
        """Let `owner` be found by keys in `interval`. An empty interval is ignored."""
        prefix, low, high = interval.prefix, interval.low, interval.high
        if low >= high:
            return
        depths = self._tables.setdefault(interval.table, {}).setdefault(interval.index, {})
        groups = depths.setdefault(interval.depth, {})
        entry = groups.get(prefix)
        if _is_whole(interval):
            if isinstance(entry, _Group):
                owners, added = add_owner(entry.whole, owner)
                entry.whole = owners
            else:
                groups[prefix], added = add_owner(entry, owner)
        else:
            if not isinstance(entry, _Group):
                entry = groups[prefix] = _Group(entry)
            added = entry.add(low, high, owner)
        self._count += added

    def remove(self, interval: Interval, owner: T) -> None:
        """Forget the pair, if it is held."""
        prefix = interval.prefix
        try:
            groups = self._tables[interval.table][interval.index][interval.depth]
            entry = groups[prefix]
        except KeyError:
            return
        if isinstance(entry, _Group):
            if _is_whole(interval):
                entry.whole, removed = discard_owner(entry.whole, owner)
            else:
                removed = entry.discard(interval.low, interval.high, owner)
            left = entry if entry.has_ranges else entry.whole
        else:
            left, removed = discard_owner(entry, owner) if _is_whole(interval) else (entry, False)
        self._count -= removed
        if left is None:
            del groups[prefix]
            self._prune(interval.table, interval.index, interval.depth)
        else:
            groups[prefix] = left

    def hits(self, table: str, index: str, key: IndexKey) -> set[T]:
        """The owners of intervals that the key lies in."""
        found: set[T] = set()
        depths = self._tables.get(table, {}).get(index)
        if depths is None:
            return found
        full = b"".join(key)
        for depth, groups in depths.items():
            prefix = key[0] if depth == 1 else b"".join(key[:depth])
            entry = groups.get(prefix)
            if entry is None:
                continue
            if isinstance(entry, _Group):
                collect_owners(entry.whole, found)
                entry.stab(full, found)
            else:
                collect_owners(entry, found)
        return found

    def table_owners(self, table: str) -> set[T]:
        """Everyone who holds any interval of the table. Walks all of them: for changes known by table only."""
        found: set[T] = set()
        for depths in self._tables.get(table, {}).values():
            for groups in depths.values():
                for entry in groups.values():
                    if isinstance(entry, _Group):
                        collect_owners(entry.whole, found)
                        entry.collect(found)
                    else:
                        collect_owners(entry, found)
        return found

    def __len__(self) -> int:
        """How many (interval, owner) pairs are held."""
        return self._count

    def _prune(self, table: str, index: str, depth: int) -> None:
        """Drop what became empty, so that `hits` looks at depths in use only."""
        indexes = self._tables[table]
        depths = indexes[index]
        if not depths[depth]:
            del depths[depth]
        if not depths:
            del indexes[index]
        if not indexes:
            del self._tables[table]


class _Group(RangeTree[T]):
    """The intervals of one prefix, once there is one that does not cover the whole prefix: the tree of those, and the
    owners of the whole prefix. One object for both saves 50 bytes for every live query that takes some rows."""

    __slots__ = ("whole",)

    def __init__(self, whole: Owners[T]) -> None:
        super().__init__()
        self.whole = whole


def _is_whole(interval: Interval) -> bool:
    prefix = interval.prefix
    return interval.low == prefix and interval.high == prefix + PREFIX_END
