"""The steps of a schema push, for the person who waits for it."""

from __future__ import annotations

import sys
from typing import TextIO


class ProgressLine:
    """Steps of something that takes a while: rewritten in place on a terminal, one line a step elsewhere."""

    def __init__(self, stream: TextIO = sys.stderr) -> None:
        self._stream = stream
        self._in_place = stream.isatty()
        self._shown = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        """Fits `storage.store.PushProgress`."""
        line = f"schema: {what} ({done}/{total})"
        if self._in_place:
            self._stream.write(f"\r{line:<{self._shown}}")
            self._shown = len(line)
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def finish(self) -> None:
        """Clear the line, so that what follows begins at the margin."""
        if self._shown:
            self._stream.write(f"\r{' ' * self._shown}\r")
            self._stream.flush()
            self._shown = 0
