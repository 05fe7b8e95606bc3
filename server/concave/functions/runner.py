"""Running functions for those outside: clients, the HTTP API, live queries (function-runtime.md 1 to 6).

`FunctionRunner` keeps the order of checks (1.2): path and visibility, kind, size and validator of the arguments, the
handler, its result. A function's own failures end up in outcomes. What is nobody's fault but the moment's is raised:
`ConflictError` after the last retry, `OverloadError`, `EngineError`; and `ClientError` for what cannot be a path.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from concave.functions import failures
from concave.functions.actions import Actions
from concave.functions.attempts import Attempts, RunnerOptions
from concave.functions.decorators import FunctionKind
from concave.functions.frames import Identity
from concave.functions.loader import LoadedApp
from concave.functions.logs import LogLines
from concave.functions.mutations import Finished, Mutations, RequestKey
from concave.functions.outcomes import ActionOutcome, MutationOutcome, Outcome, QueryOutcome
from concave.functions.permits import Permits
from concave.functions.queries import Queries
from concave.functions.served_app import CompiledFunction, ServedApp
from concave.schema.catalog import Catalog
from concave.storage.committer import Committer
from concave.storage.store import Store
from concave.storage.timeline import Timeline
from concave.values.codec import encode_json
from concave.values.errors import ConfigurationError, DeveloperError
from concave.values.limits import DEFAULT_LIMITS, Limits
from concave.values.runtime import Runtime
from concave.values.types import Timestamp, Value

logger = logging.getLogger(__name__)

AnyOutcome = TypeVar("AnyOutcome", bound=Outcome)


class FunctionRunner:
    """Runs the functions of one app. `swap` gives it an app, and each new version of it."""

    def __init__(
        self,
        store: Store,
        timeline: Timeline,
        committer: Committer,
        runtime: Runtime,
        limits: Limits = DEFAULT_LIMITS,
        options: RunnerOptions | None = None,
    ) -> None:
        self._timeline = timeline
        self._runtime = runtime
        self._limits = limits
        self._options = options = RunnerOptions() if options is None else options
        self._served: ServedApp | None = None
        attempts = Attempts(store, runtime, limits, options)
        wait_s = limits.permit_wait_s_max
        self._queries = Queries(attempts, Permits("queries", limits.concurrent_queries_max, wait_s, runtime))
        permits = Permits("mutations", limits.concurrent_mutations_max, wait_s, runtime)
        self._mutations = Mutations(attempts, permits, store, timeline, committer, runtime, limits)
        permits = Permits("actions", limits.concurrent_actions_max, limits.action_permit_wait_s_max, runtime)
        self._actions = Actions(
            self._serving, self._queries, self._mutations, permits, timeline, runtime, limits, options.env
        )

    def swap(self, app: LoadedApp, catalog: Catalog) -> None:
        """Serve this version from now on; calls under way end with the version they began with."""
        self._served = ServedApp(
            app, catalog, args_bytes_max=self._limits.args_bytes_max, development=self._options.development
        )

    @property
    def app(self) -> LoadedApp:
        return self._serving().app

    @property
    def catalog(self) -> Catalog:
        return self._serving().catalog

    async def run_query(
        self,
        path: str,
        args: Value,
        *,
        identity: Identity | None,
        ts: Timestamp | None = None,
        journal: str | None = None,
        internal_ok: bool = False,
    ) -> QueryOutcome:
        """Run a query at snapshot `ts`, or the newest. `journal` is that of the query's previous run.

        Raises `OverloadError` (`OutOfRetention`: this snapshot is gone, ask at a newer one), `EngineError` and
        `ClientError`.
        """
        at = self._timeline.latest_ts if ts is None else ts
        served = self._serving()
        try:
            function, checked = _prepare(served, "query", path, args, internal_ok)
        except DeveloperError as error:
            return self._failed(QueryOutcome(ok=False, ts=at), error, path)
        log = LogLines(self._limits)
        attempt = await self._queries.run(served, function, checked, identity=identity, ts=at, log=log, journal=journal)
        run = attempt.run
        outcome = QueryOutcome(
            ok=attempt.failure is None,
            value=attempt.value,
            value_json=attempt.value_json,
            log_lines=self._shown(path, log.finish()),
            ts=at,
            read_set=run.tx.read_set,
            journal=run.tx.journal_out,
            read_identity=run.read_identity,
        )
        return outcome if attempt.failure is None else self._failed(outcome, attempt.failure, path)

    async def run_mutation(
        self,
        path: str,
        args: Value,
        *,
        identity: Identity | None,
        session_id: str | None = None,
        request_id: int | None = None,
        on_committed: Callable[[MutationOutcome], None] | None = None,
        internal_ok: bool = False,
    ) -> MutationOutcome:
        """Run and commit a mutation; with `(session_id, request_id)` at most once, however often it is asked for (I6).

        `on_committed` is called synchronously at the commit, before it is published, with the outcome that is returned
        later. It is not called for a failure, nor for a resend (`outcome.replayed`).
        Raises `ConflictError`, `OverloadError`, `EngineError`, `ClientError`.
        """
        request = None if session_id is None or request_id is None else RequestKey(session_id, request_id)
        try:
            function, checked = _prepare(self._serving(), "mutation", path, args, internal_ok)
        except DeveloperError as error:
            outcome = MutationOutcome(ok=False, ts=self._timeline.latest_ts)
            return self._failed(outcome, error, path, request)
        outcomes: list[MutationOutcome] = []

        def announce(finished: Finished) -> None:
            outcomes.append(self._mutation_outcome(path, finished))
            if on_committed is not None:
                on_committed(outcomes[0])

        finished = await self._mutations.run(
            self._serving, function, checked, identity=identity, request=request, announce=announce
        )
        if outcomes:
            return outcomes[0]
        outcome = self._mutation_outcome(path, finished)
        return outcome if finished.failure is None else self._failed(outcome, finished.failure, path, request)

    async def run_action(
        self, path: str, args: Value, *, identity: Identity | None, internal_ok: bool = False
    ) -> ActionOutcome:
        """Run an action to its end. Raises `OverloadError`, `EngineError`, `ClientError`."""
        try:
            function, checked = _prepare(self._serving(), "action", path, args, internal_ok)
        except DeveloperError as error:
            return self._failed(ActionOutcome(ok=False), error, path)
        log = LogLines(self._limits)
        end = await self._actions.run(function, checked, identity=identity, log=log)
        outcome = ActionOutcome(ok=end.failure is None, value=end.value, log_lines=self._shown(path, log.finish()))
        if end.failure is not None:
            return self._failed(outcome, end.failure, path)
        outcome.value_json = encode_json(end.value)
        return outcome

    async def run_any(self, path: str, args: Value, *, identity: Identity | None, internal_ok: bool = False) -> Outcome:
        """Run a function of whatever kind it is, as its own method would."""
        try:
            kind = self._serving().find(path, internal_ok=internal_ok).spec.kind
        except DeveloperError as error:
            return self._failed(Outcome(ok=False), error, path)
        if kind == "query":
            return await self.run_query(path, args, identity=identity, internal_ok=internal_ok)
        if kind == "mutation":
            return await self.run_mutation(path, args, identity=identity, internal_ok=internal_ok)
        return await self.run_action(path, args, identity=identity, internal_ok=internal_ok)

    def _serving(self) -> ServedApp:
        if self._served is None:
            raise ConfigurationError("no app is loaded yet: call `swap` before running functions")
        return self._served

    def _mutation_outcome(self, path: str, finished: Finished) -> MutationOutcome:
        return MutationOutcome(
            ok=finished.failure is None,
            value=finished.value,
            value_json=finished.value_json,
            log_lines=self._shown(path, finished.log_lines),
            ts=finished.ts,
            replayed=finished.replayed,
        )

    def _shown(self, path: str, lines: list[str]) -> list[str]:
        """The log lines that the client may see. What was printed goes to the server's log; log records went there."""
        if lines and logger.isEnabledFor(logging.INFO):
            for line in lines:
                if line.startswith("[LOG] "):
                    logger.info("%s %s", path, line)
        return [] if self._options.redact_errors else lines

    def _failed(
        self, outcome: AnyOutcome, failure: BaseException, path: str, request: RequestKey | None = None
    ) -> AnyOutcome:
        """The outcome with what the client is told of the failure. The server's log has all of it."""
        error, data = failures.presentable(failure)
        call_id = (
            failures.random_request_id(self._runtime)
            if request is None
            else failures.request_id(request.session_id, request.request_id)
        )
        root = None if self._served is None else self._served.app.directory
        outcome.ok = False
        outcome.value, outcome.value_json = None, b"null"
        outcome.error_data = data
        outcome.error_message = failures.error_message(
            error, call_id, redact=self._options.redact_errors, source_root=root
        )
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s: %s", path, failures.error_message(error, call_id, redact=False, source_root=root))
        return outcome


def _prepare(
    served: ServedApp, kind: FunctionKind, path: str, args: Value, internal_ok: bool
) -> tuple[CompiledFunction, dict[str, Any]]:
    function = served.find_as(kind, path, internal_ok=internal_ok)
    return function, function.checked_args({} if args is None else args)
