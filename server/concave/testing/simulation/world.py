"""Everything that one run simulates: nodes, clients, another program that writes, and the trouble between them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

from concave.functions.loader import LoadedApp, load_app
from concave.schema.plan import Plan, compile_plan
from concave.storage.memory import MemoryDatabase
from concave.testing.simulation.client import APP_MODULE, SimulatedClient
from concave.testing.simulation.faults import CALM, draw_faults
from concave.testing.simulation.history import Call, ForeignChange, History, Trace, Violation
from concave.testing.simulation.network import Connection
from concave.testing.simulation.node import SimulatedNode
from concave.testing.simulation.virtual_time import SimulatedRuntime
from concave.testing.simulation.workload import SET_UP, TOPICS, User
from concave.values.ids import new_id
from concave.values.types import Timestamp

TICK_S = 0.02
"""How often trouble is drawn."""

QUIET_S_MAX = 120.0
"""How long clients may take to come to rest when all trouble has ended."""

HISTORY_S = 1e9


@cache
def the_app() -> tuple[LoadedApp, Plan]:
    app = load_app(Path(__file__).parent / "app")
    return app, compile_plan(app.schema)


class _DatabaseClock(SimulatedRuntime):
    """The database's own. With `in_seconds` timestamps are as dense as MongoDB's: each is the one before and one."""

    def __init__(self, random: Random, *, in_seconds: bool) -> None:
        super().__init__(random)
        self._in_seconds = in_seconds

    def now_ms(self) -> float:
        now_ms = super().now_ms()
        return now_ms // 1000 * 1000 if self._in_seconds else now_ms


class World:
    """One run. `trace` hears of everything; the checks look at `history` and `database` afterwards."""

    def __init__(self, seed: int, trace: Trace, *, actions: int, stress: Mapping[str, float]) -> None:
        self.seed = seed
        self.trace = trace
        self.history = History()
        self.violations: list[Violation] = []
        self._loop = asyncio.get_running_loop()
        self._random = Random(f"{seed}")
        self._actions = actions
        self.drawn_faults = replace(draw_faults(self._random), **stress)
        self._faults = CALM
        self._clock = _DatabaseClock(Random(f"{seed} database"), in_seconds=self._random.random() < 0.5)
        self.database = MemoryDatabase(self._clock, history_s=HISTORY_S)
        app, plan = the_app()
        self.nodes = [
            SimulatedNode(
                f"node{number}",
                self.database,
                app,
                plan,
                Random(f"{seed} node {number}"),
                lambda: self._faults,
                self.note,
                self.report,
            )
            for number in range(self._random.choice((1, 2, 2, 3)))
        ]
        numbers = itertools.count(1)
        self.clients: list[SimulatedClient] = []
        self.users: list[User] = []
        for number in range(self._random.choice((2, 3, 3, 4))):
            client = SimulatedClient(f"client{number}", self._clock.uuid(), self, Random(f"{seed} client {number}"))
            self.clients.append(client)
            self.users.append(User(client, Random(f"{seed} user {number}"), numbers))

    # -- what clients and nodes ask of it -----------------------------------------------------------------------------

    def note(self, what: str, *details: object) -> None:
        self.trace.note(self._loop.time(), what, details)

    def report(self, violation: Violation) -> None:
        self.note("violation", violation)
        self.violations.append(violation)

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        self._loop.call_later(delay_s, call)

    def connect(self, client: SimulatedClient, number: int) -> Connection | None:
        node = self._random.choice(self.nodes)
        connection = node.connect(number, client)
        self.note("connecting", client.name, number, node.name, connection is not None)
        return connection

    # -- a run --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """From the first node's start until everything is at rest."""
        for node in self.nodes:
            await node.start()
        await self._set_up()
        for client, user in zip(self.clients, self.users, strict=True):
            user.begin()
            client.start()
        self._faults = self.drawn_faults
        self.note("faults", self._faults)
        trouble = asyncio.create_task(self._trouble())
        # Users may be far faster than the system, or leave it time.
        pause_s = self._random.choice((0.002, 0.01, 0.04))
        await asyncio.gather(*(self._use(user, pause_s) for user in self.users))
        await asyncio.sleep(self._random.random() * 0.2)
        trouble.cancel()
        await asyncio.wait((trouble,))
        if not trouble.cancelled() and (failure := trouble.exception()) is not None:
            raise failure
        self._faults = CALM
        self.note("quiet")
        for node in self.nodes:
            if node.engine is None:
                await node.start()
        await self._come_to_rest()
        for node in self.nodes:
            for failure_text in node.failures():
                self.report(Violation("error", failure_text))

    async def end(self) -> None:
        """Leave no task behind."""
        for node in self.nodes:
            node.kill()
        await asyncio.sleep(0)
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending)

    async def _set_up(self) -> None:
        engine = self.nodes[0].engine
        assert engine is not None
        self.history.calls["set up", 0] = Call("set_up", SET_UP)
        outcome = await engine.mutation(f"{APP_MODULE}:set_up", SET_UP, session_id="set up", request_id=0)
        assert outcome.ok, outcome.error_message
        for node in self.nodes:
            await node.wait_for(outcome.ts)

    async def _use(self, user: User, pause_s: float) -> None:
        random = Random(self._random.getrandbits(64))
        for _ in range(self._actions):
            await asyncio.sleep(random.expovariate(1 / pause_s))
            user.act()

    async def _trouble(self) -> None:
        """Whatever does not come from within a request: crashes, cuts, other programs."""
        random = Random(f"{self.seed} trouble")
        dead: dict[SimulatedNode, float] = {}
        while True:
            await asyncio.sleep(TICK_S)
            faults, now_s = self._faults, self._loop.time()

            def happens(per_second: float) -> bool:
                return random.random() < per_second * TICK_S

            for node in self.nodes:
                if node in dead:
                    if now_s >= dead[node]:
                        del dead[node]
                        await node.start()
                elif happens(faults.crash):
                    node.kill()
                    dead[node] = now_s + random.random() ** 2
                elif happens(faults.restart):
                    await node.stop()
                    dead[node] = now_s + random.random() ** 2
                elif happens(faults.reload):
                    node.reload()
                elif happens(faults.clock_step):
                    node.step_clock()
            for client in self.clients:
                if happens(faults.cut):
                    client.cut()
            if happens(faults.foreign):
                self._write_as_another_program(random)
            if happens(faults.feed_lost):
                self.note("events forgotten")
                self.database.forget_events()
            if happens(faults.snapshot_lost):
                self.note("snapshots forgotten")
                self._forget_snapshots()

    def _write_as_another_program(self, random: Random) -> None:
        database = self.database
        held = sorted(database.tables["notices"].current.items())
        choice = random.random()
        if not held or choice < 0.5:
            document_id = new_id(database.numbers["notices"], self._clock)
            document = {
                "_id": document_id,
                "_creationTime": self._clock.now_ms(),
                "topic": random.choice(TOPICS),
                "text": f"foreign {random.getrandbits(16)}",
            }
            ts = database.foreign_insert("notices", document)
            change = ForeignChange(ts, "notices", document_id, document)
        else:
            document_id, version = random.choice(held)
            if choice < 0.8:
                document = {
                    **version.document,
                    "topic": random.choice(TOPICS),
                    "text": f"edited {random.getrandbits(16)}",
                }
                change = ForeignChange(database.foreign_update("notices", document), "notices", document_id, document)
            else:
                change = ForeignChange(database.foreign_delete("notices", document_id), "notices", document_id, None)
        self.history.foreign.append(change)
        self.note("foreign write", change)

    def _forget_snapshots(self) -> None:
        self.database.oldest = Timestamp(max(self.database.oldest, self.database.latest - 1))

    async def _come_to_rest(self) -> None:
        """Wait until every client has all its answers, and some time more for what they hold to become final."""
        deadline_s = self._loop.time() + QUIET_S_MAX
        while not all(client.is_at_rest for client in self.clients):
            if self._loop.time() > deadline_s:
                waiting = "; ".join(client.waits_for for client in self.clients if not client.is_at_rest)
                self.report(Violation("liveness", f"not at rest after {QUIET_S_MAX:g} s: {waiting}"))
                return
            await asyncio.sleep(0.25)
        await asyncio.sleep(12.0)
