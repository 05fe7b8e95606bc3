"""Actions: no transaction of their own, any side effect, never run again by the engine (function-runtime.md 4)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from concave.database.calls import CallTracker
from concave.database.transaction import copy_document
from concave.functions.attempts import timed_out
from concave.functions.contexts import ActionCtx, SyncActionCtx
from concave.functions.decorators import FunctionKind
from concave.functions.execution import result_value
from concave.functions.failures import error_text
from concave.functions.frames import Identity
from concave.functions.http_actions import HttpActionCtx, Respond
from concave.functions.logs import LogLines, current_log
from concave.functions.mutations import Mutations
from concave.functions.permits import Permits
from concave.functions.queries import Queries
from concave.functions.recording import Opened, Recorder, current_origin
from concave.functions.served_app import CompiledFunction, FunctionName, ServedApp
from concave.functions.threads import run_in_thread
from concave.storage.timeline import Timeline
from concave.values.coercion import normalize
from concave.values.errors import ClientError, ConcaveError, DeveloperError, EngineError, OverloadError
from concave.values.limits import Limits
from concave.values.runtime import Runtime
from concave.values.types import Value


@dataclass(slots=True)
class ActionEnd:
    """How an action ended: with a value, or by its own failure."""

    value: Value
    failure: BaseException | None


class Actions:
    """Runs actions. Each of their calls uses the app's version of that moment: an action may outlive many."""

    __slots__ = (
        "_env",
        "_http_permits",
        "_limits",
        "_mutations",
        "_permits",
        "_queries",
        "_recorder",
        "_runtime",
        "_served",
        "_timeline",
    )

    def __init__(
        self,
        served: Callable[[], ServedApp],
        queries: Queries,
        mutations: Mutations,
        permits: Permits,
        http_permits: Permits,
        timeline: Timeline,
        runtime: Runtime,
        limits: Limits,
        env: Mapping[str, str],
        recorder: Recorder,
    ) -> None:
        self._served = served
        self._queries = queries
        self._mutations = mutations
        self._permits = permits
        self._http_permits = http_permits
        self._timeline = timeline
        self._runtime = runtime
        self._limits = limits
        self._env = env
        self._recorder = recorder

    async def run(
        self,
        function: CompiledFunction,
        args: dict[str, Value],
        *,
        identity: Identity | None,
        log: LogLines,
        opened: Opened,
    ) -> ActionEnd:
        """Run an action with checked arguments.

        Raises `OverloadError` or `EngineError` where such an error of one of its calls is what ended it. A mutation's
        `ConflictError` is the action's own failure, because nobody will run the action again.
        """
        async with self._permits:
            return await self._run(function, args, identity, log, opened)

    async def run_http(
        self,
        respond: Respond,
        *,
        identity: Identity | None,
        refusal: ConcaveError | None,
        log: LogLines,
        opened: Opened,
    ) -> ActionEnd:
        """Run an HTTP action until its response is sent; the value is the status. Raises as `run`."""

        async def work(calls: _Calls) -> Value:
            tracker = CallTracker()
            now = float(math.floor(self._runtime.now_ms()))
            random = Random(self._runtime.seed())
            status = await respond(HttpActionCtx(calls, tracker, identity, refusal, now, random, self._env))
            _warn_of_open_calls(tracker, log)
            return status

        async with self._http_permits:
            return await self._bounded(work, identity, log, opened)

    async def _run(
        self,
        function: CompiledFunction,
        args: dict[str, Value],
        identity: Identity | None,
        log: LogLines,
        opened: Opened,
    ) -> ActionEnd:
        def work(calls: _Calls) -> Awaitable[Value]:
            return self._execute(function, copy_document(args), identity, calls, log)

        return await self._bounded(work, identity, log, opened)

    async def _bounded(
        self, work: Callable[[_Calls], Awaitable[Value]], identity: Identity | None, log: LogLines, opened: Opened
    ) -> ActionEnd:
        calls = _Calls(self, identity, log)
        failure: BaseException | None = None
        value: Value = None
        deadline = asyncio.timeout(self._limits.action_time_s_max)
        token = current_log.set(log)
        origin_token = current_origin.set(opened.as_origin())
        try:
            async with deadline:
                value = await work(calls)
        except (Exception, SystemExit) as error:
            failure = error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling() > 0:
                raise
            failure = error
        finally:
            calls.ended = True
            current_origin.reset(origin_token)
            current_log.reset(token)
        if deadline.expired():
            failure = timed_out(self._limits.action_time_s_max)
        elif isinstance(failure, OverloadError | EngineError | ClientError):
            raise failure
        return ActionEnd(value, failure)

    async def _execute(
        self,
        function: CompiledFunction,
        args: dict[str, Value],
        identity: Identity | None,
        calls: _Calls,
        log: LogLines,
    ) -> Value:
        now = float(math.floor(self._runtime.now_ms()))
        random = Random(self._runtime.seed())
        if function.spec.is_async:
            tracker = CallTracker()
            result = await function.call(ActionCtx(calls, tracker, identity, now, random, self._env), args)
            _warn_of_open_calls(tracker, log)
        else:
            ctx = SyncActionCtx(calls, asyncio.get_running_loop(), identity, now, random, self._env)
            result = await run_in_thread(lambda: function.call(ctx, args), name=function.spec.path)
        return function.checked_result(result_value(result, function))

    async def call(
        self, kind: FunctionKind, name: FunctionName, args: Value, identity: Identity | None, log: LogLines
    ) -> Value:
        """What `ctx.run_query` and its like do in an action. Raises what the called function raised."""
        served = self._served()
        function = served.find_named(kind, name)
        where = f"Arguments for {function.spec.path}"
        checked = function.checked_args(normalize({} if args is None else args, where=where))
        is_user = identity is not None
        if kind == "action":
            opened = self._recorder.begin("Action", function.spec.path, is_user=is_user)
            # The caller's permit covers the actions it calls: were they to wait for one, all might wait for each other.
            end = await self._run(function, checked, identity, log, opened)
            self._record(opened, served, end.failure, ())
            return _value_or_raise(end.value, end.failure)
        if kind == "query":
            opened = self._recorder.begin("Query", function.spec.path, is_user=is_user)
            own_log = LogLines(self._limits)
            attempt = await self._queries.run(
                served, function, checked, identity=identity, ts=lambda: self._timeline.latest_ts, log=own_log
            )
            log.extend(own_log.finish())
            self._record(opened, served, attempt.failure, own_log.lines)
            return _value_or_raise(attempt.value, attempt.failure)
        opened = self._recorder.begin("Mutation", function.spec.path, is_user=is_user)
        finished = await self._mutations.run(self._served, function, checked, identity=identity)
        log.extend(finished.log_lines)
        self._record(opened, served, finished.failure, finished.log_lines)
        return _value_or_raise(finished.value, finished.failure)

    def _record(
        self, opened: Opened, served: ServedApp, failure: BaseException | None, log_lines: Sequence[str]
    ) -> None:
        error = None if failure is None else error_text(failure, served.app.directory)
        self._recorder.end(opened, log_lines=log_lines, error=error)


class _Calls:
    """What the context of one action calls through. After the action's end nothing can be called any more."""

    __slots__ = ("_actions", "_identity", "_log", "ended")

    def __init__(self, actions: Actions, identity: Identity | None, log: LogLines) -> None:
        self._actions = actions
        self._identity = identity
        self._log = log
        self.ended = False

    async def call(self, kind: FunctionKind, name: FunctionName, args: Value) -> Value:
        if self.ended:
            raise DeveloperError("ActionEnded", f"ctx.run_{kind} was called after the action had ended")
        return await self._actions.call(kind, name, args, self._identity, self._log)


def _value_or_raise(value: Value, failure: BaseException | None) -> Value:
    if failure is not None:
        raise failure
    return value


def _warn_of_open_calls(tracker: CallTracker, log: LogLines) -> None:
    """Calls that an action left behind may or may not happen; upstream says so in the log and lets it pass."""
    tracker.closed = True
    left = [call.origin for call in tracker.open_calls]
    if left:
        operations = "operation" if len(left) == 1 else "operations"
        log.add(
            "WARN",
            f"{len(left)} unawaited {operations}: [{', '.join(left)}]. Async operations should be awaited or they "
            "might not run.",
        )
