"""One query execution that any number of subscribers share, and the versions of its result.

A **live query** is identified by its function, its canonical arguments, the journal it runs with, and the caller's
identity, the last only if the function looked at it (spec/function-runtime.md 9). A **version** is what one run
returned: it is valid at every timestamp from the run's own up to, not including, the first commit that touched what
the run had read. A **subscription** ties one query of one subscriber to a live query.

Invariants:

* `version.stale_at` is None only while nothing published touches the version's read set (I7 rests on this).
* A version is delivered for a timestamp only if it is valid at that timestamp (I2).
* A live query's journal never changes. A run that returns another journal (the first run of a page) makes its
  subscribers move to the live query of that journal when they are next refreshed: the page keeps its end for those
  who have seen it, and a newcomer starts with a fresh page (spec/sync-protocol.md 5).
"""

from __future__ import annotations

from enum import Enum
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import orjson

from concave.functions.frames import Identity
from concave.reactive.content import Content
from concave.values.intervals import Interval, IntervalSet
from concave.values.types import Timestamp

ANONYMOUS_KEY: Final = ""
"""The identity key of a caller without identity."""

_PASSING_CLAIMS: Final = frozenset(("jti", "nbf", "fva"))


def identity_key(identity: Identity | None) -> str:
    """Equal for two callers whose claims are equal, but for those that change with each token."""
    if identity is None:
        return ANONYMOUS_KEY
    claims = {name: claim for name, claim in identity.items() if name not in _PASSING_CLAIMS}
    return orjson.dumps(claims, option=orjson.OPT_SORT_KEYS, default=str).decode()


class QueryKey(NamedTuple):
    """What makes two executions the same. `identity` is None for a result that holds for every caller."""

    path: str
    args_json: bytes
    journal: str | None
    internal_ok: bool
    identity: str | None


class Version:
    """The result of one run, and from when to when it holds."""

    __slots__ = ("content", "journal", "read_identity", "read_set", "stale_at", "ts")

    def __init__(
        self,
        content: Content,
        ts: Timestamp,
        read_set: IntervalSet,
        *,
        journal: str | None = None,
        read_identity: bool = False,
    ) -> None:
        self.content = content
        self.ts = ts
        """The snapshot it was read at."""
        self.stale_at: Timestamp | None = None
        """The first commit after `ts` that touched the read set; None until there is one. Set once."""
        self.read_set = read_set
        self.journal = journal
        self.read_identity = read_identity

    def valid_at(self, ts: Timestamp) -> bool:
        """Whether running the query at `ts` would return this very content."""
        return self.ts <= ts and (self.stale_at is None or ts < self.stale_at)

    def touched(self, ts: Timestamp) -> bool:
        """A commit at `ts` touched what was read. Returns whether that is news."""
        if self.stale_at is not None:
            return False
        self.stale_at = ts
        return True


class LiveState(Enum):
    IDLE = "idle"
    """No result, and nobody has asked for one yet."""
    RUNNING = "running"
    """The first run is under way."""
    FRESH = "fresh"
    """The result is what a run at the newest timestamp would return."""
    STALE = "stale"
    """Something the result depends on was changed; it runs again when a subscriber's round asks for it."""


class Waiter(Protocol):
    """Somebody who needs a version that is valid at `wanted_ts`. One of `deliver` and `fail` is called, once."""

    @property
    def wanted_ts(self) -> Timestamp: ...

    @property
    def has_left(self) -> bool:
        """Whether nobody cares any longer; then neither method is called."""

    @property
    def is_patient(self) -> bool:
        """Whether it would rather wait and try again than hear at once of trouble that may pass."""

    def deliver(self, version: Version) -> None: ...

    def fail(self, error: Exception, *, final: bool) -> None:
        """Trouble of ours. Unless `final`, trying again is worth while."""


class Run:
    """One execution under way, at snapshot `ts`, and those who hope that its result will do for them."""

    __slots__ = ("generation", "ts", "waiters")

    def __init__(self, ts: Timestamp, generation: int) -> None:
        self.ts = ts
        self.generation = generation
        """The app's generation when the run began; a result of an older app is of no use."""
        self.waiters: list[Waiter] = []


class LiveQuery:
    """One shared execution. Changed by `refresh.py` and `query_cache.py` only.

    It takes 2.4 KB of memory with its version and two intervals, the result's own bytes not counted (`bench/scale.py`).
    """

    __slots__ = (
        "args_json",
        "failures",
        "identity",
        "identity_key",
        "internal_ok",
        "intervals",
        "journal",
        "key",
        "path",
        "runs",
        "subscriptions",
        "touched_at",
        "version",
    )

    def __init__(
        self, path: str, args_json: bytes, *, journal: str | None, identity: Identity | None, internal_ok: bool
    ) -> None:
        self.path = path
        self.args_json = args_json
        self.journal = journal
        self.identity = identity
        self.identity_key = identity_key(identity)
        self.internal_ok = internal_ok
        self.key: QueryKey | None = None
        """Under which the cache files it; None once the cache has let go of it."""
        self.version: Version | None = None
        """The newest result; None until the first run is done."""
        self.runs: list[Run] = []
        """Executions under way: one, or several at different snapshots while commits keep touching it."""
        self.touched_at = Timestamp(0)
        """The last commit that touched the registered intervals, even if the version was stale before."""
        self.intervals: frozenset[Interval] = frozenset()
        """What the invalidation index holds for it: the read set of `version`."""
        self.subscriptions: set[Subscription] = set()
        self.failures = 0
        """Runs in a row that ended in trouble of ours rather than in a result."""

    @property
    def state(self) -> LiveState:
        if self.version is None:
            return LiveState.RUNNING if self.runs else LiveState.IDLE
        return LiveState.FRESH if self.version.stale_at is None else LiveState.STALE

    @property
    def is_shared(self) -> bool:
        """Whether its result holds for every caller, whoever they are."""
        return self.key is not None and self.key.identity is None

    def serves(self, caller_key: str) -> bool:
        """Whether a caller with this identity key may be given its result."""
        return self.identity_key == caller_key or self.is_shared

    def __repr__(self) -> str:
        return f"<LiveQuery {self.path} {self.args_json[:80]!r} {self.state.value}>"


class Subscriber(Protocol):
    """Whoever holds a set of subscriptions that must be shown at one timestamp: a session."""

    @property
    def round_ts(self) -> Timestamp:
        """The snapshot of the round under way."""

    def collect(self, subscription: Subscription, version: Version) -> None:
        """A version that is valid at `round_ts`."""

    def collect_failure(self, subscription: Subscription, error: Exception, *, final: bool) -> None: ...


class Subscription:
    """One query of one subscriber: a `Waiter` whenever a round of the subscriber needs the query."""

    __slots__ = ("caller_key", "due", "has_left", "identity", "internal_ok", "journal", "live", "subscriber", "tag")

    is_patient: ClassVar[bool] = True

    def __init__(self, subscriber: Subscriber, tag: Any, live: LiveQuery, identity: Identity | None) -> None:
        self.subscriber = subscriber
        self.tag = tag
        """The subscriber's own name for the query."""
        self.live = live
        self.identity = identity
        self.caller_key = identity_key(identity)
        self.internal_ok = live.internal_ok
        self.journal = live.journal
        """The journal that the next run must use: the one of the last version delivered."""
        self.due = False
        """Whether it stands in the subscriber's list of queries that the next round must bring up to date."""
        self.has_left = False
        """Set by `unsubscribe`, for good."""

    @property
    def wanted_ts(self) -> Timestamp:
        return self.subscriber.round_ts

    def deliver(self, version: Version) -> None:
        self.journal = version.journal
        self.subscriber.collect(self, version)

    def fail(self, error: Exception, *, final: bool) -> None:
        self.subscriber.collect_failure(self, error, final=final)
