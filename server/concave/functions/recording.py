"""How executions get into the function log: what is known when one begins, and its entry when it ends.

Where an execution comes from travels in a context variable: whoever takes a call from outside sets it, an action sets
it for what it calls. Without it, an execution is a client's of the sync socket.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from concave.functions.failures import random_request_id
from concave.functions.function_log import Caller, Execution, FunctionLog, Progress, UdfType
from concave.functions.logs import LogLines
from concave.values.limits import Limits
from concave.values.runtime import Runtime


@dataclass(slots=True, frozen=True)
class Origin:
    """Where calls come from. `parent_id` is the execution that makes them. Without `request_id` each gets a new one."""

    request_id: str | None
    caller: Caller
    parent_id: str | None = None


current_origin: Final[ContextVar[Origin | None]] = ContextVar("concave_current_origin", default=None)


@dataclass(slots=True, frozen=True)
class Opened:
    """An execution that has begun."""

    udf_type: UdfType
    identifier: str
    request_id: str
    execution_id: str
    started_ms: float
    caller: Caller
    parent_id: str | None
    is_user: bool
    is_admin: bool

    def as_origin(self) -> Origin:
        """The origin of what this execution calls."""
        return Origin(self.request_id, "Action", self.execution_id)


class Recorder:
    """Writes executions to a log."""

    __slots__ = ("_limits", "_log", "_node", "_number", "_runtime")

    def __init__(self, log: FunctionLog, runtime: Runtime, limits: Limits) -> None:
        self._log = log
        self._runtime = runtime
        self._limits = limits
        # An execution's id looks like a UUID and is a number of this process: drawing one for each would cost more than
        # all the rest of the log.
        self._node = runtime.uuid()[:24]
        self._number = 0

    def begin(
        self,
        udf_type: UdfType,
        identifier: str,
        *,
        request_id: str | None = None,
        is_user: bool = False,
        is_admin: bool = False,
    ) -> Opened:
        """`request_id` is given where the call has a name already; else it is its origin's, or a new one."""
        self._number += 1
        origin = current_origin.get()
        if request_id is None:
            request_id = None if origin is None else origin.request_id
        if request_id is None:
            request_id = random_request_id(self._runtime)
        return Opened(
            udf_type,
            identifier,
            request_id,
            f"{self._node}{self._number:012x}",
            self._runtime.now_ms(),
            "SyncWorker" if origin is None else origin.caller,
            None if origin is None else origin.parent_id,
            is_user,
            is_admin,
        )

    def end(
        self,
        opened: Opened,
        *,
        log_lines: Sequence[str] = (),
        error: str | None = None,
        status: int | None = None,
        return_bytes: int | None = None,
    ) -> None:
        """Write the completion. `error` is the text with its traceback; None for success."""
        self._log.add(
            Execution(
                opened.udf_type,
                opened.identifier,
                opened.request_id,
                opened.execution_id,
                opened.started_ms,
                self._runtime.now_ms(),
                log_lines,
                error,
                opened.parent_id,
                opened.caller,
                opened.is_admin,
                opened.is_user,
                status,
                return_bytes,
            )
        )

    def lines_of(self, opened: Opened) -> LogLines:
        """Log lines that are written to the log as they come: those of actions."""

        def emit(line: str) -> None:
            now = self._runtime.now_ms()
            self._log.add(
                Progress(opened.udf_type, opened.identifier, opened.request_id, opened.execution_id, now, (line,))
            )

        return _StreamedLogLines(self._limits, emit)


class _StreamedLogLines(LogLines):
    """Hands on each line of the execution's own; lines of executions that it called are in their own entries."""

    __slots__ = ("_emit", "_emitted", "_is_extending")

    def __init__(self, limits: Limits, emit: Callable[[str], None]) -> None:
        super().__init__(limits)
        self._emit = emit
        self._emitted: str | None = None
        self._is_extending = False

    def extend(self, lines: Sequence[str]) -> None:  # type: ignore[override]
        self._is_extending = True
        try:
            super().extend(lines)
        finally:
            self._is_extending = False

    def _append(self, line: str) -> None:
        super()._append(line)
        last = self.lines[-1]
        # Once there are too many, the last line stays the one that says so.
        if not self._is_extending and last is not self._emitted:
            self._emit(last)
        self._emitted = last
