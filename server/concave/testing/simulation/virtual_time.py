"""An event loop whose clock jumps to the next timer, and a `Runtime` on it that draws everything from a seed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Coroutine
from random import Random
from typing import Any, Final, TypeVar

T = TypeVar("T")

EPOCH_MS: Final = 1_750_000_000_000.0
"""The wall clock when a simulation begins."""

STEPS_MAX: Final = 60_000
"""Turns of the loop after which a run is taken to be going round in circles."""


class SimulationStuck(Exception):
    """Nothing will ever happen again, or the same for ever; and yet the run has not ended."""


class VirtualLoop(asyncio.BaseEventLoop):
    """asyncio's own loop, but nobody waits: when nothing is ready, time passes at once. There is no input or output."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0
        self._turns = 0
        self._selector = self  # the base class asks it for events, and how long it may wait for them

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._now_s

    def select(self, timeout: float | None) -> list[Any]:
        """What a selector does; here, let `timeout` seconds pass."""
        self._turns += 1
        if timeout is None:
            raise SimulationStuck("every task waits for another")
        if self._turns > STEPS_MAX:
            raise SimulationStuck(f"no end after {STEPS_MAX} turns of the loop")
        self._now_s += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Wake the selector: there is none, and one thread."""


class SimulatedRuntime:
    """The `Runtime` of one process, on the running `VirtualLoop`. `skew_ms` is how far its wall clock is off."""

    def __init__(self, random: Random, *, skew_ms: float = 0.0) -> None:
        self._loop = asyncio.get_running_loop()
        self._random = random
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._ended = False
        self.skew_ms = skew_ms
        self.failures: list[str] = []
        """Tasks that ended with an exception."""

    def now_ms(self) -> float:
        return EPOCH_MS + self._loop.time() * 1000 + self.skew_ms

    def monotonic(self) -> float:
        return self._loop.time()

    def random_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def seed(self) -> int:
        return self._random.getrandbits(64)

    def uuid(self) -> str:
        return str(uuid.UUID(bytes=self._random.randbytes(16), version=4))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def spawn(self, coro: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
        task = self._loop.create_task(coro, name=name)
        self._tasks[task] = None
        task.add_done_callback(self._finished)
        if self._ended:
            task.cancel()  # what a dead process starts never runs
        return task

    def end(self) -> None:
        """End the process: cancel every task, and each that one of them starts in its death throes."""
        self._ended = True
        for task in tuple(self._tasks):
            task.cancel()

    async def close(self) -> None:
        self.end()
        current = asyncio.current_task()
        while pending := [task for task in self._tasks if task is not current]:
            await asyncio.wait(pending)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled() and (failure := task.exception()) is not None and not self._ended:
            self.failures.append(f"task {task.get_name()} failed: {failure!r}")
