"""One run: build the world of a seed, let it go, check what happened."""

from __future__ import annotations

import gc
import logging
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from concave.reactive.live_query import LiveQuery, Subscription
from concave.testing.simulation.checking import Checks
from concave.testing.simulation.history import Trace, Violation
from concave.testing.simulation.virtual_time import SimulationStuck, VirtualLoop
from concave.testing.simulation.world import World
from concave.values.errors import ConcaveError

ACTIONS = 16
"""Things that each user does in a run of ordinary size."""

_EXPECTED_ERRORS = ("the change feed failed",)
"""Beginnings of log messages that our faults cause; any other error that the engine logs is a finding."""


@dataclass(slots=True, frozen=True)
class Report:
    """What one seed gave. `violation` is the first one found; `digest` is a hash of everything that happened."""

    seed: int
    violation: Violation | None
    digest: str
    events: int
    commits: int
    transitions: int
    virtual_s: float
    lines: tuple[str, ...] = ()


def simulate(
    seed: int, *, actions: int = ACTIONS, trace: bool = False, stress: Mapping[str, float] | None = None
) -> Report:
    """Run one seed. With `trace` the report holds a line for everything that happened. `stress` sets some `Faults`."""
    record = Trace(keep=trace)
    loop = VirtualLoop()
    errors: list[str] = []

    def unhandled(_: object, context: dict[str, Any]) -> None:
        # When a node dies nobody is left to hear what became of its transactions.
        if not isinstance(context.get("exception"), ConcaveError):
            errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    loop.set_exception_handler(unhandled)
    violation: Violation | None = None
    world: World | None = None

    async def main() -> None:
        nonlocal world
        world = World(seed, record, actions=actions, stress=stress or {})
        try:
            await world.run()
        finally:
            await world.end()

    with _collector_at_rest(), _repeatable_hashes(), _errors_of_engine(errors):
        try:
            loop.run_until_complete(main())
        except SimulationStuck as stuck:
            violation = Violation("liveness", str(stuck))
        finally:
            virtual_s = loop.time()
            loop.close()
    assert world is not None
    if world.violations:
        violation = world.violations[0]
    elif errors:
        violation = Violation("error", errors[0])
    if violation is None:
        try:
            Checks(world.history, world.database).check(world.clients)
        except Violation as found:
            violation = found
    return Report(
        seed,
        violation,
        record.digest(),
        record.events,
        len(world.database.entries),
        len(world.history.sights),
        virtual_s,
        tuple(record.lines or ()),
    )


@contextmanager
def _repeatable_hashes() -> Iterator[None]:
    """The engine keeps sets of live queries and the like, which are ordered by address. Order them by content."""

    def query_hash(live: LiveQuery) -> int:
        return zlib.crc32(live.path.encode() + live.args_json)

    def subscription_hash(subscription: Subscription) -> int:
        return hash(subscription.subscriber) * 31 + int(subscription.tag.query_id)

    wanted = {LiveQuery: query_hash, Subscription: subscription_hash}
    held = {kind: kind.__hash__ for kind in wanted}
    for kind, function in wanted.items():
        kind.__hash__ = function  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        for kind, function in held.items():
            kind.__hash__ = function  # type: ignore[method-assign]


@contextmanager
def _errors_of_engine(errors: list[str]) -> Iterator[None]:
    """Collect what the engine logs as an error, and keep all it logs from the terminal."""

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.ERROR and not record.getMessage().startswith(_EXPECTED_ERRORS):
                cause = "" if record.exc_info is None else f" ({record.exc_info[1]!r})"
                errors.append(record.getMessage() + cause)

    handler = Collect(logging.ERROR)
    logger = logging.getLogger("concave")
    held = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = held
        logger.setLevel(held[0])


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """When garbage is collected, forgotten generators run: that must not fall into the run at random."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
