"""Time, randomness and tasks, from one object, so that a test can run the engine with a clock and a seed of its own.

Nothing outside this module calls `time.time`, `random`, `uuid4`, `asyncio.sleep` or `asyncio.create_task`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Coroutine
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")

_log: Final = logging.getLogger("concave.runtime")


class Runtime(Protocol):
    """What the engine asks of the world besides the database and the network."""

    def now_ms(self) -> float:
        """Wall clock: milliseconds since 1970, with a fraction. It may jump either way."""

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; only differences mean anything."""

    def random_bytes(self, count: int) -> bytes:
        """`count` bytes that nobody can guess."""

    def seed(self) -> int:
        """A fresh 64-bit seed for a deterministic generator."""

    def uuid(self) -> str:
        """A random (version 4) UUID in its usual text form."""

    async def sleep(self, seconds: float) -> None:
        """Wait at least `seconds`. A wait of 0 lets other tasks run."""

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        """Run `coro` as a task that this object owns: kept alive, its failure logged, cancelled by `close`."""

    async def close(self) -> None:
        """Cancel every task that still runs and wait until all have ended. No task can be spawned afterwards."""


class SystemRuntime:
    """The real clock, the operating system's randomness, asyncio's tasks."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def now_ms(self) -> float:
        return time.time() * 1000.0

    def monotonic(self) -> float:
        return time.monotonic()

    def random_bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def seed(self) -> int:
        return int.from_bytes(os.urandom(8), "big")

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=os.urandom(16), version=4))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        if self._closed:
            coro.close()
            raise RuntimeError(f"task {name!r} was started after the runtime had been closed")
        task = asyncio.create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    async def close(self) -> None:
        self._closed = True
        current = asyncio.current_task()
        while pending := [task for task in self._tasks if task is not current]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        failure = task.exception()
        if failure is not None:
            _log.error("task %s failed: %s", task.get_name(), failure, exc_info=failure)
