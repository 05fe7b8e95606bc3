"""What a run has recorded, for the checks at its end: calls, what clients were shown, other programs' writes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from concave.values.types import Timestamp


class Violation(Exception):
    """An invariant of ARCHITECTURE.md does not hold. `invariant` is its number, or `liveness` or `error`."""

    def __init__(self, invariant: str, message: str) -> None:
        super().__init__(f"{invariant}: {message}")
        self.invariant = invariant


@dataclass(slots=True, frozen=True)
class Shown:
    """What a client holds for a query: a value, or an error's data."""

    failed: bool
    content: Any


@dataclass(slots=True)
class Call:
    """A mutation of a client. `answer` is the response as the client got it first; None while it waits."""

    path: str
    args: dict[str, Any]
    answer: Shown | None = None
    ts: Timestamp | None = None
    """The timestamp in the first successful response."""
    resolved: bool = False
    sendings: int = 0


@dataclass(slots=True, frozen=True)
class Sight:
    """What a client saw after a Transition: the results of its queries, by (path, arguments)."""

    client: str
    connection: int
    ts: Timestamp
    results: dict[tuple[str, str], Shown]


@dataclass(slots=True, frozen=True)
class ForeignChange:
    ts: Timestamp
    table: str
    id: str
    document: dict[str, Any] | None


@dataclass(slots=True)
class History:
    """Calls by (session, request)."""

    calls: dict[tuple[str, int], Call] = field(default_factory=dict)
    sights: list[Sight] = field(default_factory=list)
    foreign: list[ForeignChange] = field(default_factory=list)


class Trace:
    """Everything that happens, in order: always as a hash, and as lines if they are wanted."""

    def __init__(self, *, keep: bool) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: list[str] | None = [] if keep else None
        self.events = 0

    def note(self, time_s: float, what: str, details: tuple[object, ...]) -> None:
        line = f"{time_s:.6f} {what} {' '.join(map(str, details))}"
        self.events += 1
        self._hash.update(line.encode())
        if self.lines is not None:
            self.lines.append(line)

    def digest(self) -> str:
        return self._hash.hexdigest()
