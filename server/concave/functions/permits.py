"""How many calls of one kind run at once (function-runtime.md 1.5)."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

from concave.values.errors import OverloadError
from concave.values.runtime import Runtime


class Permits:
    """`count` permits, given out first come, first served: `async with permits:`.

    A caller gives up when for `wait_s` nobody at all was given a permit, with `OverloadError`
    (`TooManyConcurrentRequests`). Upstream's callers give up after `wait_s` whatever the others do; here a queue that
    moves is no reason to fail, because one refresh of live queries may be thousands of short calls.
    """

    __slots__ = ("_free", "_granted_at", "_noun", "_runtime", "_wait_s", "_waiting")

    def __init__(self, noun: str, count: int, wait_s: float, runtime: Runtime) -> None:
        self._noun = noun
        self._free = count
        self._wait_s = wait_s
        self._runtime = runtime
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._granted_at = runtime.monotonic()

    async def __aenter__(self) -> None:
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    async def _wait(self) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self._granted_at = self._runtime.monotonic()  # nobody was waiting before, so nobody was kept waiting
        try:
            while True:
                await asyncio.wait((turn,), timeout=self._wait_s)
                if turn.done():
                    return
                if self._runtime.monotonic() - self._granted_at >= self._wait_s:
                    raise OverloadError(
                        "TooManyConcurrentRequests",
                        f"too many {self._noun} are running; for {self._wait_s:g} seconds none of them has ended",
                    )
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._give_back()  # the permit came together with the cancellation
            else:
                turn.cancel()
            raise

    def _give_back(self) -> None:
        self._granted_at = self._runtime.monotonic()
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
