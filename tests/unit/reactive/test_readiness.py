"""When a node is ready, and what it says when it is not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from concave.reactive.readiness import DATABASE_SILENCE_S_MAX, FEED_LAG_S_MAX, Readiness
from concave.storage.node_registry import Heartbeat
from concave.values.runtime import SystemRuntime
from concave.values.timestamps import from_cluster
from concave.values.types import Timestamp


class Clock(SystemRuntime):
    now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@dataclass
class Parts:
    """A node's engine, timeline and registry in one."""

    clock: Clock = field(default_factory=Clock)
    stopped: list[str] = field(default_factory=list)
    feed_ts: Timestamp = from_cluster(5_000, 3)
    last: Heartbeat | None = None

    def stopped_tasks(self) -> list[str]:
        return self.stopped


@pytest.fixture
def parts() -> Parts:
    parts = Parts()
    parts.last = Heartbeat(parts.clock.now_s, from_cluster(5_000, 1))
    return parts


@pytest.fixture
def readiness(parts: Parts) -> Readiness:
    return Readiness(parts, parts, parts, parts.clock)


def codes(readiness: Readiness) -> list[str]:
    return [reason.code for reason in readiness.reasons()]


def test_ready(readiness: Readiness) -> None:
    assert codes(readiness) == []


def test_a_database_that_has_not_answered_yet(readiness: Readiness, parts: Parts) -> None:
    parts.last = None
    assert codes(readiness) == ["DatabaseSilent"]


def test_a_database_that_has_stopped_answering(readiness: Readiness, parts: Parts) -> None:
    parts.clock.now_s += DATABASE_SILENCE_S_MAX
    assert codes(readiness) == []
    parts.clock.now_s += 1
    assert codes(readiness) == ["DatabaseSilent"]


def test_a_feed_that_is_behind(readiness: Readiness, parts: Parts) -> None:
    parts.last = Heartbeat(parts.clock.now_s, from_cluster(5_000 + int(FEED_LAG_S_MAX), 1))
    assert codes(readiness) == []
    parts.last = Heartbeat(parts.clock.now_s, from_cluster(5_002 + int(FEED_LAG_S_MAX), 1))
    assert codes(readiness) == ["FeedBehind"]


def test_a_committer_that_has_ended(readiness: Readiness, parts: Parts) -> None:
    parts.stopped = ["committer"]
    (reason,) = readiness.reasons()
    assert (reason.code, reason.message) == ("EngineStopped", "not running: committer")


def test_shutting_down_is_for_good(readiness: Readiness) -> None:
    readiness.begin_shutdown()
    assert codes(readiness) == ["ShuttingDown"]
