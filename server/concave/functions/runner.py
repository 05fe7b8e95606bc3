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
from concave.functions.function_log import FunctionLog
from concave.functions.http_actions import HttpActionFailure, Respond
from concave.functions.http_routes import Route
from concave.functions.loader import LoadedApp
from concave.functions.logs import LogLines
from concave.functions.mutations import Finished, Mutations, RequestKey
from concave.functions.outcomes import ActionOutcome, MutationOutcome, Outcome, QueryOutcome
from concave.functions.permits import Permits
from concave.functions.queries import Queries
from concave.functions.recording import Opened, Recorder
from concave.functions.served_app import CompiledFunction, ServedApp
from concave.schema.catalog import Catalog
from concave.storage.committer import Committer
from concave.storage.store import Store
from concave.storage.timeline import Timeline
from concave.values.codec import encode_json
from concave.values.errors import ConcaveError, ConfigurationError, DeveloperError
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
        self.function_log = FunctionLog(runtime)
        """The newest executions of this runner."""
        self._recorder = recorder = Recorder(self.function_log, runtime, limits)
        attempts = Attempts(store, runtime, limits, options)
        wait_s = limits.permit_wait_s_max
        self._queries = Queries(attempts, Permits("queries", limits.concurrent_queries_max, wait_s, runtime))
        permits = Permits("mutations", limits.concurrent_mutations_max, wait_s, runtime)
        self._mutations = Mutations(attempts, permits, store, timeline, committer, runtime, limits)
        wait_s = limits.action_permit_wait_s_max
        self._actions = Actions(
            self._serving,
            self._queries,
            self._mutations,
            Permits("actions", limits.concurrent_actions_max, wait_s, runtime),
            Permits("HTTP actions", limits.concurrent_actions_max, wait_s, runtime),
            timeline,
            runtime,
            limits,
            options.env,
            recorder,
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
        opened = self._recorder.begin("Query", path, is_user=identity is not None, is_admin=internal_ok)
        try:
            function, checked = _prepare(served, "query", path, args, internal_ok)
        except DeveloperError as error:
            return self._failed(QueryOutcome(ok=False, ts=at), error, opened)
        log = LogLines(self._limits)
        attempt = await self._queries.run(served, function, checked, identity=identity, ts=at, log=log, journal=journal)
        run = attempt.run
        lines = log.finish()
        outcome = QueryOutcome(
            ok=attempt.failure is None,
            value=attempt.value,
            value_json=attempt.value_json,
            log_lines=self._shown(path, lines),
            ts=at,
            read_set=run.tx.read_set,
            journal=run.tx.journal_out,
            read_identity=run.read_identity,
        )
        if attempt.failure is not None:
            return self._failed(outcome, attempt.failure, opened, lines)
        self._recorder.end(opened, log_lines=lines, return_bytes=len(attempt.value_json))
        return outcome

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
        opened = self._recorder.begin(
            "Mutation",
            path,
            request_id=None if request is None else failures.request_id(request.session_id, request.request_id),
            is_user=identity is not None,
            is_admin=internal_ok,
        )
        try:
            function, checked = _prepare(self._serving(), "mutation", path, args, internal_ok)
        except DeveloperError as error:
            outcome = MutationOutcome(ok=False, ts=self._timeline.latest_ts)
            return self._failed(outcome, error, opened)
        outcomes: list[MutationOutcome] = []

        def announce(finished: Finished) -> None:
            outcomes.append(self._mutation_outcome(path, finished))
            if on_committed is not None:
                on_committed(outcomes[0])

        try:
            finished = await self._mutations.run(
                self._serving, function, checked, identity=identity, request=request, announce=announce
            )
        except ConcaveError as error:
            self._recorder.end(opened, error=self._error_text(error))
            raise
        outcome = outcomes[0] if outcomes else self._mutation_outcome(path, finished)
        if finished.failure is not None:
            return self._failed(outcome, finished.failure, opened, finished.log_lines)
        self._recorder.end(opened, log_lines=finished.log_lines, return_bytes=len(finished.value_json))
        return outcome

    async def run_action(
        self, path: str, args: Value, *, identity: Identity | None, internal_ok: bool = False
    ) -> ActionOutcome:
        """Run an action to its end. Raises `OverloadError`, `EngineError`, `ClientError`."""
        opened = self._recorder.begin("Action", path, is_user=identity is not None, is_admin=internal_ok)
        try:
            function, checked = _prepare(self._serving(), "action", path, args, internal_ok)
        except DeveloperError as error:
            return self._failed(ActionOutcome(ok=False), error, opened)
        log = self._recorder.lines_of(opened)
        try:
            end = await self._actions.run(function, checked, identity=identity, log=log, opened=opened)
        except ConcaveError as error:
            self._recorder.end(opened, error=self._error_text(error))
            raise
        outcome = ActionOutcome(ok=end.failure is None, value=end.value, log_lines=self._shown(path, log.finish()))
        if end.failure is not None:
            return self._failed(outcome, end.failure, opened)
        outcome.value_json = encode_json(end.value)
        self._recorder.end(opened, return_bytes=len(outcome.value_json))
        return outcome

    async def run_http_action(
        self, route: Route, respond: Respond, *, identity: Identity | None, refusal: ConcaveError | None = None
    ) -> HttpActionFailure | None:
        """Run the HTTP action of a route until its response is sent. `refusal`: the caller's token is not valid.

        Returns the failure that nobody caught. Raises `OverloadError`, `EngineError` and `ClientError`.
        """
        opened = self._recorder.begin("HttpAction", route.identifier, is_user=identity is not None)
        log = self._recorder.lines_of(opened)
        try:
            end = await self._actions.run_http(respond, identity=identity, refusal=refusal, log=log, opened=opened)
        except ConcaveError as error:
            self._recorder.end(opened, error=self._error_text(error))
            raise
        self._shown(route.identifier, log.finish())
        if end.failure is None:
            self._recorder.end(opened, status=end.value if type(end.value) is int else None)
            return None
        failure, data = failures.presentable(end.failure)
        trace = self._error_text(failure)
        self._recorder.end(opened, error=trace)
        logger.info("%s: %s\n%s", route.identifier, failures.error_head(opened.request_id), trace)
        head = failures.error_head(opened.request_id)
        if self._options.redact_errors:
            return HttpActionFailure(head, None, data)
        return HttpActionFailure(f"{head}: {trace.partition(chr(10) + '    at ')[0]}", trace, data)

    async def run_any(self, path: str, args: Value, *, identity: Identity | None, internal_ok: bool = False) -> Outcome:
        """Run a function of whatever kind it is, as its own method would."""
        try:
            kind = self._serving().find(path, internal_ok=internal_ok).spec.kind
        except DeveloperError as error:
            opened = self._recorder.begin("Query", path, is_user=identity is not None, is_admin=internal_ok)
            return self._failed(Outcome(ok=False), error, opened)
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
        self, outcome: AnyOutcome, failure: BaseException, opened: Opened, log_lines: list[str] | None = None
    ) -> AnyOutcome:
        """The outcome with what the client is told of the failure. The server's log and the function log have all of
        it."""
        error, data = failures.presentable(failure)
        text = self._error_text(error)
        head = failures.error_head(opened.request_id)
        outcome.ok = False
        outcome.value, outcome.value_json = None, b"null"
        outcome.error_data = data
        outcome.error_message = head if self._options.redact_errors else f"{head}\n{text}"
        self._recorder.end(opened, log_lines=log_lines or (), error=text)
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s: %s\n%s", opened.identifier, head, text)
        return outcome

    def _error_text(self, error: BaseException) -> str:
        return failures.error_text(error, None if self._served is None else self._served.app.directory)


def _prepare(
    served: ServedApp, kind: FunctionKind, path: str, args: Value, internal_ok: bool
) -> tuple[CompiledFunction, dict[str, Any]]:
    function = served.find_as(kind, path, internal_ok=internal_ok)
    return function, function.checked_args({} if args is None else args)
