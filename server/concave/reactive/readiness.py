"""Whether a node should be sent clients: what `/ready` answers (a node that is not ready may well be alive).

A node is ready while its engine's tasks run, the database has taken a heartbeat lately, and the feed has brought
everything up to shortly before the cluster's time at that heartbeat; and until it begins to shut down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from concave.storage.node_registry import Heartbeat
from concave.values.runtime import Runtime
from concave.values.types import Timestamp

FEED_LAG_S_MAX: Final = 5.0
"""How far the feed may be behind. Cluster time comes in whole seconds and by heartbeats: less would say nothing."""

DATABASE_SILENCE_S_MAX: Final = 8.0
"""How long ago the last answered heartbeat may be; one is sent every 2 s."""

_NANOSECONDS: Final = 1_000_000_000


@dataclass(slots=True, frozen=True)
class Reason:
    """Why a node is not ready: `ShuttingDown`, `EngineStopped`, `DatabaseSilent` or `FeedBehind`."""

    code: str
    message: str


class HasTasks(Protocol):
    def stopped_tasks(self) -> list[str]: ...


class HasFeed(Protocol):
    @property
    def feed_ts(self) -> Timestamp: ...


class HasHeartbeat(Protocol):
    @property
    def last(self) -> Heartbeat | None: ...


class Readiness:
    """Looks at the parts of one node when it is asked; costs nothing in between."""

    def __init__(self, engine: HasTasks, timeline: HasFeed, registry: HasHeartbeat, runtime: Runtime) -> None:
        self._engine = engine
        self._timeline = timeline
        self._registry = registry
        self._runtime = runtime
        self._is_shutting_down = False

    def begin_shutdown(self) -> None:
        """From now on the node is not ready, for good."""
        self._is_shutting_down = True

    def reasons(self) -> list[Reason]:
        """Why not; empty when the node is ready."""
        found: list[Reason] = []
        if self._is_shutting_down:
            found.append(Reason("ShuttingDown", "the node is shutting down"))
        if stopped := self._engine.stopped_tasks():
            found.append(Reason("EngineStopped", f"not running: {', '.join(stopped)}"))
        heartbeat = self._registry.last
        if heartbeat is None:
            found.append(Reason("DatabaseSilent", "the database has not answered yet"))
            return found
        silence_s = self._runtime.monotonic() - heartbeat.at_s
        if silence_s > DATABASE_SILENCE_S_MAX:
            found.append(Reason("DatabaseSilent", f"the database last took a write {silence_s:.0f} s ago"))
        lag_s = (heartbeat.cluster_ts - self._timeline.feed_ts) / _NANOSECONDS
        if lag_s > FEED_LAG_S_MAX:
            found.append(Reason("FeedBehind", f"the change feed is {lag_s:.0f} s behind the database"))
        return found
