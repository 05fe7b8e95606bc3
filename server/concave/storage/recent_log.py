"""What was committed lately, in memory: the answer to "has anything I read changed since?".

Two callers ask it. The committer asks for each transaction, with the transaction's read set and snapshot (I1).
The reactive layer asks when a query's run ends, for what was committed while it ran (I2).

The log is bounded. A question about a time before `floor` is answered with a hit, because nothing is known of
it: late, never wrong.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from concave.storage.store import DocumentWrite
from concave.values.intervals import IntervalSet
from concave.values.keys import key_bytes
from concave.values.types import Timestamp

COMMITS_MAX = 20_000
"""How many commits are remembered. A transaction or a query that outlives so many runs again."""


@dataclass(slots=True, frozen=True)
class Published:
    """Something that took effect at `ts`: an own or another node's commit, a foreign write, or a loss of history.

    `tables` are to be taken as wholly changed; with `everything`, all that is held must be taken as changed.
    `functions` names, for each of `writes`, the function that wrote it: for conflict messages only. `is_own` is true
    of this node's own commits, `is_foreign` of what another program wrote.
    """

    ts: Timestamp
    writes: tuple[DocumentWrite, ...] = ()
    tables: frozenset[str] = frozenset()
    everything: bool = False
    functions: tuple[str, ...] = ()
    is_own: bool = False
    is_foreign: bool = False


@dataclass(slots=True, frozen=True)
class Hit:
    """The first commit that touched a read set: when, in which table ("" when history was lost), and by whom.

    `function` and `id` are empty where it is not known which function changed which document.
    """

    ts: Timestamp
    table: str
    function: str = ""
    id: str = ""
    is_own: bool = False
    is_foreign: bool = False


TableProbes = dict[str, list[tuple[str, bytes]]]
"""The keys that a set of writes took away or brought, as (index, key bytes), by table."""


def probes(writes: tuple[DocumentWrite, ...]) -> TableProbes:
    """Every old and new key of the writes; a key that the write left in place counts once."""
    by_table: TableProbes = {}
    for write in writes:
        keys = by_table.setdefault(write.table, [])
        for change in write.keys:
            if change.before is not None:
                keys.append((change.index, key_bytes(change.before)))
            if change.after is not None and change.after != change.before:
                keys.append((change.index, key_bytes(change.after)))
    return by_table


@dataclass(slots=True, frozen=True)
class _Remembered:
    published: Published
    probes: TableProbes


class RecentLog:
    """The last `commits_max` things published, oldest first. Timestamps never decrease."""

    def __init__(self, floor: Timestamp, *, commits_max: int = COMMITS_MAX) -> None:
        self._floor = floor
        self._commits_max = commits_max
        self._timestamps: list[Timestamp] = []
        self._commits: list[_Remembered] = []

    @property
    def floor(self) -> Timestamp:
        """Everything published after this timestamp is remembered."""
        return self._floor

    def append(self, published: Published) -> None:
        if published.everything:
            self._timestamps.clear()
            self._commits.clear()
            self._floor = published.ts
            return
        assert not self._timestamps or published.ts >= self._timestamps[-1]
        self._timestamps.append(published.ts)
        self._commits.append(_Remembered(published, probes(published.writes)))
        if len(self._commits) >= 2 * self._commits_max:
            self._trim()

    def first_hit(self, read_set: IntervalSet, after: Timestamp) -> Hit | None:
        """The first thing published after `after` (exclusive) that touches `read_set`, or None."""
        if after < self._floor:
            return Hit(self._floor, "", "")
        start = bisect_right(self._timestamps, after)
        if start == len(self._timestamps):
            return None
        tables = read_set.tables()
        if not tables:
            return None
        for position in range(start, len(self._commits)):
            commit = self._commits[position]
            published = commit.published
            if published.tables:
                for table in published.tables:
                    if table in tables:
                        return Hit(published.ts, table, is_foreign=published.is_foreign)
            for table, keys in commit.probes.items():
                if table not in tables:
                    continue
                for index, key in keys:
                    if read_set.contains(table, index, key):
                        return _hit(published, table, index, key)
        return None

    def _trim(self) -> None:
        # Whole halves at a time, so that the cost of moving the list is spread over many appends.
        cut = len(self._commits) - self._commits_max
        self._floor = self._timestamps[cut - 1]
        # Commits that share the floor's timestamp with one that was cut are complete only together.
        while cut < len(self._timestamps) and self._timestamps[cut] == self._floor:
            cut += 1
        del self._timestamps[:cut]
        del self._commits[:cut]


def _hit(published: Published, table: str, index: str, key: bytes) -> Hit:
    """Who wrote this key."""
    position = writer_of(published.writes, table, index, key)
    return Hit(
        published.ts,
        table,
        published.functions[position] if published.functions else "",
        published.writes[position].id,
        published.is_own,
        published.is_foreign,
    )


def writer_of(writes: tuple[DocumentWrite, ...], table: str, index: str, key: bytes) -> int:
    """The position of the write that took away or brought this key. It must be among them."""
    for position, write in enumerate(writes):
        if write.table == table:
            for change in write.keys:
                if change.index == index and any(
                    side is not None and key_bytes(side) == key for side in (change.before, change.after)
                ):
                    return position
    raise AssertionError("the key is of none of the writes")
