"""Waiting lines: mutations that lost to another mutation on this node run one after the other (data-model.md 7.4).

Mutations run side by side and the committer refuses those that read what another changed. Where many want to change
one document, running them all again side by side would let one of them through in each round. So a mutation that lost
to one of its own node joins the line of the table in question. A line runs those that wait in the order in which they
came, each on top of what those before it wrote, and hands them to the committer as one chain: one commit for all.

* Nobody starves: from the moment that a member of a line has run until it is committed, what it read is reserved.
  Other mutations of this node that would change it join the line behind it, instead of being committed.
* Only what other nodes or foreign writers changed makes a member lose, after `losses_max` runs in the line.
* While a line moves, and for `LINGER_S` after, functions that stood in it join at once and spare themselves the first,
  mostly useless, run; unless they are slow, because a line is as slow as its members.
* A mutation that takes long does not hold up a line on its first losses: it first tries again by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from concave.database.overlay import Overlay
from concave.functions.permits import Permits
from concave.storage.committer import CommitRequest, Committer
from concave.storage.recent_log import probes
from concave.storage.store import DocumentWrite, Store
from concave.storage.timeline import Timeline
from concave.values.errors import ConflictError, OverloadError
from concave.values.intervals import IntervalSet
from concave.values.runtime import Runtime
from concave.values.types import Timestamp

CHAIN_MEMBERS_MAX: Final = 128
CHAIN_S: Final = 0.05
"""How long a line goes on running members before it commits those that have run."""

LINGER_S: Final = 0.05
SLOW_S: Final = 0.02
"""A run that takes so long is slow."""

SLOW_LOSSES: Final = 3
"""A slow mutation joins a line after so many losses."""


Prepare = Callable[[Timestamp, Overlay], Awaitable[CommitRequest]]
"""Runs a mutation at a snapshot, reading through the overlay. Raises what is nobody's fault but the moment's."""


@dataclass(slots=True, eq=False)
class Place:
    """One mutation's place in a line. `settled` becomes its commit's timestamp; or it raises what `commit` raises."""

    function: str
    prepare: Prepare
    settled: asyncio.Future[Timestamp]
    lost_at: Timestamp
    """The snapshot of the run that lost: at it, it would lose again."""
    losses: int = 0
    """Runs that lost to others than mutations of this node."""


@dataclass(slots=True, eq=False)
class Line:
    """The line of one table."""

    table: str
    waiting: deque[Place] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    functions: set[str] = field(default_factory=set)
    """The functions that have stood in this line since it came up."""
    reserved: IntervalSet = field(default_factory=IntervalSet)
    """What members have read that ran and are not committed."""
    run_s: float = 0.0
    """How long a member runs, on average of late."""

    @property
    def is_fast(self) -> bool:
        return self.run_s < SLOW_S

    def reserves(self, writes: tuple[DocumentWrite, ...]) -> bool:
        """Whether the writes change what a member has read."""
        if not len(self.reserved):
            return False
        reserved = self.reserved
        return any(
            reserved.contains(table, index, key) for table, keys in probes(writes).items() for index, key in keys
        )


class Lines:
    """All lines of a node. A line comes up with the first that joins it, and goes when nobody comes any more."""

    def __init__(
        self,
        committer: Committer,
        permits: Permits,
        store: Store,
        timeline: Timeline,
        runtime: Runtime,
        *,
        losses_max: int,
    ) -> None:
        self._losses_max = losses_max
        self._committer = committer
        self._permits = permits
        self._store = store
        self._timeline = timeline
        self._runtime = runtime
        self._lines: dict[str, Line] = {}

    def of_function(self, function: str) -> str | None:
        """The table in whose line calls of this function had better stand at once."""
        if self._lines:
            for line in self._lines.values():
                if function in line.functions and line.is_fast:
                    return line.table
        return None

    def reserving(self, writes: tuple[DocumentWrite, ...]) -> str | None:
        """The table whose line has reserved what the writes would change."""
        if self._lines:
            for line in self._lines.values():
                if line.reserves(writes):
                    return line.table
        return None

    async def stand(self, table: str, function: str, prepare: Prepare, lost_at: Timestamp = Timestamp(0)) -> Timestamp:
        """Wait in the line of `table` until the mutation is committed; its timestamp.

        Raises what `prepare` and `Committer.commit` raise; `ConflictError` only for what was not done on this node.
        """
        line = self._lines.get(table)
        if line is None:
            line = self._lines[table] = Line(table)
            self._runtime.spawn(self._move(line), name=f"waiting line: {table}")
        place = Place(function, prepare, asyncio.get_running_loop().create_future(), lost_at)
        line.functions.add(function)
        line.waiting.append(place)
        line.arrived.set()
        return await place.settled

    async def _move(self, line: Line) -> None:
        try:
            while True:
                while line.waiting:
                    await self._advance(line)
                line.reserved = IntervalSet()
                line.arrived.clear()
                try:
                    async with asyncio.timeout(LINGER_S):
                        await line.arrived.wait()
                except TimeoutError:
                    if not line.waiting:
                        return
        finally:
            del self._lines[line.table]
            for place in line.waiting:
                _fail(place, OverloadError("CommitterClosed", "this node is shutting down"))

    async def _advance(self, line: Line) -> None:
        """Run some members and commit them."""
        places: list[Place] = []
        requests: list[CommitRequest] = []
        await self._wait_newer(max(place.lost_at for place in line.waiting))
        try:
            async with self._permits:
                await self._run_members(line, places, requests)
        except OverloadError as error:
            while line.waiting:
                _fail(line.waiting.popleft(), error)
        except BaseException:
            line.waiting.extendleft(reversed(places))
            raise
        if not places:
            return
        outcomes = await self._committer.commit_chain(requests)
        line.reserved = IntervalSet()
        again: list[Place] = []
        for place, request, outcome in zip(places, requests, outcomes, strict=True):
            if isinstance(outcome, ConflictError) and (outcome.is_own or place.losses < self._losses_max):
                place.losses += not outcome.is_own
                place.lost_at = request.snapshot_ts
                line.reserved.update(request.read_set)
                again.append(place)
            elif isinstance(outcome, Exception):
                _fail(place, outcome)
            elif not place.settled.done():
                place.settled.set_result(outcome)
        line.waiting.extendleft(reversed(again))

    async def _wait_newer(self, ts: Timestamp) -> None:
        """Wait for a snapshot newer than `ts`; not for long, because the commit that was lost to may have failed."""
        if self._timeline.latest_ts <= ts:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHAIN_S):
                    await self._timeline.wait_for_ts(Timestamp(ts + 1))

    async def _run_members(self, line: Line, places: list[Place], requests: list[CommitRequest]) -> None:
        ts = self._timeline.latest_ts
        overlay = Overlay(self._store)
        started = now = self._runtime.monotonic()
        while line.waiting and len(places) < CHAIN_MEMBERS_MAX and now - started < CHAIN_S:
            place = line.waiting.popleft()
            if place.settled.done():  # its caller has gone
                continue
            try:
                request = await place.prepare(ts, overlay)
            except Exception as error:
                _fail(place, error)
                continue
            finally:
                before, now = now, self._runtime.monotonic()
                line.run_s += (now - before - line.run_s) / 8
            places.append(place)
            requests.append(request)
            line.reserved.update(request.read_set)
            overlay.put(request.writes)


def _fail(place: Place, error: Exception) -> None:
    if not place.settled.done():
        place.settled.set_exception(error)
