"""The state of a query or mutation while it runs: one `Run` for its transaction, one `Frame` for each function in it.

The function that was called from outside has the outermost frame; `ctx.run_query` and `ctx.run_mutation` make inner
ones. What frames share is in the run; what each has of its own (random numbers, database calls under way) in the frame.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, TypeAlias

from concave.database.calls import CallTracker
from concave.database.policies import Policies
from concave.database.transaction import Transaction
from concave.database.user_clock import UserClock
from concave.functions.decorators import FunctionKind
from concave.functions.served_app import FunctionName, ServedApp
from concave.values.runtime import Runtime
from concave.values.types import Value

Identity: TypeAlias = Mapping[str, Any]
"""The claims of the user who calls, as `ctx.auth.get_user_identity()` shows them."""


class Run:
    """One attempt at a query or mutation. `call_nested` runs a function that another one calls, in the same run.

    `read_identity` is false until a function asks who is calling. `policies` are those of the app's tables, None if no
    table has any.
    """

    __slots__ = ("call_nested", "clock", "env", "identity", "policies", "read_identity", "runtime", "served", "tx")

    def __init__(
        self,
        served: ServedApp,
        tx: Transaction,
        identity: Identity | None,
        env: Mapping[str, str],
        runtime: Runtime,
        call_nested: NestedCall,
    ) -> None:
        self.served = served
        self.tx = tx
        self.clock = UserClock(runtime, tx.limits.user_time_s_max)
        self.identity = identity
        self.env = env
        self.runtime = runtime
        self.call_nested = call_nested
        self.read_identity = False
        self.policies: Policies | None = None


class Frame:
    """One function within a run. `depth` is 1 for the outermost."""

    __slots__ = ("_random", "calls", "depth", "kind", "parent", "run")

    def __init__(self, run: Run, kind: FunctionKind, parent: Frame | None = None) -> None:
        self.run = run
        self.kind: FunctionKind = kind
        self.parent = parent
        self.depth: int = 1 if parent is None else parent.depth + 1
        self.calls = CallTracker(
            journaled=parent is None, clock=run.clock, running_max=run.tx.limits.concurrent_operations_max
        )
        self._random: Random | None = None

    @property
    def random(self) -> Random:
        """The frame's generator, made when it is first asked for: seeded from the caller's, or from the runtime."""
        if self._random is None:
            seed = self.run.runtime.seed() if self.parent is None else self.parent.random.getrandbits(64)
            self._random = Random(seed)
        return self._random

    def call(self, kind: FunctionKind, name: FunctionName, args: Value) -> Awaitable[Value]:
        return self.run.call_nested(self, kind, name, args)


NestedCall: TypeAlias = Callable[[Frame, FunctionKind, FunctionName, Value], Awaitable[Value]]
