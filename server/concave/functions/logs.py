"""What a function prints and logs becomes its log lines (sync-protocol.md section 7, function-runtime.md 16.2).

`print` and `logging` are caught by a context variable: inside a function they write to that execution's `LogLines`,
outside they do what they always did. `install` puts the three catchers in place, once per process:

* `builtins.print`, because only there the arguments are still apart, and upstream shows strings in quotes;
* `sys.stdout`, for what writes to it without `print`;
* a handler on the root logger. Records reach it if their logger is enabled for their level: the loader lowers the
  level of the app's own loggers to DEBUG; records of `logging.info(...)` itself follow the root logger's level.
"""

from __future__ import annotations

import builtins
import io
import logging
import re
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any, Final, Literal, TextIO

from concave.values.limits import DEFAULT_LIMITS, Limits

Level = Literal["DEBUG", "INFO", "LOG", "WARN", "ERROR"]

TRUNCATION_MARK: Final = " (truncated due to length)"

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f'\\]")
_ESCAPES = {"'": "\\'", "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


class LogLines:
    """The log lines of one execution, nested calls included, in order.

    Bounded by `log_lines_max` (when more come, the last line says so instead) and `log_line_chars_max`.
    """

    __slots__ = ("_characters_max", "_lines_max", "_overflown", "_partial", "lines")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.lines: list[str] = []
        self._lines_max = limits.log_lines_max
        self._characters_max = limits.log_line_chars_max
        self._partial = ""
        self._overflown = False

    def add(self, level: Level, text: str) -> None:
        if len(text) > self._characters_max:
            text = text[: self._characters_max] + TRUNCATION_MARK
        self._append(f"[{level}] {text}")

    def extend(self, lines: Iterable[str]) -> None:
        """Add the finished lines of another execution."""
        for line in lines:
            self._append(line)

    def write(self, text: str) -> None:
        """Text written to standard output: a line is added whenever one is complete."""
        *complete, rest = (self._partial + text).split("\n")
        for line in complete:
            self.add("LOG", line)
        # Bounded, because a function may write for ever without ending its line.
        self._partial = rest[: self._characters_max + 1]

    def finish(self) -> list[str]:
        """All lines, a last incomplete one included."""
        if self._partial:
            self.add("LOG", self._partial)
            self._partial = ""
        return self.lines

    def _append(self, line: str) -> None:
        if len(self.lines) < self._lines_max:
            self.lines.append(line)
        elif not self._overflown:
            self._overflown = True
            self.lines[-1] = f"[ERROR] Log overflow (maximum {self._lines_max}). Remaining log lines omitted."


current_log: ContextVar[LogLines | None] = ContextVar("concave_current_log", default=None)
"""Where prints and log records of the running function go; None outside of functions."""


def inspect_argument(value: Any) -> str:
    """One argument of `print`, as upstream's console shows it: strings in single quotes, the rest as `str`."""
    if isinstance(value, str):
        return "'" + _UNPRINTABLE.sub(_escape, value) + "'"
    return str(value)


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return _ESCAPES.get(character) or f"\\x{ord(character):02x}"


class _Stdout(io.TextIOBase):
    """Standard output that hands to the running function's log what is written inside one."""

    def __init__(self, outside: TextIO) -> None:
        self.outside = outside

    def write(self, text: str) -> int:
        log = current_log.get()
        if log is None:
            return self.outside.write(text)
        log.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self.outside.flush()

    def isatty(self) -> bool:
        return self.outside.isatty()

    def fileno(self) -> int:
        return self.outside.fileno()

    def writable(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.outside, name)


_LEVELS: Final[tuple[tuple[int, Level], ...]] = (
    (logging.ERROR, "ERROR"),
    (logging.WARNING, "WARN"),
    (logging.INFO, "INFO"),
)


class FunctionLogHandler(logging.Handler):
    """Turns log records into log lines of the running function; outside of functions it does nothing."""

    def emit(self, record: logging.LogRecord) -> None:
        log = current_log.get()
        if log is None or record.name.startswith("concave."):
            return
        level: Level = next((name for threshold, name in _LEVELS if record.levelno >= threshold), "DEBUG")
        log.add(level, self.format(record))


_uninstall: Callable[[], None] | None = None


def install() -> Callable[[], None]:
    """Catch prints and log records of functions from now on; returns what undoes it. Further calls change nothing."""
    global _uninstall
    if _uninstall is not None:
        return _uninstall
    print_outside = builtins.print
    stdout_outside = sys.stdout
    stdout = _Stdout(stdout_outside)
    handler = FunctionLogHandler()

    def print_inside(
        *values: object, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
    ) -> None:
        log = current_log.get()
        if log is None or (file is not None and file is not sys.stdout):
            print_outside(*values, sep=sep, end=end, file=file, flush=flush)
        else:
            log.add("LOG", (" " if sep is None else sep).join([inspect_argument(value) for value in values]))

    def uninstall() -> None:
        global _uninstall
        _uninstall = None
        builtins.print = print_outside
        if sys.stdout is stdout:
            sys.stdout = stdout_outside
        logging.getLogger().removeHandler(handler)

    builtins.print = print_inside
    sys.stdout = stdout
    logging.getLogger().addHandler(handler)
    _uninstall = uninstall
    return uninstall
