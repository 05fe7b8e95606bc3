"""Refresh rounds: bringing subscribers' queries up to date, each subscriber at one snapshot of its own choice of time.

What was published marks live queries as stale and wakes one task. It takes every subscriber with something to do,
and the newest timestamp; each of them opens a round at it. The round needs those of the subscriber's queries that are
new or were touched; what is still valid is taken as it is, everything else waits for an execution, which all who
need it share. When its last query has arrived the subscriber closes its round, by a plain call in the same step:
a session composes and sends its Transition without a task switch.

* Rounds overlap: one slow query delays only the subscribers that hold it (design.md section 6).
* A subscriber has at most one round at a time; what is published meanwhile is folded into its next one.
* I2: a version is collected for a round only if it is valid at the round's timestamp.
* I7: every subscription of a live query that was touched becomes due, and every due subscription is part of its
  subscriber's next round.

There is no await between taking the work and having changed all state, except where a step has taken too long and lets
others run: there every structure is consistent, and what is published meanwhile belongs to a later round.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import ClassVar, Protocol

from concave.functions.frames import Identity
from concave.reactive.invalidation import InvalidationIndex
from concave.reactive.live_query import LiveQuery, Run, Subscription, Version, Waiter, identity_key
from concave.reactive.query_cache import QueryCache
from concave.storage.recent_log import Published
from concave.storage.timeline import Timeline
from concave.values.errors import EngineError, OverloadError
from concave.values.runtime import Runtime
from concave.values.types import Timestamp

logger = logging.getLogger(__name__)

EXECUTIONS_MAX = 16
"""Queries that run at once on a node. They wait for the database most of their time."""

STEP_S = 0.005
"""How long one step may keep the event loop before it lets others run."""

STEP_SUBSCRIBERS = 32
"""How many subscribers are served between two looks at the clock."""

FAILURES_MAX = 8
"""Runs in a row that may end in trouble of ours before the subscriber is told: 0.1 s, doubling to 5 s, 20 s in all."""

FLOOR_WAIT_S = 15.0
"""How long a subscriber waits for the timeline to reach a time that it has already seen elsewhere."""

NO_ROUND = Timestamp(-1)

Execute = Callable[[LiveQuery, Timestamp], Awaitable[Version]]
"""Runs the query at the snapshot. A function's own failure is a version; trouble of ours is raised."""


class RoundRequests(Protocol):
    def request(self, subscriber: RefreshedSubscriber) -> None:
        """Open a round for the subscriber as soon as it has none."""


class RefreshedSubscriber:
    """Base of those who take part in rounds; holds a round's book-keeping. One round at a time."""

    __slots__ = (
        "_collected",
        "_due",
        "_failure",
        "_outstanding",
        "_rounds",
        "awaits_floor",
        "floor_ts",
        "has_left",
        "round_ts",
    )

    def __init__(self, rounds: RoundRequests) -> None:
        self._rounds = rounds
        self._due: list[Subscription] = []
        self._collected: list[tuple[Subscription, Version]] = []
        self._failure: tuple[Exception, bool] | None = None
        self._outstanding = 0
        self.round_ts = NO_ROUND
        """The snapshot of the round under way, `NO_ROUND` between rounds."""
        self.floor_ts = Timestamp(0)
        """No round may be opened at an earlier time: what the subscriber has seen already. Never decreases."""
        self.awaits_floor = False
        """Whether a task waits for the timeline to reach `floor_ts`; it asks for a round when that has happened."""
        self.has_left = False

    # -- to be provided -------------------------------------------------------------------------------------------

    def open_round(self) -> bool:
        """A round is to begin: subscribe and unsubscribe what has changed. False: not now; it will ask again."""
        raise NotImplementedError

    def close_round(self, ts: Timestamp, results: Sequence[tuple[Subscription, Version]]) -> None:
        """Everything that had to be brought up to date is; what is not among `results` is unchanged at `ts`."""
        raise NotImplementedError

    def reopen_round(self) -> None:
        """The round came to nothing through trouble of ours; another is about to begin, with the same queries."""
        raise NotImplementedError

    def break_off(self, error: Exception) -> None:
        """Trouble of ours that does not pass. No further round is opened for this subscriber."""
        raise NotImplementedError

    # -- what the rounds call ---------------------------------------------------------------------------------------

    def begin(self, ts: Timestamp) -> list[Subscription]:
        self.round_ts = ts
        due, self._due = self._due, []
        # One more than there is to wait for: the round cannot end while it is still being opened.
        self._outstanding = len(due) + 1
        for subscription in due:
            subscription.due = False
        return due

    def mark_due(self, subscription: Subscription) -> None:
        if not subscription.due:
            subscription.due = True
            self._due.append(subscription)

    def forget(self, subscription: Subscription) -> None:
        if subscription.due:
            subscription.due = False
            self._due.remove(subscription)

    def collect(self, subscription: Subscription, version: Version) -> None:
        self._collected.append((subscription, version))
        self.count_down()

    def collect_failure(self, subscription: Subscription, error: Exception, *, final: bool) -> None:
        self._failure = (error, final)
        self.mark_due(subscription)
        self.count_down()

    def count_down(self) -> None:
        self._outstanding -= 1
        if not self._outstanding:
            self._end()

    def _end(self) -> None:
        ts, results, failure = self.round_ts, self._collected, self._failure
        self._collected, self._failure, self.round_ts = [], None, NO_ROUND
        if self.has_left:
            return
        if failure is None:
            self.close_round(ts, results)
            if self._due:
                self._rounds.request(self)
            return
        error, final = failure
        if final:
            self.break_off(error)
            return
        for subscription, _ in results:
            self.mark_due(subscription)
        self.reopen_round()
        self._rounds.request(self)


class _OneOff:
    """A caller that wants one result and holds no subscription."""

    __slots__ = ("outcome", "wanted_ts")

    is_patient: ClassVar[bool] = False

    def __init__(self, wanted_ts: Timestamp, outcome: asyncio.Future[Version]) -> None:
        self.wanted_ts = wanted_ts
        self.outcome = outcome

    @property
    def has_left(self) -> bool:
        return self.outcome.done()

    def deliver(self, version: Version) -> None:
        self.outcome.set_result(version)

    def fail(self, error: Exception, *, final: bool) -> None:
        self.outcome.set_exception(error)


class RefreshRounds:
    """Owns the scheduler and the executions of one node. `run` is the task that its owner keeps."""

    def __init__(
        self,
        execute: Execute,
        timeline: Timeline,
        cache: QueryCache,
        invalidation: InvalidationIndex,
        runtime: Runtime,
        *,
        executions_max: int = EXECUTIONS_MAX,
    ) -> None:
        self._execute = execute
        self._timeline = timeline
        self._cache = cache
        self._invalidation = invalidation
        self._runtime = runtime
        self._permits = asyncio.Semaphore(executions_max)
        self._generation = 0
        self._touched: set[LiveQuery] = set()
        """Live queries with subscribers that have become stale since the last round was taken."""
        self._dirty: set[RefreshedSubscriber] = set()
        """Subscribers that asked for a round, or were found to need one, since the last round was taken."""
        self._wake = asyncio.Event()
        timeline.add_listener(self.publish)

    async def run(self) -> None:
        """Open rounds whenever there is something to do, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._open_rounds()

    # -- what subscribers ask for -----------------------------------------------------------------------------------

    def subscribe(
        self,
        subscriber: RefreshedSubscriber,
        tag: object,
        path: str,
        args_json: bytes,
        *,
        journal: str | None,
        identity: Identity | None,
        internal_ok: bool = False,
    ) -> Subscription:
        """Add a query to the subscriber's set; its first result is part of the subscriber's next round."""
        live = self._cache.resolve(path, args_json, journal=journal, identity=identity, internal_ok=internal_ok)
        subscription = Subscription(subscriber, tag, live, identity)
        live.subscriptions.add(subscription)
        self._cache.settle(live)
        subscriber.mark_due(subscription)
        return subscription

    def unsubscribe(self, subscriber: RefreshedSubscriber, subscription: Subscription) -> None:
        subscription.has_left = True
        subscriber.forget(subscription)
        live = subscription.live
        live.subscriptions.discard(subscription)
        self._cache.settle(live)

    def change_identity(
        self,
        subscriber: RefreshedSubscriber,
        subscription: Subscription,
        identity: Identity | None,
        *,
        internal_ok: bool = False,
    ) -> None:
        """From its next round on, the query is run as another caller: is run again only if its last run looked at who
        calls. To be called between rounds."""
        subscription.identity = identity
        subscription.caller_key = identity_key(identity)
        subscription.internal_ok = internal_ok
        subscriber.mark_due(subscription)

    def request(self, subscriber: RefreshedSubscriber) -> None:
        """Open a round for the subscriber as soon as it has none."""
        self._dirty.add(subscriber)
        self._wake.set()

    def leave(self, subscriber: RefreshedSubscriber) -> None:
        """The subscriber is gone. It has unsubscribed, or does so now, by itself."""
        subscriber.has_left = True
        self._dirty.discard(subscriber)

    async def read(
        self,
        path: str,
        args_json: bytes,
        *,
        ts: Timestamp,
        identity: Identity | None,
        internal_ok: bool = False,
    ) -> Version:
        """One result that is valid at `ts`, from the cache if it has one. Raises what the execution raised."""
        live = self._cache.resolve(path, args_json, journal=None, identity=identity, internal_ok=internal_ok)
        version = live.version
        # Errors are no cached results, even if a subscriber's query holds one.
        if version is not None and version.valid_at(ts) and not version.content.failed:
            self._cache.hits += 1
            return version
        self._cache.misses += 1
        waiter = _OneOff(ts, asyncio.get_running_loop().create_future())
        self._join(live, waiter)
        version = await waiter.outcome
        if version.read_identity and live.identity_key != identity_key(identity):
            # Until now the result held for everybody; this one was read as somebody else.
            return await self.read(path, args_json, ts=ts, identity=identity, internal_ok=internal_ok)
        return version

    # -- what happens -------------------------------------------------------------------------------------------------

    def publish(self, published: Published) -> None:
        """Mark what was touched. Listener of the timeline: the timeline's newest time is still the one before."""
        ts = published.ts
        if published.everything:
            self._mark(self._cache.live_queries(), ts)
        else:
            self._mark(self._invalidation.hits(published), ts)
        if self._touched or self._dirty:
            self._wake.set()

    def discard_all(self) -> None:
        """The functions themselves have changed: no result, not even of a run under way, is of use any longer."""
        self._generation += 1
        self._mark(self._cache.live_queries(), self._timeline.latest_ts)
        self._wake.set()

    def _mark(self, queries: Iterable[LiveQuery], ts: Timestamp) -> None:
        for live in queries:
            live.touched_at = ts
            if live.version is not None and live.version.touched(ts):
                if live.subscriptions:
                    self._touched.add(live)
                else:
                    self._cache.settle(live)

    async def _open_rounds(self) -> None:
        ts = self._timeline.latest_ts
        touched, self._touched = self._touched, set()
        deadline = self._runtime.monotonic() + STEP_S
        for live in touched:
            for subscription in tuple(live.subscriptions):
                subscriber = subscription.subscriber
                assert isinstance(subscriber, RefreshedSubscriber)
                subscriber.mark_due(subscription)
                self._dirty.add(subscriber)
        dirty, self._dirty = self._dirty, set()
        for number, subscriber in enumerate(dirty, 1):
            try:
                self._open_round(subscriber, ts)
            except Exception:
                logger.exception("a refresh round could not be opened")
                subscriber.break_off(EngineError("a refresh round could not be opened"))
            if number % STEP_SUBSCRIBERS == 0 and self._runtime.monotonic() > deadline:
                await self._runtime.sleep(0)
                deadline = self._runtime.monotonic() + STEP_S

    def _open_round(self, subscriber: RefreshedSubscriber, ts: Timestamp) -> None:
        # A round under way ends in `close_round`, after which whoever has more to do asks again.
        if subscriber.has_left or subscriber.round_ts != NO_ROUND or subscriber.awaits_floor:
            return
        if subscriber.floor_ts > ts:
            subscriber.awaits_floor = True
            self._runtime.spawn(self._await_floor(subscriber), name="refresh: wait for the timeline")
            return
        if not subscriber.open_round():
            return
        for subscription in subscriber.begin(ts):
            self._need(subscription)
        subscriber.count_down()

    async def _await_floor(self, subscriber: RefreshedSubscriber) -> None:
        try:
            async with asyncio.timeout(FLOOR_WAIT_S):
                await self._timeline.wait_for_ts(subscriber.floor_ts)
        except TimeoutError:
            if not subscriber.has_left:
                behind = subscriber.floor_ts - self._timeline.latest_ts
                subscriber.break_off(EngineError(f"a client has seen a time that is {behind} ns ahead of this node"))
            return
        finally:
            subscriber.awaits_floor = False
        self.request(subscriber)

    def _need(self, subscription: Subscription) -> None:
        """Get the subscription a version for its subscriber's round, now or when a run is done."""
        live = subscription.live
        if (
            subscription.journal != live.journal
            or subscription.internal_ok is not live.internal_ok
            or not live.serves(subscription.caller_key)
        ):
            live = self._move(subscription)
        version = live.version
        if version is not None and version.valid_at(subscription.wanted_ts):
            self._deliver(live, subscription, version)
        else:
            self._join(live, subscription)

    def _deliver(self, live: LiveQuery, subscription: Subscription, version: Version) -> None:
        """Hand over a version that is valid for the subscriber's round."""
        if version is not live.version or version.stale_at is not None:
            # There is a newer result, or will be; that it became stale may have been news before this round began, so
            # nobody would tell the subscription again.
            subscriber = subscription.subscriber
            assert isinstance(subscriber, RefreshedSubscriber)
            subscriber.mark_due(subscription)
        subscription.deliver(version)

    def _move(self, subscription: Subscription) -> LiveQuery:
        """Subscribe to the live query that fits the journal and the identity that the subscription has now."""
        old = subscription.live
        new = self._cache.resolve(
            old.path,
            old.args_json,
            journal=subscription.journal,
            identity=subscription.identity,
            internal_ok=subscription.internal_ok,
        )
        if new is not old:
            old.subscriptions.discard(subscription)
            new.subscriptions.add(subscription)
            subscription.live = new
            self._cache.settle(new)
            self._cache.settle(old)
        return new

    def _join(self, live: LiveQuery, waiter: Waiter) -> None:
        ts = waiter.wanted_ts
        for run in live.runs:
            if run.generation != self._generation:
                continue
            # An earlier run will do if nothing touches what it reads until `ts`. What it reads is not known yet; what
            # the run before it had read is the best guess, and a wrong guess costs one more run.
            if run.ts == ts or (run.ts < ts and live.touched_at <= run.ts):
                run.waiters.append(waiter)
                return
        run = Run(ts, self._generation)
        run.waiters.append(waiter)
        live.runs.append(run)
        self._runtime.spawn(self._run(live, run), name=f"query {live.path}")

    async def _run(self, live: LiveQuery, run: Run) -> None:
        try:
            async with self._permits:
                version = await self._execute(live, run.ts)
        except Exception as error:
            live.runs.remove(run)
            await self._failed(live, run, error)
            return
        except asyncio.CancelledError:
            live.runs.remove(run)
            for waiter in run.waiters:
                if not waiter.is_patient and not waiter.has_left:
                    waiter.fail(EngineError("the node is shutting down"), final=True)
            raise
        live.runs.remove(run)
        live.failures = 0
        if run.generation == self._generation:
            self._install(live, version)
        self._cache.settle(live)
        await self._hand_out(live, run, version)

    def _install(self, live: LiveQuery, version: Version) -> None:
        """Make the version the query's current one, unless that is newer."""
        hit = self._timeline.recent_log.first_hit(version.read_set, version.ts)
        if hit is not None:
            version.touched(hit.ts)
        current = live.version
        if current is not None:
            if current.content.looks_like(version.content):
                # The same bytes again: whoever was sent them sees it by identity.
                version.content = current.content
            if version.ts < current.ts:
                return
        live.version = version
        self._invalidation.register(live, version.read_set)
        self._cache.file_by_use_of_identity(live, read_identity=version.read_identity)
        if version.stale_at is not None and live.subscriptions:
            self._touched.add(live)
            self._wake.set()

    async def _hand_out(self, live: LiveQuery, run: Run, version: Version) -> None:
        deadline = self._runtime.monotonic() + STEP_S
        is_current = run.generation == self._generation
        for number, waiter in enumerate(run.waiters, 1):
            if waiter.has_left:
                continue
            try:
                holds = is_current and version.valid_at(waiter.wanted_ts)
                if not isinstance(waiter, Subscription):
                    if holds:
                        waiter.deliver(version)
                    else:
                        self._join(live, waiter)
                elif holds and (not version.read_identity or live.identity_key == waiter.caller_key):
                    self._deliver(live, waiter, version)
                else:
                    self._need(waiter)
            except Exception:
                logger.exception("a subscriber of %s failed to take its result", live.path)
            if number % STEP_SUBSCRIBERS == 0 and self._runtime.monotonic() > deadline:
                await self._runtime.sleep(0)
                deadline = self._runtime.monotonic() + STEP_S

    async def _failed(self, live: LiveQuery, run: Run, error: Exception) -> None:
        """Trouble of ours: callers of one-off queries hear of it, subscribers try again after a while."""
        live.failures += 1
        patient: list[Waiter] = []
        for waiter in run.waiters:
            if waiter.is_patient:
                patient.append(waiter)
            elif not waiter.has_left:
                waiter.fail(error, final=True)
        final = live.failures >= FAILURES_MAX
        if patient:
            # A snapshot that is gone is replaced by a newer one at once; for anything else it takes time.
            is_too_old = isinstance(error, OverloadError) and error.code == "OutOfRetention"
            delay = 0.0 if is_too_old and live.failures == 1 else min(5.0, 0.1 * 2 ** (live.failures - 1))
            logger.warning("query %s at %d: %s; trying again in %.1f s", live.path, run.ts, error, delay)
            await self._runtime.sleep(delay)
            for waiter in patient:
                if not waiter.has_left:
                    waiter.fail(error, final=final)
        self._cache.settle(live)
