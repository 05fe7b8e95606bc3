"""Actions: no transaction of their own, any side effect, never run again by the engine (function-runtime.md 4)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from concave.database.calls import CallTracker
from concave.database.transaction import copy_document
from concave.functions.attempts import timed_out
from concave.functions.contexts import ActionCtx, SyncActionCtx
from concave.functions.decorators import FunctionKind
from concave.functions.execution import result_value
from concave.functions.frames import Identity
from concave.functions.logs import LogLines, current_log
from concave.functions.mutations import Mutations
from concave.functions.permits import Permits
from concave.functions.queries import Queries
from concave.functions.served_app import CompiledFunction, FunctionName, ServedApp
from concave.functions.threads import run_in_thread
from concave.storage.timeline import Timeline
from concave.values.coercion import normalize
from concave.values.errors import ClientError, DeveloperError, EngineError, OverloadError
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

    __slots__ = ("_env", "_limits", "_mutations", "_permits", "_queries", "_runtime", "_served", "_timeline")

    def __init__(
        self,
        served: Callable[[], ServedApp],
        queries: Queries,
        mutations: Mutations,
        permits: Permits,
        timeline: Timeline,
        runtime: Runtime,
        limits: Limits,
        env: Mapping[str, str],
    ) -> None:
        self._served = served
        self._queries = queries
        self._mutations = mutations
        self._permits = permits
        self._timeline = timeline
        self._runtime = runtime
        self._limits = limits
        self._env = env

    async def run(
        self, function: CompiledFunction, args: dict[str, Value], *, identity: Identity | None, log: LogLines
    ) -> ActionEnd:
        """Run an action with checked arguments.

        Raises `OverloadError` or `EngineError` where such an error of one of its calls is what ended it. A mutation's
        `ConflictError` is the action's own failure, because nobody will run the action again.
        """
        async with self._permits:
            return await self._run(function, args, identity, log)

    async def _run(
        self, function: CompiledFunction, args: dict[str, Value], identity: Identity | None, log: LogLines
    ) -> ActionEnd:
        calls = _Calls(self, identity, log)
        failure: BaseException | None = None
        value: Value = None
        deadline = asyncio.timeout(self._limits.action_time_s_max)
        token = current_log.set(log)
        try:
            async with deadline:
                value = await self._execute(function, copy_document(args), identity, calls, log)
        except (Exception, SystemExit) as error:
            failure = error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling() > 0:
                raise
            failure = error
        finally:
            calls.ended = True
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
        if kind == "action":
            # The caller's permit covers the actions it calls: were they to wait for one, all might wait for each other.
            end = await self._run(function, checked, identity, log)
            return _value_or_raise(end.value, end.failure)
        if kind == "query":
            own_log = LogLines(self._limits)
            attempt = await self._queries.run(
                served, function, checked, identity=identity, ts=lambda: self._timeline.latest_ts, log=own_log
            )
            log.extend(own_log.finish())
            return _value_or_raise(attempt.value, attempt.failure)
        finished = await self._mutations.run(self._served, function, checked, identity=identity)
        log.extend(finished.log_lines)
        return _value_or_raise(finished.value, finished.failure)


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
