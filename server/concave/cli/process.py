"""What the commands that serve have in common with each other: the event loop, stop signals, logging."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_stopped(main: Coroutine[Any, Any, None]) -> int:
    """Run a server's coroutine; the exit status. A stop signal while it starts cancels it, which is no error."""
    _configure_logging()
    try:
        uvloop.run(_cancelled_by_signals(main))
    except asyncio.CancelledError:
        print("stopped", file=sys.stderr)
    return 0


def on_stop_signals(stop: Callable[[], object]) -> None:
    """Call `stop` for each stop signal from now on, in place of what was called before."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop)


async def _cancelled_by_signals(main: Coroutine[Any, Any, None]) -> None:
    task = asyncio.current_task()
    assert task is not None
    cancelled = False

    def cancel_once() -> None:
        # What runs after the first signal is the way down, which stops the database; it is not to be cut short.
        nonlocal cancelled
        if not cancelled:
            cancelled = True
            task.cancel()

    on_stop_signals(cancel_once)
    await main


def name_log_lines(node: str) -> None:
    """Have every line of the log carry the node's name, for logs that several nodes write to."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(logging.Formatter(f"%(levelname)s [{node}] %(name)s: %(message)s"))


def _configure_logging() -> None:
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    logging.getLogger("concave").setLevel(logging.INFO)
