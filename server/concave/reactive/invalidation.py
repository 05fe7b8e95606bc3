"""From what was written to the live queries that had read it (design.md section 5).

Each live query with a version is registered under the intervals of its read set. A written key is looked up once per
index column; a commit costs O(documents written x index columns + queries hit), however many are registered.

Measured by `bench/scale.py`: the look-up for a commit of one document in three indexes, which hits one query, takes
0.9 us with a thousand intervals registered and with a million. An interval takes 380 bytes: 250 in the read set
of the query's version, 130 in this index.
"""

from __future__ import annotations

from concave.reactive.live_query import LiveQuery
from concave.storage.recent_log import Published
from concave.values.intervals import IntervalIndex, IntervalSet


class InvalidationIndex:
    """Which live queries depend on which index intervals."""

    def __init__(self) -> None:
        self._index: IntervalIndex[LiveQuery] = IntervalIndex()

    def register(self, live: LiveQuery, read_set: IntervalSet) -> None:
        """Make the intervals of `read_set` those that `live` is found by, instead of the ones it had before."""
        wanted = frozenset(read_set)
        held = live.intervals
        # Most runs read what the run before had read: then there is nothing to do.
        if wanted == held:
            return
        for interval in held - wanted:
            self._index.remove(interval, live)
        for interval in wanted - held:
            self._index.add(interval, live)
        live.intervals = wanted

    def unregister(self, live: LiveQuery) -> None:
        for interval in live.intervals:
            self._index.remove(interval, live)
        live.intervals = frozenset()

    def hits(self, published: Published) -> set[LiveQuery]:
        """The live queries whose registered intervals what was published touches.

        `published.everything` is the caller's to deal with: it hits queries that are registered nowhere, too.
        """
        found: set[LiveQuery] = set()
        index = self._index
        for write in published.writes:
            table = write.table
            for change in write.keys:
                before, after = change.before, change.after
                if before is not None:
                    found |= index.hits(table, change.index, before)
                if after is not None and after != before:
                    found |= index.hits(table, change.index, after)
        for table in published.tables:
            found |= index.table_owners(table)
        return found

    def __len__(self) -> int:
        """How many intervals are registered."""
        return len(self._index)
