"""One node's engine: every way to call a function, and live queries, on one timeline.

The composition root builds the store, the timeline, the committer and the runner and hands them in; put together here
with the query cache, the invalidation index and the refresh rounds. Sessions (`sync.session.SyncBackend`) and HTTP
(`http.engine_port`) see only this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from concave.functions.failures import error_message, random_request_id
from concave.functions.frames import Identity
from concave.functions.function_log import FunctionLog
from concave.functions.http_actions import HttpActionFailure, Respond
from concave.functions.http_routes import HttpRouter, Route
from concave.functions.loader import LoadedApp
from concave.functions.mutations import find_request
from concave.functions.outcomes import ActionOutcome, MutationOutcome, Outcome
from concave.functions.registry import canonical_path
from concave.functions.runner import FunctionRunner
from concave.reactive.answer import QueryAnswer
from concave.reactive.content import content_of, failure
from concave.reactive.invalidation import InvalidationIndex
from concave.reactive.live_query import LiveQuery, Subscription, Version
from concave.reactive.query_cache import CacheStatistics, QueryCache
from concave.reactive.refresh import FLOOR_WAIT_S, RefreshedSubscriber, RefreshRounds
from concave.schema.catalog import Catalog
from concave.storage.committer import Committer
from concave.storage.store import Store, StoredRequest
from concave.storage.timeline import Timeline
from concave.values.codec import decode_json, encode_json
from concave.values.errors import ClientError, ConcaveError, EngineError
from concave.values.intervals import IntervalSet
from concave.values.limits import DEFAULT_LIMITS, Limits
from concave.values.runtime import Runtime
from concave.values.types import Timestamp, Value


class Engine:
    """Functions' own failures are outcomes; trouble of ours is raised as a `ConcaveError`."""

    def __init__(
        self,
        store: Store,
        timeline: Timeline,
        committer: Committer,
        runner: FunctionRunner,
        runtime: Runtime,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._store = store
        self._timeline = timeline
        self._committer = committer
        self._runner = runner
        self._runtime = runtime
        self._invalidation = InvalidationIndex()
        self._cache = QueryCache(self._invalidation)
        self._rounds = RefreshRounds(
            self._execute,
            timeline,
            self._cache,
            self._invalidation,
            runtime,
            # As many as the runner lets in: beyond that they would wait for its permits, and only for some seconds.
            executions_max=limits.concurrent_queries_max,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._calls = 0
        """Mutations and actions under way, whether or not anybody still waits for them."""
        self._no_calls = asyncio.Event()
        self._no_calls.set()

    # -- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to commit, to follow the feed and to refresh. The store has been started by its owner."""
        self._tasks = [
            self._runtime.spawn(self._committer.run(), name="committer"),
            self._runtime.spawn(self._timeline.follow(self._store, self._runtime), name="feed"),
            self._runtime.spawn(self._rounds.run(), name="refresh rounds"),
        ]

    async def close(self) -> None:
        """Stop what `start` began; calls under way end with an `OverloadError`. The store is left to its owner."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def stopped_tasks(self) -> list[str]:
        """Names of the tasks that ought to run and do not: before `start`, after `close`, or through a bug."""
        if not self._tasks:
            return ["engine"]
        return [task.get_name() for task in self._tasks if task.done()]

    async def wait_no_calls(self) -> None:
        """Wait until no mutation and no action is under way; callers see to it that none is begun, and bound the wait.
        Calls whose client has gone count, too."""
        while self._calls:
            self._no_calls.clear()
            await self._no_calls.wait()

    def swap_app(self, app: LoadedApp, catalog: Catalog) -> None:
        """From now on calls run the new version of the app; every live query runs again. Calls under way go on."""
        self._runner.swap(app, catalog)
        self._rounds.discard_all()

    @property
    def latest_ts(self) -> Timestamp:
        """The newest timestamp that can be read; all acknowledged mutations are visible at it."""
        return self._timeline.latest_ts

    async def reach(self, ts: Timestamp) -> None:
        """Wait until `ts` can be read here: a client has seen it on another node. Raises `EngineError` when that takes
        too long."""
        if self._timeline.latest_ts >= ts:
            return
        try:
            async with asyncio.timeout(FLOOR_WAIT_S):
                await self._timeline.wait_for_ts(ts)
        except TimeoutError:
            behind = ts - self._timeline.latest_ts
            raise EngineError(f"a client has seen a time that is {behind} ns ahead of this node") from None

    def cache_statistics(self) -> CacheStatistics:
        return self._cache.statistics()

    # -- calls ------------------------------------------------------------------------------------------------------

    async def query(
        self,
        path: str,
        args: Value,
        *,
        identity: Identity | None = None,
        ts: Timestamp | None = None,
        internal_ok: bool = False,
    ) -> QueryAnswer:
        """Run a query at `ts`, by default the newest timestamp, or take its result from the cache if it holds then."""
        if ts is None:
            ts = self._timeline.latest_ts
        version = await self._rounds.read(
            _canonical(path), encode_json(args), ts=ts, identity=identity, internal_ok=internal_ok
        )
        return QueryAnswer(version, ts)

    async def mutation(
        self,
        path: str,
        args: Value,
        *,
        identity: Identity | None = None,
        session_id: str | None = None,
        request_id: int | None = None,
        on_committed: Callable[[MutationOutcome], None] | None = None,
        internal_ok: bool = False,
    ) -> MutationOutcome:
        """Run a mutation until it is committed or has failed. With a session and a request id, at most once ever.

        `on_committed` is called at the commit, before anybody hears of what was written.
        """
        self._calls += 1
        try:
            return await self._runner.run_mutation(
                path,
                args,
                identity=identity,
                session_id=session_id,
                request_id=request_id,
                on_committed=on_committed,
                internal_ok=internal_ok,
            )
        finally:
            self._call_ended()

    async def action(
        self, path: str, args: Value, *, identity: Identity | None = None, internal_ok: bool = False
    ) -> ActionOutcome:
        """Run an action to its end."""
        self._calls += 1
        try:
            return await self._runner.run_action(path, args, identity=identity, internal_ok=internal_ok)
        finally:
            self._call_ended()

    async def run_any(
        self, path: str, args: Value, *, identity: Identity | None = None, internal_ok: bool = False
    ) -> Outcome | QueryAnswer:
        """Run a function of whatever kind it is, as its own method would."""
        spec = self._runner.app.registry.get(path)
        if spec is not None and spec.kind == "query":
            return await self.query(path, args, identity=identity, internal_ok=internal_ok)
        self._calls += 1
        try:
            return await self._runner.run_any(path, args, identity=identity, internal_ok=internal_ok)
        finally:
            self._call_ended()

    @property
    def http_router(self) -> HttpRouter | None:
        """The HTTP actions of the app that is served now; None if it has no router."""
        return self._runner.app.http

    async def http_action(
        self, route: Route, respond: Respond, *, identity: Identity | None, refusal: ConcaveError | None = None
    ) -> HttpActionFailure | None:
        """Run an HTTP action until its response is sent."""
        self._calls += 1
        try:
            return await self._runner.run_http_action(route, respond, identity=identity, refusal=refusal)
        finally:
            self._call_ended()

    @property
    def function_log(self) -> FunctionLog:
        """The newest executions on this node."""
        return self._runner.function_log

    def _call_ended(self) -> None:
        self._calls -= 1
        if not self._calls:
            self._no_calls.set()

    async def find_request(self, session_id: str, request_id: int) -> StoredRequest | None:
        """What an earlier sending of the same mutation returned, if it was committed. Raises `EngineError`."""
        return await find_request(self._store, session_id, request_id)

    # -- live queries -----------------------------------------------------------------------------------------------

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
        """Add a query, with canonically encoded arguments, to what the subscriber is kept up to date with."""
        return self._rounds.subscribe(
            subscriber,
            tag,
            _canonical(path),
            args_json,
            journal=journal,
            identity=identity,
            internal_ok=internal_ok,
        )

    def unsubscribe(self, subscriber: RefreshedSubscriber, subscription: Subscription) -> None:
        self._rounds.unsubscribe(subscriber, subscription)

    def change_identity(
        self,
        subscriber: RefreshedSubscriber,
        subscription: Subscription,
        identity: Identity | None,
        *,
        internal_ok: bool = False,
    ) -> None:
        self._rounds.change_identity(subscriber, subscription, identity, internal_ok=internal_ok)

    def request(self, subscriber: RefreshedSubscriber) -> None:
        """Open a round for the subscriber as soon as it has none."""
        self._rounds.request(subscriber)

    def leave(self, subscriber: RefreshedSubscriber) -> None:
        self._rounds.leave(subscriber)

    async def _execute(self, live: LiveQuery, ts: Timestamp) -> Version:
        try:
            outcome = await self._runner.run_query(
                live.path,
                # Decoded for each run: a function may change what it is handed.
                decode_json(live.args_json),
                identity=live.identity,
                ts=ts,
                journal=live.journal,
                internal_ok=live.internal_ok,
            )
        except ClientError as error:
            # No function can have this path. It is that query's failure, not the connection's.
            message = error_message(error, random_request_id(self._runtime), redact=False, source_root=None)
            return Version(failure(message), ts, IntervalSet(), journal=live.journal)
        # A run that failed before it came to its page leaves the page where it was.
        journal = outcome.journal if outcome.ok or outcome.journal is not None else live.journal
        return Version(content_of(outcome), ts, outcome.read_set, journal=journal, read_identity=outcome.read_identity)


def _canonical(path: str) -> str:
    """One spelling for each function, so that all spellings share their results."""
    try:
        return canonical_path(path)
    except ClientError:
        # The runner refuses it with a text that quotes it as it was written.
        return path
