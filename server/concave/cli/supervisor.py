"""Several server processes on one port: starts workers, watches them, starts them again, ends them.

* Workers are fresh interpreters, no forks; each binds the port for itself, and the system spreads connections.
* A worker that ends is replaced: at once after an orderly end (SIGTERM to one worker after the other is a rolling
  restart), after a pause that doubles when it failed.
* No worker outlives the supervisor: it ends them and waits; should it be killed, they notice and stop.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import Final

from concave.cli.process import on_stop_signals
from concave.cli.worker import READY, WorkerOptions
from concave.values.errors import ConfigurationError
from concave.values.runtime import Runtime

BACKOFF_FIRST_S: Final = 0.2
BACKOFF_S_MAX: Final = 10.0
STABLE_S: Final = 60.0
"""A worker that ran for so long did not fail because it was started."""

KILL_AFTER_S: Final = 5.0
"""How long beyond its own time to finish a worker may take to end before it is killed."""

logger = logging.getLogger(__name__)


class _Worker:
    """One process and our end of its socket pair."""

    def __init__(self, process: Process, control: socket.socket) -> None:
        self.process = process
        self._control = control

    @classmethod
    async def start(cls, options: WorkerOptions) -> _Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own: Ctrl-C is for the supervisor, which passes it on once.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "concave.cli.worker", str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        ours.sendall(options.to_line())
        ours.setblocking(False)
        return cls(process, ours)

    async def wait_ready(self) -> bool:
        """Whether the worker came to accept connections; False when it ended before."""
        loop = asyncio.get_running_loop()
        said = b""
        while not said.endswith(READY):
            try:
                more = await loop.sock_recv(self._control, 64)
            except OSError:
                more = b""
            if not more:
                return False
            said += more
        return True

    def close(self) -> None:
        """To be called when the process has ended and `wait_ready` has returned."""
        self._control.close()


class Supervisor:
    """Keeps `count` workers running until a stop signal."""

    def __init__(self, options: WorkerOptions, count: int, runtime: Runtime) -> None:
        self._options = options
        self._count = count
        self._runtime = runtime
        self._running: set[_Worker] = set()
        self._stop = asyncio.Event()
        self._fault: str | None = None
        """Why it all ends before it has begun."""
        self._ready = 0
        self._all_ready = asyncio.Event()

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Run until a stop signal; `on_ready` is called once all workers have been ready.

        Raises `ConfigurationError` if one of the first workers cannot begin.
        """
        on_stop_signals(self._on_signal)
        keepers = [
            self._runtime.spawn(self._keep(number), name=f"worker {number}") for number in range(1, self._count + 1)
        ]
        ready = self._runtime.spawn(self._announce(on_ready), name="workers ready")
        try:
            await asyncio.wait(keepers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            ready.cancel()
            self._on_signal()
            await asyncio.wait(keepers)
        for keeper in keepers:
            keeper.result()
        if self._fault is not None:
            raise ConfigurationError(self._fault)

    async def _announce(self, on_ready: Callable[[], None]) -> None:
        await self._all_ready.wait()
        on_ready()

    async def _keep(self, number: int) -> None:
        """Keep one worker running."""
        failures = 0
        was_ever_ready = False
        while not self._stop.is_set():
            worker = await _Worker.start(self._options)
            self._running.add(worker)
            began = self._runtime.monotonic()
            if self._stop.is_set():
                worker.process.terminate()  # the signal came before there was a worker to pass it on to
            is_first = not was_ever_ready
            readiness = self._runtime.spawn(self._watch_ready(worker, number, is_first=is_first), name="readiness")
            status = await self._wait_end(worker)
            is_ready = await readiness
            was_ever_ready = was_ever_ready or is_ready
            worker.close()
            self._running.discard(worker)
            if self._stop.is_set():
                return
            if not was_ever_ready:
                self._fault = f"worker {number} could not begin (exit status {status}); it says why above"
                self._on_signal()
                return
            is_orderly = is_ready and status == 0
            lived_s = self._runtime.monotonic() - began
            failures = 0 if is_orderly else 1 if lived_s > STABLE_S else failures + 1
            pause_s = min(BACKOFF_S_MAX, BACKOFF_FIRST_S * 2 ** (failures - 1)) if failures else 0.0
            logger.log(
                logging.INFO if is_orderly else logging.ERROR,
                "worker %d (process %d) ended with status %d; starting another in %.1f s",
                *(number, worker.process.pid, status, pause_s),
            )
            await self._pause(pause_s)

    async def _watch_ready(self, worker: _Worker, number: int, *, is_first: bool) -> bool:
        is_ready = await worker.wait_ready()
        if is_ready:
            logger.info("worker %d (process %d) is ready", number, worker.process.pid)
        if is_ready and is_first:
            self._ready += 1
            if self._ready == self._count:
                self._all_ready.set()
        return is_ready

    async def _wait_end(self, worker: _Worker) -> int:
        """The exit status; a worker that was told to stop and does not is killed."""
        ended = self._runtime.spawn(worker.process.wait(), name="worker's end")
        told = self._runtime.spawn(self._stop.wait(), name="stop signal")
        await asyncio.wait((ended, told), return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not ended.done():
            await asyncio.wait((ended,), timeout=self._options.shutdown_timeout_s + KILL_AFTER_S)
        if not ended.done():
            logger.error("worker process %d does not end; it is killed", worker.process.pid)
            worker.process.kill()
        return await ended

    async def _pause(self, seconds: float) -> None:
        if seconds:
            stopped = self._runtime.spawn(self._stop.wait(), name="stop signal")
            await asyncio.wait((stopped,), timeout=seconds)
            stopped.cancel()

    def _on_signal(self) -> None:
        """Pass a stop signal on; the second one, too, after which workers do not wait for what is under way."""
        self._stop.set()
        for worker in self._running:
            if worker.process.returncode is None:
                worker.process.terminate()
