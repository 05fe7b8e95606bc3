"""What the HTTP layer needs of the engine, and nothing more. `reactive.engine.Engine` fits; so does a fake in tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from concave.functions.frames import Identity
from concave.functions.outcomes import NoData
from concave.values.types import Timestamp, Value


class Answer(Protocol):
    """One finished call: a `functions.outcomes.Outcome`, or a query's result that is decoded only where it is read."""

    @property
    def ok(self) -> bool: ...
    @property
    def value(self) -> Value: ...
    @property
    def value_json(self) -> bytes: ...
    @property
    def error_message(self) -> str: ...
    @property
    def error_data(self) -> Value | NoData: ...
    @property
    def log_lines(self) -> Sequence[str]: ...


class EnginePort(Protocol):
    """One-off calls. A failure of the function is an outcome; trouble of ours is a raised `ConcaveError`.

    `identity` is None for a caller who is nobody in particular. `internal_ok` admits internal functions.
    """

    @property
    def latest_ts(self) -> Timestamp:
        """A timestamp that reads may be pinned to, at which all acknowledged mutations are visible."""

    async def query(
        self,
        path: str,
        args: Value,
        *,
        identity: Identity | None = None,
        ts: Timestamp | None = None,
        internal_ok: bool = False,
    ) -> Answer:
        """Run a query at `ts`, or at the newest timestamp."""

    async def mutation(
        self, path: str, args: Value, *, identity: Identity | None = None, internal_ok: bool = False
    ) -> Answer:
        """Run a mutation; returns once it is committed."""

    async def action(
        self, path: str, args: Value, *, identity: Identity | None = None, internal_ok: bool = False
    ) -> Answer:
        """Run an action to its end."""

    async def run_any(
        self, path: str, args: Value, *, identity: Identity | None = None, internal_ok: bool = False
    ) -> Answer:
        """Run a function of whichever kind it is."""
