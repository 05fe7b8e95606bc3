"""Running one function's handler within a transaction, and the calls that functions make of each other there.

What a nested mutation wrote is undone if it fails, before its caller hears of it; its reads and its use of limits stay
(data-model.md 7.1). Failures of the database cannot be swallowed: user code may catch them, but `SnapshotReads`
remembers them, and the runner raises what it remembers.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from concave.database.query import Query
from concave.database.transaction import copy_document
from concave.database.user_clock import Clocked
from concave.functions.contexts import MutationCtx, QueryCtx
from concave.functions.decorators import FunctionKind
from concave.functions.frames import Frame
from concave.functions.served_app import CompiledFunction, FunctionName
from concave.schema.plan import IndexLayout
from concave.storage.store import Order
from concave.values.coercion import normalize
from concave.values.errors import DeveloperError
from concave.values.types import Document, Timestamp, Value

_MAY_CALL: Final[dict[FunctionKind, tuple[FunctionKind, ...]]] = {
    "query": ("query",),
    "mutation": ("query", "mutation"),
    "action": ("query", "mutation", "action"),
}


class Snapshots(Protocol):
    """The part of a store that transactions read from."""

    async def get(self, table: str, id: str, ts: Timestamp) -> Document | None: ...

    async def scan(
        self, table: str, index: IndexLayout, low: bytes, high: bytes, *, order: Order, limit: int, ts: Timestamp
    ) -> list[Document]: ...

    async def count(self, table: str, ts: Timestamp) -> int: ...


class SnapshotReads:
    """The reads that a transaction asks of its store; `failure` is the first that failed, if one did."""

    __slots__ = ("_store", "failure")

    def __init__(self, store: Snapshots) -> None:
        self._store = store
        self.failure: Exception | None = None

    async def get(self, table: str, id: str, ts: Timestamp) -> Document | None:
        try:
            return await self._store.get(table, id, ts)
        except Exception as error:
            self.failure = self.failure or error
            raise

    async def scan(
        self, table: str, index: IndexLayout, low: bytes, high: bytes, *, order: Order, limit: int, ts: Timestamp
    ) -> list[Document]:
        try:
            return await self._store.scan(table, index, low, high, order=order, limit=limit, ts=ts)
        except Exception as error:
            self.failure = self.failure or error
            raise

    async def count(self, table: str, ts: Timestamp) -> int:
        try:
            return await self._store.count(table, ts)
        except Exception as error:
            self.failure = self.failure or error
            raise


async def execute(frame: Frame, function: CompiledFunction, args: dict[str, Value]) -> Value:
    """Run a handler with checked arguments; returns its normalized and checked result.

    Raises whatever the handler raises, and `DeveloperError` for calls left un-awaited and for a bad result.
    The arguments are the handler's to change: hand in a copy if they are needed again.
    """
    internal = function.spec.visibility == "internal"
    ctx = QueryCtx(frame, internal=internal) if frame.kind == "query" else MutationCtx(frame, internal=internal)
    clock = frame.run.clock
    try:
        if frame.parent is None:
            result = await Clocked(function.call(ctx, args), clock)
        else:  # its steps are the outermost function's
            clock.leave_engine()
            try:
                result = await function.call(ctx, args)
            finally:
                clock.enter_engine()
    except BaseException:
        frame.calls.closed = True  # tasks that the function left behind can do nothing any more
        raise
    frame.calls.check()
    clock.check()
    return function.checked_result(result_value(result, function))


def result_value(result: Any, function: CompiledFunction) -> Value:
    """What a handler returned, as a value; `None` for nothing. Raises `DeveloperError`."""
    if result is None:
        return None
    if isinstance(result, Query):
        raise DeveloperError(
            "InvalidReturnValue",
            f"{function.spec.path} returned a query instead of its results: "
            "end it with `await ....collect()`, `.take(n)`, `.first()`, `.unique()` or `.paginate(...)`",
        )
    return normalize(result, where=f"The result of {function.spec.path}")


async def call_nested(caller: Frame, kind: FunctionKind, name: FunctionName, args: Value) -> Value:
    """What `ctx.run_query` and `ctx.run_mutation` do in a query or mutation: run the function in the caller's
    transaction. Arguments and results are copies, so that neither function can change what the other holds.

    Raises what the function raises, and `DeveloperError`: `InvalidFunctionCall`, `FunctionNotFound`,
    `WrongFunctionType`, `MaximumCallDepthExceeded`, `ArgumentValidationError`, `ReturnsValidationError`.
    """
    if kind not in _MAY_CALL[caller.kind]:
        raise DeveloperError(
            "InvalidFunctionCall",
            f"Cannot call a {kind.capitalize()} function from a {caller.kind.capitalize()} function",
        )
    tx = caller.run.tx
    depth_max = tx.limits.call_depth_max
    if caller.depth >= depth_max:
        raise DeveloperError("MaximumCallDepthExceeded", f"functions call each other more than {depth_max} levels deep")
    function = caller.run.served.find_named(kind, name)
    checked = function.checked_args(
        normalize({} if args is None else args, where=f"Arguments for {function.spec.path}")
    )
    frame = Frame(caller.run, kind, caller)
    async with tx.lend(caller.calls):
        if kind == "query":
            return _copied(await execute(frame, function, copy_document(checked)))
        savepoint = tx.savepoint()
        try:
            return _copied(await execute(frame, function, copy_document(checked)))
        except BaseException:
            tx.rollback_to(savepoint)
            raise


def _copied(value: Value) -> Value:
    return copy_document({"": value})[""] if type(value) is dict or type(value) is list else value
