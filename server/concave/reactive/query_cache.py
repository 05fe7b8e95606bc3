"""Every live query by its identity, and those that nobody subscribes to, kept for the next caller.

An entry without subscribers is kept only while it is fresh and no error, in least-recently-used order, bounded in
number and in bytes. Errors are never cached (spec/function-runtime.md 9). A write that touches such an entry drops it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from concave.functions.frames import Identity
from concave.reactive.invalidation import InvalidationIndex
from concave.reactive.live_query import LiveQuery, LiveState, QueryKey, identity_key

CACHED_BYTES_MAX = 100 * 1024 * 1024
"""Results and arguments of entries without subscribers; upstream's figure for self-hosted servers."""

CACHED_ENTRIES_MAX = 20_000
"""Entries without subscribers: bounds their read sets in the invalidation index, which bytes do not measure."""


@dataclass(slots=True)
class CacheStatistics:
    """`entries` and `bytes` are of what has no subscribers; `live` counts all."""

    live: int
    entries: int
    bytes: int
    hits: int
    misses: int


class QueryCache:
    def __init__(
        self,
        invalidation: InvalidationIndex,
        *,
        bytes_max: int = CACHED_BYTES_MAX,
        entries_max: int = CACHED_ENTRIES_MAX,
    ) -> None:
        self._invalidation = invalidation
        self._bytes_max = bytes_max
        self._entries_max = entries_max
        self._filed: dict[QueryKey, LiveQuery] = {}
        self._unfiled: set[LiveQuery] = set()
        """Those that serve their subscribers but are no longer found by newcomers."""
        self._unused: OrderedDict[LiveQuery, int] = OrderedDict()
        """Entries without subscribers and their sizes, the least recently used first."""
        self._unused_bytes = 0
        self.hits = 0
        self.misses = 0

    def resolve(
        self, path: str, args_json: bytes, *, journal: str | None, identity: Identity | None, internal_ok: bool
    ) -> LiveQuery:
        """The live query for this call: one that holds for every caller, else the caller's own, else a new one."""
        live = self._filed.get(QueryKey(path, args_json, journal, internal_ok, None))
        if live is None:
            key = QueryKey(path, args_json, journal, internal_ok, identity_key(identity))
            live = self._filed.get(key)
            if live is None:
                live = LiveQuery(path, args_json, journal=journal, identity=identity, internal_ok=internal_ok)
                live.key = key
                self._filed[key] = live
        if live in self._unused:
            self._unused.move_to_end(live)
        return live

    def file_by_use_of_identity(self, live: LiveQuery, *, read_identity: bool) -> None:
        """File the query under everybody, or under its own caller, according to what its last run looked at.

        Where the place is taken already, the query stays where it was, or in no place: it goes on serving its
        subscribers and newcomers find the other one.
        """
        key = live.key
        if key is None or (key.identity is None) is not read_identity:
            return
        wanted = key._replace(identity=live.identity_key if read_identity else None)
        taken = wanted in self._filed
        if taken and not read_identity:
            return
        del self._filed[key]
        if taken:
            live.key = None
            self._unfiled.add(live)
        else:
            live.key = wanted
            self._filed[wanted] = live

    def settle(self, live: LiveQuery) -> None:
        """Keep, or let go of, a live query after it lost a subscriber, ended a run or was touched by a write."""
        if live.subscriptions or live.runs:
            self._forget_unused(live)
            return
        version = live.version
        if version is None or live.key is None or live.state is not LiveState.FRESH or version.content.failed:
            self._drop(live)
            return
        self._forget_unused(live)
        size = version.content.size + len(live.args_json)
        self._unused[live] = size
        self._unused_bytes += size
        while self._unused_bytes > self._bytes_max or len(self._unused) > self._entries_max:
            self._drop(next(iter(self._unused)))

    def live_queries(self) -> Iterable[LiveQuery]:
        """All of them, in no particular order."""
        return [*self._filed.values(), *self._unfiled]

    def statistics(self) -> CacheStatistics:
        return CacheStatistics(
            len(self._filed) + len(self._unfiled), len(self._unused), self._unused_bytes, self.hits, self.misses
        )

    def _forget_unused(self, live: LiveQuery) -> None:
        size = self._unused.pop(live, None)
        if size is not None:
            self._unused_bytes -= size

    def _drop(self, live: LiveQuery) -> None:
        self._forget_unused(live)
        self._invalidation.unregister(live)
        self._unfiled.discard(live)
        if live.key is not None:
            del self._filed[live.key]
            live.key = None
