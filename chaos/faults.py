"""Faults: what is done to the cluster, and the seeded plan of a run.

The plan (kinds, times, durations, and a number from which the target is chosen) follows from the seed alone. Targets
that depend on the cluster's state, such as the primary, are found out when the fault begins; one that overlaps another
takes a target that is whole. Timing on a real machine is not the seed's: a seed repeats a plan, not an interleaving.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from chaos.cluster import Cluster
from chaos.links import CUT, SILENT, Condition, Pair, Slow
from chaos.processes import until

STOP_TIMEOUT_S: Final = 20.0
TARGET_TIMEOUT_S: Final = 20.0
OVERLAP_SHARE: Final = 0.3
"""How many faults begin while the one before is still there."""
RECOVERY_S: Final = (3.0, 6.0)
"""Peace after a fault that the next does not overlap, in seconds."""


@dataclass(slots=True, frozen=True)
class PlannedFault:
    """At `at_s` from the start of the faults, for `seconds`; `choice` in [0, 1) picks among targets."""

    kind: str
    at_s: float
    seconds: float
    choice: float


@dataclass(slots=True)
class Injected:
    """A fault that was injected; times are of the monotonic clock."""

    kind: str
    target: str
    began_s: float
    healed_s: float = 0.0
    details: list[str] = field(default_factory=list)


Inject = Callable[[Cluster, "Targets", PlannedFault], AbstractAsyncContextManager[str]]
"""Enters when the fault is there, with the name of its target; leaving heals it."""


class Targets:
    """What is under a fault now, so that overlapping faults take different targets."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._taken: set[str] = set()

    @asynccontextmanager
    async def primary(self) -> AsyncIterator[str]:
        """The primary, once there is one that is whole."""
        async with asyncio.timeout(TARGET_TIMEOUT_S):
            while (name := await self._cluster.primary()) is None or name in self._taken:
                await asyncio.sleep(0.1)
        async with self.take(name):
            yield name

    @asynccontextmanager
    async def any_of(self, names: list[str], choice: float) -> AsyncIterator[str]:
        """One of the names, once one is whole."""

        def whole() -> list[str]:
            return [name for name in names if name not in self._taken]

        if not await until(lambda: bool(whole()), TARGET_TIMEOUT_S):
            raise TimeoutError(f"all of {names} are under a fault already")
        free = whole()
        async with self.take(free[int(choice * len(free))]) as name:
            yield name

    @asynccontextmanager
    async def take(self, *names: str) -> AsyncIterator[str]:
        if not await until(lambda: not self._taken.intersection(names), TARGET_TIMEOUT_S):
            raise TimeoutError(f"{names} are under a fault already")
        self._taken.update(names)
        try:
            yield names[0]
        finally:
            self._taken.difference_update(names)


@asynccontextmanager
async def _down(cluster: Cluster, *names: str) -> AsyncIterator[None]:
    """Killed without warning, all at once; started again at the end."""
    cluster.down.update(names)
    await asyncio.gather(*(cluster.processes[name].kill() for name in names))
    try:
        yield
    finally:
        for name in names:
            cluster.processes[name].start()
        cluster.down.difference_update(names)


@asynccontextmanager
async def _paused(cluster: Cluster, name: str) -> AsyncIterator[None]:
    cluster.processes[name].pause()
    try:
        yield
    finally:
        cluster.processes[name].resume()


@asynccontextmanager
async def _links(cluster: Cluster, pairs: list[Pair], condition: Condition) -> AsyncIterator[None]:
    cluster.network.set(pairs, condition)
    try:
        yield
    finally:
        cluster.network.heal(pairs)


@asynccontextmanager
async def kill_primary(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    async with targets.primary() as name, _down(cluster, name):
        yield name


@asynccontextmanager
async def kill_secondary(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    primary = await cluster.primary()
    others = [name for name in cluster.members if name != primary]
    async with targets.any_of(others, fault.choice) as name, _down(cluster, name):
        yield name


@asynccontextmanager
async def kill_server(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    async with targets.any_of(list(cluster.servers), fault.choice) as name, _down(cluster, name):
        yield name


@asynccontextmanager
async def restart_server(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    """In good order: SIGTERM, as at a release."""
    async with targets.any_of(list(cluster.servers), fault.choice) as name:
        cluster.down.add(name)
        try:
            if not await cluster.servers[name].stop(STOP_TIMEOUT_S):
                cluster.surprises.append(f"{name} did not stop within {STOP_TIMEOUT_S:.0f} s of SIGTERM")
            yield name
        finally:
            if cluster.servers[name].pid is None:
                cluster.servers[name].start()
            cluster.down.discard(name)


@asynccontextmanager
async def step_down(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    async with targets.primary() as name:
        stepping = asyncio.get_running_loop().create_task(cluster.step_down(name))
        try:
            yield name
        finally:
            await stepping


@asynccontextmanager
async def pause_primary(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    async with targets.primary() as name, _paused(cluster, name):
        yield name


@asynccontextmanager
async def pause_server(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    async with targets.any_of(list(cluster.servers), fault.choice) as name, _paused(cluster, name):
        yield name


@asynccontextmanager
async def cut_database(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    """One server loses its connections to all members."""
    async with (
        targets.any_of(list(cluster.servers), fault.choice) as name,
        _links(cluster, [(name, member) for member in cluster.members], CUT),
    ):
        yield name


@asynccontextmanager
async def silence_primary(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    """One server hears nothing of the primary any more; all others do."""
    primary = await cluster.primary() or next(iter(cluster.members))
    async with (
        targets.any_of(list(cluster.servers), fault.choice) as name,
        _links(cluster, [(name, primary)], SILENT),
    ):
        yield f"{name} - {primary}"


@asynccontextmanager
async def isolate_primary(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    """The other members and the primary hear nothing of each other; the servers still hear both sides."""
    async with targets.primary() as name:
        others = [member for member in cluster.members if member != name]
        pairs = [(other, name) for other in others] + [(name, other) for other in others]
        async with _links(cluster, pairs, SILENT):
            yield name


@asynccontextmanager
async def slow_database(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    """One server's way to the members takes 20 to 120 ms longer, each way."""
    async with targets.any_of(list(cluster.servers), fault.choice) as name:
        slow = Slow(0.02 + 0.1 * fault.choice)
        async with _links(cluster, [(name, member) for member in cluster.members], slow):
            yield f"{name} +{slow.delay_s * 1000:.0f} ms"


def _client_link(condition: Condition) -> Inject:
    @asynccontextmanager
    async def inject(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
        fronts = [f"clients-{number}" for number in range(len(cluster.front_ports))]
        async with targets.any_of(fronts, fault.choice) as name, _links(cluster, [(name, "balancer")], condition):
            yield name

    return inject


@asynccontextmanager
async def restart_everything(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    """All members and all servers killed at once, as when the power goes."""
    names = list(cluster.processes)
    async with targets.take(*names), _down(cluster, *names):
        yield "everything"


@asynccontextmanager
async def step_clock(cluster: Cluster, targets: Targets, fault: PlannedFault) -> AsyncIterator[str]:
    """The wall clock of one server is up to two minutes fast or slow."""
    name = cluster.server_with_clock
    assert name is not None
    async with targets.take(name):
        offset_s = round((fault.choice - 0.5) * 240) or 60
        cluster.set_clock(offset_s)
        try:
            yield f"{name} {offset_s:+d} s"
        finally:
            cluster.set_clock(0)


@dataclass(slots=True, frozen=True)
class Kind:
    """`seconds` is how long it lasts, from and to; `weight` how often it comes, relative to others."""

    inject: Inject
    text: str
    seconds: tuple[float, float]
    weight: float = 1.0


KINDS: Final[dict[str, Kind]] = {
    "kill-primary": Kind(kill_primary, "kill -9 of the primary", (2, 6), 2),
    "kill-server": Kind(kill_server, "kill -9 of a server", (1, 4), 2),
    "kill-secondary": Kind(kill_secondary, "kill -9 of a secondary", (2, 5)),
    "step-down": Kind(step_down, "primary steps down", (1, 2)),
    "restart-server": Kind(restart_server, "server restarted with SIGTERM", (0.5, 2)),
    "pause-primary": Kind(pause_primary, "primary paused", (2, 14)),
    "pause-server": Kind(pause_server, "server paused", (1, 10), 1.5),
    "isolate-primary": Kind(isolate_primary, "primary isolated from members", (5, 10)),
    "cut-database": Kind(cut_database, "server cut from the database", (2, 6)),
    "silence-primary": Kind(silence_primary, "server hears no primary", (2, 8)),
    "slow-database": Kind(slow_database, "slow links to the database", (4, 8)),
    "cut-clients": Kind(_client_link(CUT), "half the clients cut", (1, 4)),
    "silence-clients": Kind(_client_link(SILENT), "half the clients silent", (2, 6)),
    "slow-clients": Kind(_client_link(Slow(0.15)), "half the clients +150 ms", (3, 6)),
    "restart-everything": Kind(restart_everything, "kill -9 of everything", (0.5, 2), 0.7),
    "step-clock": Kind(step_clock, "clock step on one server", (4, 8)),
}


def plan(seed: int, seconds: float, kinds: list[str]) -> list[PlannedFault]:
    """Faults for `seconds`: each kind once, in random order, before any comes again."""
    chance = random.Random(seed)
    planned: list[PlannedFault] = []
    deck: list[str] = []
    at_s = 2.0
    while True:
        if not deck:
            deck = chance.sample(kinds, len(kinds))
            deck += chance.choices(kinds, [KINDS[kind].weight for kind in kinds], k=len(kinds) // 4)
        kind = deck.pop(0)
        fault = PlannedFault(kind, at_s, chance.uniform(*KINDS[kind].seconds), chance.random())
        if fault.at_s + fault.seconds > seconds:
            return planned
        planned.append(fault)
        if chance.random() < OVERLAP_SHARE:
            at_s += fault.seconds * chance.random()
        else:
            at_s += fault.seconds + chance.uniform(*RECOVERY_S)


SHORT_PLAN: Final = [
    PlannedFault("kill-server", 1.0, 2.0, 0.4),
    PlannedFault("kill-primary", 5.0, 3.0, 0.0),
    PlannedFault("pause-server", 13.0, 3.0, 0.8),
    PlannedFault("cut-database", 17.0, 3.0, 0.1),
    PlannedFault("cut-clients", 18.0, 1.5, 0.6),
]
"""About twenty seconds with the faults that matter most."""


async def inject_all(cluster: Cluster, planned: list[PlannedFault], told: Callable[[str], None]) -> list[Injected]:
    """Inject the plan; returns when every fault is healed."""
    targets = Targets(cluster)
    began_s = time.monotonic()
    done: list[Injected] = []

    async def one(fault: PlannedFault) -> None:
        await asyncio.sleep(max(0.0, began_s + fault.at_s - time.monotonic()))
        asked_s = time.monotonic()
        try:
            async with KINDS[fault.kind].inject(cluster, targets, fault) as target:
                # Orderly stops take effect before they are complete.
                at_s = asked_s if fault.kind == "restart-server" else time.monotonic()
                injected = Injected(fault.kind, target, at_s)
                done.append(injected)
                told(f"{KINDS[fault.kind].text}: {target}, {fault.seconds:.1f} s")
                await asyncio.sleep(fault.seconds)
        except TimeoutError as error:
            told(f"{KINDS[fault.kind].text}: not injected, as nothing was whole enough ({error})")
            return
        injected.healed_s = time.monotonic()
        told(f"{KINDS[fault.kind].text}: healed")

    async with asyncio.TaskGroup() as group:
        for fault in planned:
            group.create_task(one(fault))
    return done
