"""The one door through which changes enter a node, in order of their timestamps.

Own commits (from the committer) and what the feed brings (other nodes' commits, foreign writes, progress) meet
here. Invariants:

* Listeners hear of everything that took effect up to `T` before `latest_ts` becomes `T` (I2 rests on this).
* Timestamps that listeners hear never decrease.
* While an own commit is in flight its timestamp is unknown, so nothing from the feed is published: it might lie
  on either side of the commit. It is held, and published when the commit is settled.

A foreign write may be heard of after `latest_ts` has passed its time, because an own commit does not wait for the
feed. It is then published at `latest_ts`: every query that holds an older value runs again at a snapshot that
includes it (I7). Between the two a live query may miss a foreign write that its timestamp covers; commits of
concave's own nodes are never missed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from concave.storage.recent_log import Published, RecentLog
from concave.storage.store import (
    FeedEvent,
    FeedGap,
    FeedProgress,
    ForeignWrite,
    LogEntry,
    RemoteCommit,
    Store,
    TurnWanted,
)
from concave.storage.turns import Turns
from concave.values.runtime import Runtime
from concave.values.types import Timestamp

logger = logging.getLogger(__name__)

Listener = Callable[[Published], None]


class Timeline:
    """The node's place in time: the newest timestamp it may read at, and the log number that goes with it."""

    def __init__(self, latest_ts: Timestamp, last_seq: int) -> None:
        self._latest_ts = latest_ts
        self._last_seq = last_seq
        self._feed_ts = latest_ts
        self._recent_log = RecentLog(latest_ts)
        self._listeners: list[Listener] = []
        self._appending = False
        self._held: list[FeedEvent] = []
        self._turns: Turns | None = None
        self._changed: asyncio.Event = asyncio.Event()

    @classmethod
    async def open(cls, store: Store) -> Timeline:
        """A timeline that starts at the store's current time."""
        ts = await store.current_ts()
        return cls(ts, await store.last_seq(ts))

    @property
    def latest_ts(self) -> Timestamp:
        """The newest timestamp at which all is known; new reads use it."""
        return self._latest_ts

    @property
    def last_seq(self) -> int:
        """The number of the newest log entry that was published."""
        return self._last_seq

    @property
    def feed_ts(self) -> Timestamp:
        """Up to when everything that the feed brings was published. Own commits do not move it."""
        return self._feed_ts

    @property
    def recent_log(self) -> RecentLog:
        return self._recent_log

    def add_listener(self, listener: Listener) -> None:
        """Have `listener` called, synchronously, for everything published from now on."""
        self._listeners.append(listener)

    def inform(self, turns: Turns) -> None:
        """Keep the committer's view of turns up to date from now on."""
        self._turns = turns

    # -- own commits ---------------------------------------------------------------------------------------------

    def begin_append(self) -> int:
        """Announce that an own commit is under way; returns the log number it is to carry."""
        assert not self._appending, "one own commit at a time"
        self._appending = True
        return self._last_seq + 1

    def end_append(self, entry: LogEntry, published: Published, announce: Callable[[], None]) -> None:
        """The own commit took effect. `announce` runs after what preceded it and before listeners hear of it."""
        assert self._appending
        assert entry.seq == self._last_seq + 1
        self._appending = False
        held, self._held = self._held, []
        later = [event for event in held if event.ts > published.ts] if held else held
        for event in held:
            if event.ts <= published.ts:
                self._receive(event)
        announce()
        self._last_seq = entry.seq
        self._publish(published)
        if self._turns is not None:
            self._turns.entry_published(entry.node, entry.turns)
        for event in later:
            self._receive(event)

    async def lose_append(self, store: Store, runtime: Runtime) -> None:
        """Nobody knows whether the own commit took effect. Nothing is published until the store's present is known, and
        then all is taken as changed: what the feed brings meanwhile would move time past a commit not heard of.
        """
        assert self._appending
        gap = await self._present(store, runtime)
        held, self._held = self._held, []
        self._appending = False
        self._receive(gap)
        for event in held:
            self._receive(event)

    def abort_append(self) -> None:
        """The own commit did not take effect."""
        assert self._appending
        self._appending = False
        held, self._held = self._held, []
        for event in held:
            self._receive(event)

    # -- the feed ------------------------------------------------------------------------------------------------

    def receive(self, event: FeedEvent) -> None:
        """Take in one feed event, now or when the own commit under way is settled."""
        if isinstance(event, TurnWanted):
            if self._turns is not None:
                self._turns.asked_for(event.node)
        elif self._appending:
            self._held.append(event)
        else:
            self._receive(event)

    async def follow(self, store: Store, runtime: Runtime) -> None:
        """Receive the store's feed until cancelled. Started once by the node's owner."""
        while True:
            try:
                async for event in store.feed(self._latest_ts):
                    self.receive(event)
            except Exception:
                # A store reconnects by itself; what still gets here is a bug or a vanished database. Without a
                # feed nothing is known of the time in between, so all is taken as changed when it is back.
                logger.exception("the change feed failed; starting it again")
            await runtime.sleep(1.0)
            await self.resync(store, runtime)

    async def resync(self, store: Store, runtime: Runtime) -> None:
        """Start again from the store's current time, taking everything as changed. Retries until it answers."""
        self.receive(await self._present(store, runtime))

    async def _present(self, store: Store, runtime: Runtime) -> FeedGap:
        while True:
            try:
                ts = await store.current_ts()
                return FeedGap(ts, await store.last_seq(ts))
            except Exception as error:
                logger.warning("the database does not answer (%s); trying again", error)
                await runtime.sleep(1.0)

    async def wait_for_seq(self, seq: int) -> None:
        """Wait until log entry `seq` has been published. Callers bound the wait."""
        while self._last_seq < seq:
            self._changed.clear()
            await self._changed.wait()

    async def wait_for_ts(self, ts: Timestamp) -> None:
        """Wait until `latest_ts` has reached `ts`. Callers bound the wait."""
        while self._latest_ts < ts:
            self._changed.clear()
            await self._changed.wait()

    def _receive(self, event: FeedEvent) -> None:
        match event:
            case FeedProgress(ts):
                self._feed_ts = max(self._feed_ts, ts)
                if ts > self._latest_ts:
                    self._latest_ts = ts
                    self._changed.set()
            case RemoteCommit(entry):
                self._last_seq = max(self._last_seq, entry.seq)
                self._publish(Published(self._at(entry.ts), entry.writes, functions=entry.functions))
                if self._turns is not None:
                    self._turns.entry_published(entry.node, entry.turns)
            case ForeignWrite(table, ts, write, precise):
                if precise and write is not None:
                    self._publish(Published(self._at(ts), (write,), is_foreign=True))
                else:
                    self._publish(Published(self._at(ts), tables=frozenset((table,)), is_foreign=True))
            case FeedGap(ts, last_seq):
                self._last_seq = max(self._last_seq, last_seq)
                self._feed_ts = max(self._feed_ts, ts)
                self._publish(Published(self._at(ts), everything=True))
                if self._turns is not None:
                    self._turns.history_lost()

    def _at(self, ts: Timestamp) -> Timestamp:
        return max(ts, self._latest_ts)

    def _publish(self, published: Published) -> None:
        # The order matters: the log must know of a commit before a listener can start a read that it would miss.
        self._recent_log.append(published)
        for listener in self._listeners:
            listener(published)
        self._latest_ts = max(self._latest_ts, published.ts)
        self._changed.set()
