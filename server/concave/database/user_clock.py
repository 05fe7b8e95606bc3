"""How long a query or mutation has run code of its user's: not the engine's, nor waiting for the database.

Upstream interrupts a function after one second of its own code (data-model.md 7.5). Here the function runs in the
server's event loop, where nothing can interrupt code that does not wait: it is measured, and the function fails at its
next database call or at its end. Until then it holds up the whole process, so the failure says so to the developer who
can mend it, and protects the others only from the next time.

What tasks that the function itself starts do between their database calls is not counted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, TypeVar

from concave.values.errors import DeveloperError
from concave.values.runtime import Runtime

T = TypeVar("T")


class UserClock:
    """Runs while the function's task runs and is in no database call. Shared by a function and those that it calls."""

    __slots__ = ("_in_engine", "_in_step", "_monotonic", "_since_s", "limit_s", "used_s")

    def __init__(self, runtime: Runtime, limit_s: float) -> None:
        self._monotonic = runtime.monotonic
        self.limit_s = limit_s
        self.used_s = 0.0
        self._in_engine = 0
        self._in_step = False
        self._since_s = 0.0
        """When it began to run; only meaningful in a step outside of the engine."""

    @property
    def is_over(self) -> bool:
        return self.used_s > self.limit_s

    def enter_engine(self) -> None:
        """A database call begins, or a function called by another one returns to it."""
        if self._in_step and not self._in_engine:
            self.used_s += self._monotonic() - self._since_s
        self._in_engine += 1

    def leave_engine(self) -> None:
        self._in_engine -= 1
        if self._in_step and not self._in_engine:
            self._since_s = self._monotonic()

    def begin_step(self) -> None:
        """The function's task goes on."""
        self._in_step = True
        if not self._in_engine:
            self._since_s = self._monotonic()

    def end_step(self) -> None:
        """The function's task waits, or has ended."""
        if not self._in_engine:
            self.used_s += self._monotonic() - self._since_s
        self._in_step = False

    def check(self) -> None:
        """Raise `DeveloperError` (`FunctionTimedOut`) if the time is used up."""
        if self.is_over:
            raise timed_out(self.limit_s)


class Clocked(Awaitable[T]):
    """An awaitable whose steps the clock counts: those of a task, from the time it goes on until it waits again."""

    __slots__ = ("_awaitable", "_clock")

    def __init__(self, awaitable: Awaitable[T], clock: UserClock) -> None:
        self._awaitable = awaitable
        self._clock = clock

    def __await__(self) -> Generator[Any, Any, T]:
        clock, running = self._clock, self._awaitable.__await__()
        sent: Any = None
        thrown: BaseException | None = None
        while True:
            clock.begin_step()
            try:
                waits_for = running.send(sent) if thrown is None else running.throw(thrown)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                clock.end_step()
            thrown = None
            try:
                sent = yield waits_for
            except BaseException as error:
                thrown = error


def timed_out(seconds: float) -> DeveloperError:
    return DeveloperError("FunctionTimedOut", f"Function execution timed out (maximum duration: {seconds:g}s)")
