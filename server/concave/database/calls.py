"""Database calls as awaitables that know where they were made and whether anybody awaited them.

Upstream starts a call when it is made; a Python coroutine starts when it is awaited, so a forgotten `await` would lose
a write in silence. Therefore every call is a `DatabaseCall`: it runs when awaited, and `CallTracker.check`, called when
the function has returned, refuses a function that left one behind (function-runtime.md 1.4).

A call also fulfils `collections.abc.Coroutine`, so `asyncio.gather`, `asyncio.create_task` and task groups take it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import CodeType, TracebackType
from typing import Any, TypeVar

from concave.database.user_clock import UserClock
from concave.values.errors import DeveloperError

T = TypeVar("T")


class CallTracker:
    """The database calls of one execution of one function, and what is allowed once per execution.

    `journaled` is true for the function that a client asked for and false for functions called by functions: their
    page ends are not remembered (function-runtime.md 10). `lent` is true while a nested call has the transaction; calls
    wait for it to come back. `clock` stops while calls run. At most `running_max` may run at once (data-model.md 7.5).
    """

    __slots__ = (
        "_running",
        "_running_max",
        "_waiting",
        "clock",
        "closed",
        "journaled",
        "lent",
        "open_calls",
        "paginated",
    )

    def __init__(
        self, *, journaled: bool = True, clock: UserClock | None = None, running_max: int | None = None
    ) -> None:
        self.journaled = journaled
        self.clock = clock
        self._running = 0
        self._running_max = running_max
        self.paginated = False
        self.closed = False
        self.open_calls: dict[DatabaseCall[Any], None] = {}
        """Calls made and not finished, oldest first."""
        self.lent = False
        self._waiting: list[asyncio.Future[None]] = []

    def begin(self) -> None:
        """A call begins to run; `end` must follow. Raises `TooManyConcurrentOperations`, `FunctionTimedOut`."""
        self._running += 1
        clock = self.clock
        if clock is not None:
            clock.enter_engine()
            clock.check()
        if self._running_max is not None and self._running > self._running_max:
            raise DeveloperError(
                "TooManyConcurrentOperations",
                f"Too many concurrent operations in a single function execution (limit: {self._running_max}). "
                "Await some of them before starting more.",
            )

    def end(self) -> None:
        self._running -= 1
        if self.clock is not None:
            self.clock.leave_engine()

    def lend(self) -> None:
        """From now on calls wait until `take_back`."""
        self.lent = True

    def take_back(self) -> None:
        self.lent = False
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    async def turn(self) -> None:
        """Wait for the next `take_back`. Another may be first to lend again: test `lent` once more."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def check(self) -> None:
        """To be called when the function has returned. No call can start afterwards.

        Raises `DeveloperError` (`UnawaitedCall`) naming the first call that was never awaited, or was started by
        a task and not waited for.
        """
        self.closed = True
        if self.open_calls:
            left = next(iter(self.open_calls))
            more = f" ({len(self.open_calls) - 1} more like it)" if len(self.open_calls) > 1 else ""
            if left.started:
                raise DeveloperError(
                    "UnawaitedCall",
                    f"a database call was still running when the function returned: {left.origin}{more}; "
                    "wait for the task that runs it",
                )
            raise DeveloperError(
                "UnawaitedCall",
                f"a database call was started and never awaited: {left.origin}{more}; put `await` before it",
            )


class DatabaseCall(Coroutine[Any, Any, T]):
    """One call, e.g. `ctx.db.insert("messages", {...})`. Runs when awaited, once.

    The caller's position is kept as code object and instruction; the line number is worked out only for a message.
    """

    __slots__ = ("_arguments", "_code", "_function", "_instruction", "_name", "_running", "_tracker")

    def __init__(
        self,
        tracker: CallTracker,
        name: str,
        function: Callable[..., Awaitable[T]],
        arguments: tuple[Any, ...],
        depth: int = 2,
    ) -> None:
        """`depth` counts the frames between this constructor and the user's code."""
        frame = sys._getframe(depth)
        self._tracker = tracker
        self._name = name
        self._function = function
        self._arguments = arguments
        self._code: CodeType = frame.f_code
        self._instruction = frame.f_lasti
        self._running: Generator[Any, Any, T] | None = None
        tracker.open_calls[self] = None

    @property
    def started(self) -> bool:
        return self._running is not None

    @property
    def origin(self) -> str:
        """The call and the line that made it, e.g. `insert at messages.py:12`."""
        line = self._code.co_firstlineno
        for start, end, at in self._code.co_lines():
            if start <= self._instruction < end and at is not None:
                line = at
        return f"{self._name} at {self._code.co_filename.rpartition('/')[2]}:{line}"

    def __await__(self) -> Generator[Any, Any, T]:
        if self._running is not None:
            raise DeveloperError("CallAwaitedTwice", f"a database call was awaited twice: {self.origin}")
        self._running = running = self._run()
        return running

    def _run(self) -> Generator[Any, Any, T]:
        tracker = self._tracker
        try:
            tracker.begin()
            if tracker.closed:
                raise DeveloperError(
                    "UnawaitedCall", f"a database call ran after its function had returned: {self.origin}"
                )
            while tracker.lent:
                yield from tracker.turn().__await__()
            return (yield from self._function(*self._arguments).__await__())
        finally:
            tracker.end()
            tracker.open_calls.pop(self, None)

    # The coroutine protocol, for tasks.

    def send(self, value: Any) -> Any:
        running = self._running
        if running is None:
            self._running = running = self._run()
        return running.send(value)

    def throw(
        self,
        typ: type[BaseException] | BaseException,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> Any:
        error = typ if isinstance(typ, BaseException) else val if isinstance(val, BaseException) else typ()
        running = self._running
        if running is None:
            self._running = running = self._run()
            if isinstance(error, BaseException):
                # A task that is cancelled before its first step: the call never began, and that is no fault.
                self._tracker.open_calls.pop(self, None)
        return running.throw(error)

    def close(self) -> None:
        if self._running is None:
            self._running = self._run()
            self._tracker.open_calls.pop(self, None)
        self._running.close()
