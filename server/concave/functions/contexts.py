"""`ctx`: what functions are given (design.md section 7, "The function-side API, fixed").

| | QueryCtx | MutationCtx | ActionCtx, SyncActionCtx |
|---|---|---|---|
| `db` | reads | reads and writes | |
| `run_query` | same snapshot | same transaction | a transaction of its own |
| `run_mutation` | | same transaction | a transaction of its own |
| `run_action` | | | yes |
| `auth`, `now`, `random`, `env` | yes | yes | yes |
| `meta` | yes | yes | |

`storage`, `scheduler` and `vector_search` are not served by this version; using one says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, NoReturn, Protocol

from concave.database.calls import CallTracker, DatabaseCall
from concave.database.policies import Policies, rule_view
from concave.database.reader import DatabaseReader
from concave.database.transaction import Transaction
from concave.database.writer import DatabaseWriter
from concave.functions.decorators import FunctionKind
from concave.functions.frames import Frame, Identity, Run
from concave.functions.served_app import FunctionName
from concave.values.errors import DeveloperError
from concave.values.types import Value


def _not_served(what: str) -> NoReturn:
    raise DeveloperError("NotServed", f"ctx.{what} is not served by this version of concave")


class Auth:
    """`ctx.auth` of queries and mutations. Asking makes the result one for this caller only."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        self._run = run

    async def get_user_identity(self) -> dict[str, Any] | None:
        """The claims of the user who calls, None for anonymous callers."""
        run = self._run
        run.read_identity = True
        return None if run.identity is None else dict(run.identity)


class Meta:
    """`ctx.meta`: what is known of the run itself."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    async def get_transaction_metrics(self) -> dict[str, dict[str, float]]:
        """`{"documentsRead": {"used": n, "remaining": n}, ...}` for each limit of data-model.md 7.5."""
        return self._frame.run.tx.usage.metrics()


class QueryCtx:
    """The context of a query."""

    __slots__ = ("_frame", "db")

    def __init__(self, frame: Frame, *, internal: bool) -> None:
        """`internal` functions may do without policies."""
        self._frame = frame
        run = frame.run
        self.db: DatabaseReader = DatabaseReader(run.tx, frame.calls, run.policies, may_bypass=internal)

    @property
    def now(self) -> float:
        """Milliseconds since 1970, fixed for the whole run: nested calls see the same."""
        return self._frame.run.tx.now_ms

    @property
    def random(self) -> Random:
        """A generator seeded for this execution."""
        return self._frame.random

    @property
    def auth(self) -> Auth:
        return Auth(self._frame.run)

    @property
    def meta(self) -> Meta:
        return Meta(self._frame)

    @property
    def env(self) -> Mapping[str, str]:
        """The app's environment variables."""
        return self._frame.run.env

    def run_query(self, function: FunctionName, args: Value = None) -> DatabaseCall[Value]:
        """Call a query at this snapshot; returns its result.

        Raises what it raises, `ArgumentValidationError` and `ReturnsValidationError` included.
        """
        return DatabaseCall(self._frame.calls, "ctx.run_query", self._frame.call, ("query", function, args))

    def run_mutation(self, function: FunctionName, args: Value = None) -> DatabaseCall[Value]:
        """Refused in queries (`InvalidFunctionCall`)."""
        return DatabaseCall(self._frame.calls, "ctx.run_mutation", self._frame.call, ("mutation", function, args))

    def run_action(self, function: FunctionName, args: Value = None) -> DatabaseCall[Value]:
        """Refused in queries and mutations (`InvalidFunctionCall`)."""
        return DatabaseCall(self._frame.calls, "ctx.run_action", self._frame.call, ("action", function, args))

    @property
    def storage(self) -> NoReturn:
        _not_served("storage")

    @property
    def scheduler(self) -> NoReturn:
        _not_served("scheduler")


class MutationCtx(QueryCtx):
    """The context of a mutation: `db` writes, and `run_mutation` calls a mutation within this transaction. What the
    called mutation wrote is undone if it fails; its caller may catch the error and go on."""

    __slots__ = ()

    db: DatabaseWriter

    def __init__(self, frame: Frame, *, internal: bool) -> None:
        self._frame = frame
        run = frame.run
        self.db = DatabaseWriter(run.tx, frame.calls, run.policies, may_bypass=internal)


class RuleCtx:
    """What rules of policies get as `ctx` (`database/policies.py`): reads without policies, and who calls."""

    __slots__ = ("_run", "db")

    def __init__(self, run: Run, view: Transaction, calls: CallTracker) -> None:
        self._run = run
        self.db = DatabaseReader(view, calls)

    @property
    def auth(self) -> Auth:
        return Auth(self._run)

    @property
    def now(self) -> float:
        """Milliseconds since 1970: the function's own time."""
        return self._run.tx.now_ms

    @property
    def env(self) -> Mapping[str, str]:
        """The app's environment variables."""
        return self._run.env


def policies_of(run: Run) -> Policies | None:
    """The policies of the run's tables, None if there are none."""
    rules = run.served.catalog.policies
    if not rules:
        return None
    view = rule_view(run.tx)
    return Policies(rules, lambda calls: RuleCtx(run, view, calls))


class ActionCalls(Protocol):
    """What an action asks of the engine. Functions it calls raise in it what they raised."""

    async def call(self, kind: FunctionKind, name: FunctionName, args: Value) -> Value: ...


class ActionAuth:
    """`ctx.auth` of actions."""

    __slots__ = ("_identity",)

    def __init__(self, identity: Identity | None) -> None:
        self._identity = identity

    async def get_user_identity(self) -> dict[str, Any] | None:
        """The claims of the user who calls, None for anonymous callers."""
        return None if self._identity is None else dict(self._identity)


class SyncActionAuth:
    """`ctx.auth` of actions that are plain functions."""

    __slots__ = ("_identity",)

    def __init__(self, identity: Identity | None) -> None:
        self._identity = identity

    def get_user_identity(self) -> dict[str, Any] | None:
        """The claims of the user who calls, None for anonymous callers."""
        return None if self._identity is None else dict(self._identity)


class _ActionBase:
    """What both kinds of actions have. `now` is the time of the start, in milliseconds since 1970."""

    __slots__ = ("_calls", "_identity", "env", "now", "random")

    def __init__(
        self, calls: ActionCalls, identity: Identity | None, now: float, random: Random, env: Mapping[str, str]
    ) -> None:
        self._calls = calls
        self._identity = identity
        self.now = now
        self.random = random
        self.env = env

    @property
    def db(self) -> NoReturn:
        raise DeveloperError(
            "NoDatabaseInActions",
            "an action has no ctx.db: put the reads and writes into a query or a mutation and call it "
            "with ctx.run_query or ctx.run_mutation",
        )

    @property
    def storage(self) -> NoReturn:
        _not_served("storage")

    @property
    def scheduler(self) -> NoReturn:
        _not_served("scheduler")

    @property
    def vector_search(self) -> NoReturn:
        _not_served("vector_search")


class ActionCtx(_ActionBase):
    """The context of an `async def` action."""

    __slots__ = ("_tracker",)

    def __init__(
        self,
        calls: ActionCalls,
        tracker: CallTracker,
        identity: Identity | None,
        now: float,
        random: Random,
        env: Mapping[str, str],
    ) -> None:
        super().__init__(calls, identity, now, random, env)
        self._tracker = tracker

    @property
    def auth(self) -> ActionAuth:
        return ActionAuth(self._identity)

    def run_query(self, function: FunctionName, args: Value = None) -> DatabaseCall[Value]:
        """Run a query at the newest snapshot; returns its result, or raises what it raised."""
        return DatabaseCall(self._tracker, "ctx.run_query", self._calls.call, ("query", function, args))

    def run_mutation(self, function: FunctionName, args: Value = None) -> DatabaseCall[Value]:
        """Run and commit a mutation; returns its result. Raises what it raised, and `ConflictError` after retries."""
        return DatabaseCall(self._tracker, "ctx.run_mutation", self._calls.call, ("mutation", function, args))

    def run_action(self, function: FunctionName, args: Value = None) -> DatabaseCall[Value]:
        """Run another action to its end; returns its result, or raises what it raised."""
        return DatabaseCall(self._tracker, "ctx.run_action", self._calls.call, ("action", function, args))


class SyncActionCtx(_ActionBase):
    """The context of an action that is a plain `def`: it has a thread of its own, and its calls block that thread."""

    __slots__ = ("_loop",)

    def __init__(
        self,
        calls: ActionCalls,
        loop: asyncio.AbstractEventLoop,
        identity: Identity | None,
        now: float,
        random: Random,
        env: Mapping[str, str],
    ) -> None:
        super().__init__(calls, identity, now, random, env)
        self._loop = loop

    @property
    def auth(self) -> SyncActionAuth:
        return SyncActionAuth(self._identity)

    def run_query(self, function: FunctionName, args: Value = None) -> Value:
        """As `ActionCtx.run_query`."""
        return self._wait("query", function, args)

    def run_mutation(self, function: FunctionName, args: Value = None) -> Value:
        """As `ActionCtx.run_mutation`."""
        return self._wait("mutation", function, args)

    def run_action(self, function: FunctionName, args: Value = None) -> Value:
        """As `ActionCtx.run_action`."""
        return self._wait("action", function, args)

    def _wait(self, kind: FunctionKind, function: FunctionName, args: Value) -> Value:
        # The task belongs to this thread, which does nothing but wait for it.
        return asyncio.run_coroutine_threadsafe(self._calls.call(kind, function, args), self._loop).result()
