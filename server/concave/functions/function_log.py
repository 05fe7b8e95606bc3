"""The newest executions of a node's functions, in memory, for `concave logs` and the official tools.

Entries have the fields of http-and-admin.md 7. They are kept as they came and put into that form when somebody asks,
because most are never looked at. Bounded three ways: in completions, in entries, in characters of text.

A stamp, in milliseconds since 1970, orders the entries: the entry's time, or the next float after the stamp before it.
Cursors are stamps.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from concave.functions.logs import TRUNCATION_MARK
from concave.values.runtime import Runtime

COMPLETIONS_MAX: Final = 1_000
ENTRIES_MAX: Final = 10_000
CHARACTERS_MAX: Final = 16 << 20

UdfType = Literal["Query", "Mutation", "Action", "HttpAction"]
Caller = Literal["SyncWorker", "HttpApi", "HttpEndpoint", "Action"]


@dataclass(slots=True)
class Execution:
    """One execution, at its end. Times are in milliseconds; `status` is an HTTP action's.

    `request_id` is that of the root: executions that it started share it, and name it in `parent_id`.
    """

    udf_type: UdfType
    identifier: str
    request_id: str
    execution_id: str
    started_ms: float
    ended_ms: float
    log_lines: Sequence[str] = ()
    error: str | None = None
    parent_id: str | None = None
    caller: Caller = "SyncWorker"
    is_admin: bool = False
    is_user: bool = False
    status: int | None = None
    return_bytes: int | None = None


@dataclass(slots=True)
class Progress:
    """Lines of an action or HTTP action that goes on."""

    udf_type: UdfType
    identifier: str
    request_id: str
    execution_id: str
    at_ms: float
    log_lines: Sequence[str]


@dataclass(slots=True)
class _Stamped:
    stamp: float
    entry: Execution | Progress
    characters: int


@dataclass(slots=True, frozen=True)
class LogPage:
    """`entries` as JSON-able objects, the oldest first; `cursor` asks for what comes after them."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    cursor: float = 0.0


class FunctionLog:
    """The log of one node."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._kept: deque[_Stamped] = deque()
        self._completions = 0
        self._characters = 0
        self._last_stamp = 0.0
        self._waiting: set[asyncio.Future[None]] = set()
        self._is_closed = False

    def add(self, entry: Execution | Progress) -> None:
        stamp = self._runtime.now_ms()
        if stamp <= self._last_stamp:
            stamp = math.nextafter(self._last_stamp, math.inf)
        self._last_stamp = stamp
        characters = sum(map(len, entry.log_lines))
        if type(entry) is Execution:
            self._completions += 1
            if entry.error is not None:
                characters += len(entry.error)
        self._characters += characters
        self._kept.append(_Stamped(stamp, entry, characters))
        while (
            self._completions > COMPLETIONS_MAX
            or len(self._kept) > ENTRIES_MAX
            or (self._characters > CHARACTERS_MAX and len(self._kept) > 1)
        ):
            oldest = self._kept.popleft()
            self._characters -= oldest.characters
            self._completions -= type(oldest.entry) is Execution
        if self._waiting:
            self._wake()

    def close(self) -> None:
        """End all waiting, now and from now on."""
        self._is_closed = True
        self._wake()

    async def after(
        self, cursor: float, *, request_id: str | None = None, structured: bool = False, wait_s: float = 0.0
    ) -> LogPage:
        """The entries after `cursor`, those of one request if it is named. Waits up to `wait_s` for the first one.

        `structured` gives log lines as objects instead of texts.
        """
        deadline = self._runtime.monotonic() + wait_s
        while True:
            page = self._page(cursor, request_id, structured)
            remaining_s = deadline - self._runtime.monotonic()
            if page.entries or remaining_s <= 0 or self._is_closed:
                return page
            arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.add(arrived)
            try:
                await asyncio.wait((arrived,), timeout=remaining_s)
            finally:
                self._waiting.discard(arrived)

    def now(self) -> float:
        """A cursor after which lies only what comes from now on."""
        return max(self._last_stamp, self._runtime.now_ms())

    def _page(self, cursor: float, request_id: str | None, structured: bool) -> LogPage:
        found = []
        for stamped in reversed(self._kept):
            if stamped.stamp <= cursor:
                break
            if request_id is None or stamped.entry.request_id == request_id:
                found.append(stamped)
        found.reverse()
        if not found:
            return LogPage(cursor=cursor)
        return LogPage([_to_json(one, structured) for one in found], found[-1].stamp)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, set()
        for arrived in waiting:
            if not arrived.done():
                arrived.set_result(None)


_USAGE: Final = dict.fromkeys(
    (
        *("databaseReadBytes", "databaseWriteBytes", "databaseIoReadBytes", "databaseIoWriteBytes"),
        *("databaseReadDocuments", "databaseWriteDocuments", "databaseWriteIndexRows"),
        *("storageReadBytes", "storageWriteBytes", "vectorIndexReadBytes", "vectorIndexWriteBytes"),
        *("vectorIndexReadQueryBytes", "vectorIndexWriteQueryBytes", "textIndexQueryBytes", "textIndexWriteQueryBytes"),
        *("networkEgressBytes", "memoryUsedMb"),
    ),
    0,
)
"""Not measured; the official tools want numbers."""


def _to_json(stamped: _Stamped, structured: bool) -> dict[str, Any]:
    entry = stamped.entry
    shown: Callable[[str, float], Any] = _line_object if structured else _line_text
    common = {
        "udfType": entry.udf_type,
        "componentPath": None,
        "identifier": entry.identifier.removesuffix(":default"),
        "timestamp": stamped.stamp / 1000,
        "logLines": [shown(line, stamped.stamp) for line in entry.log_lines],
        "requestId": entry.request_id,
        "executionId": entry.execution_id,
    }
    if isinstance(entry, Progress):
        return {"kind": "Progress", **common}
    return {
        "kind": "Completion",
        **common,
        "executionTimestamp": entry.started_ms / 1000,
        "executionTime": max(0.0, entry.ended_ms - entry.started_ms) / 1000,
        "userExecutionTime": None,
        "success": None if entry.status is None else {"status": str(entry.status)},
        "error": entry.error,
        "parentExecutionId": entry.parent_id,
        "caller": entry.caller,
        "environment": "isolate",
        "cachedResult": False,
        "willRetry": False,
        "identityType": "user" if entry.is_user else "instance_admin" if entry.is_admin else "unknown",
        "returnBytes": entry.return_bytes,
        "occInfo": None,
        "usageStats": _USAGE,
    }


def _line_text(line: str, _: float) -> str:
    return line


def _line_object(line: str, stamp: float) -> dict[str, Any]:
    level, _, text = line.removeprefix("[").partition("] ")
    is_truncated = text.endswith(TRUNCATION_MARK)
    return {
        "messages": [text.removesuffix(TRUNCATION_MARK)],
        "isTruncated": is_truncated,
        "timestamp": int(stamp),
        "level": level,
        "systemMetadata": None,
    }
