"""Plain functions of actions in threads of their own.

A thread for each, and no pool: a pooled thread would wait for the actions it calls, which may need a thread of the
same pool. How many there are is bounded by the permits for actions. The threads are daemons: one that never ends must
not keep the server from ending.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any


async def run_in_thread(function: Callable[[], Any], *, name: str) -> Any:
    """What `function` returns or raises. It sees the caller's context variables.

    If the caller is cancelled, the thread goes on to its end and what it returns is dropped.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)

    def work() -> None:
        result: Any = None
        error: BaseException | None = None
        try:
            result = context.run(function)
        except StopIteration as stop:  # a future cannot carry one
            error = RuntimeError(f"the action raised StopIteration({stop.value!r})")
        except BaseException as raised:
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return await outcome
