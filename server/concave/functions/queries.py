"""Queries for those outside (function-runtime.md section 2)."""

from __future__ import annotations

from collections.abc import Callable

from concave.functions.attempts import Attempt, Attempts
from concave.functions.frames import Identity
from concave.functions.logs import LogLines
from concave.functions.permits import Permits
from concave.functions.served_app import CompiledFunction, ServedApp
from concave.storage.store import SnapshotTooOld
from concave.values.errors import OverloadError
from concave.values.types import Timestamp, Value


class Queries:
    """Runs queries; no more than its permits allow at once."""

    __slots__ = ("_attempts", "_permits")

    def __init__(self, attempts: Attempts, permits: Permits) -> None:
        self._attempts = attempts
        self._permits = permits

    async def run(
        self,
        served: ServedApp,
        function: CompiledFunction,
        args: dict[str, Value],
        *,
        identity: Identity | None,
        ts: Timestamp | Callable[[], Timestamp],
        log: LogLines,
        journal: str | None = None,
    ) -> Attempt:
        """Run a query with checked arguments at `ts`, or at what `ts` returns when the query's turn has come.

        Raises `OverloadError` (`OutOfRetention` if the snapshot is gone: ask again at a newer one) and `EngineError`.
        """
        async with self._permits:
            try:
                return await self._attempts.make(
                    served,
                    function,
                    args,
                    identity=identity,
                    ts=ts() if callable(ts) else ts,
                    log=log,
                    journal=journal,
                )
            except SnapshotTooOld as error:
                raise OverloadError(
                    "OutOfRetention", f"{function.spec.path} cannot be run at {ts}: that snapshot is gone"
                ) from error
