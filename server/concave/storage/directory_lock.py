"""One process at a time in a data directory.

The lock is the kernel's (`flock`), so it vanishes with its holder, however that ends. The file's text only serves
the message that a second process prints.
"""

from __future__ import annotations

import fcntl
import os
import sys
from pathlib import Path

from concave.values.errors import ConfigurationError

LOCK_FILE = "lock"


class DirectoryLock:
    """An exclusive hold on `directory`, from `acquire` to `release` or to the end of the process.

    Not inherited by child processes that `exec`: Python opens files close-on-exec.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise `ConfigurationError` that names the holder. Does not wait; creates the directory."""
        assert self._fd is None, "the lock is already held by this object"
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._directory / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot use the data directory {self._directory}: {exc.strerror}. Choose another with --data-dir"
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder(fd)
            os.close(fd)
            raise ConfigurationError(
                f"the data directory {self._directory} is in use by {holder}. "
                "Stop that process first, or choose another directory with --data-dir"
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n{' '.join(sys.argv)}\n".encode(errors="replace"), 0)
        self._fd = fd

    def release(self) -> None:
        """Give the lock up. The file stays: deleting it would let two processes lock two files of one name."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _holder(fd: int) -> str:
    lines = os.pread(fd, 4096, 0).decode(errors="replace").split("\n")
    if len(lines) < 2 or not lines[0].isdigit():
        return "another process"
    return f"process {lines[0]} ({lines[1].strip() or 'unknown command'})"
