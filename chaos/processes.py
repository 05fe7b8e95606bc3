"""Operating system processes that can be killed, paused and started again, and that never outlive us."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


class Process:
    """One command that is run again and again, each time in a process group of its own; its output goes to `log`."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.pids: list[int] = []
        """Of all its starts."""
        self._command = list(command)
        self._log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self._log

    @property
    def pid(self) -> int | None:
        """The id of the running process, paused or not."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def status(self) -> int | None:
        """The exit status of the last process, if it has ended."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        assert self.pid is None, f"{self.name} runs already"
        with self._log.open("ab") as output:
            output.write(f"--- start {len(self.pids) + 1} at {time.monotonic():.3f}\n".encode())
            output.flush()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self._log.parent,
                process_group=0,
                preexec_fn=die_with_parent(os.getpid()),
            )
        self.pids.append(self._process.pid)

    def signal(self, number: signal.Signals) -> None:
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    async def kill(self) -> None:
        """End it with no chance to tidy up, paused or not; returns when it is gone."""
        self.signal(signal.SIGKILL)
        await self.wait(10)

    async def stop(self, timeout_s: float) -> bool:
        """Ask it to end; by force after `timeout_s`. Whether it ended by itself."""
        self.resume()
        self.signal(signal.SIGTERM)
        if await self.wait(timeout_s):
            return True
        await self.kill()
        return False

    async def wait(self, timeout_s: float) -> bool:
        """Whether the process has ended within `timeout_s`."""
        return await until(lambda: self.pid is None, timeout_s)


async def until(condition: Callable[[], bool], timeout_s: float, poll_s: float = 0.02) -> bool:
    """Wait for the condition; whether it came to hold within `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(poll_s)
    return True


def die_with_parent(parent: int) -> Callable[[], None] | None:
    """For the child, between fork and exec: the kernel is to kill it at the parent's death. Linux only."""
    if (prctl := _prctl) is None:
        return None

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return arrange
