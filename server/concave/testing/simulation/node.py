"""One simulated server process: the engine of `cli/node.py` without MongoDB and HTTP; it may die and start again."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from concave.functions.attempts import RunnerOptions
from concave.functions.loader import LoadedApp
from concave.functions.runner import FunctionRunner
from concave.reactive.engine import Engine
from concave.schema.catalog import Catalog
from concave.schema.plan import Plan
from concave.storage.committer import Committer
from concave.storage.memory import MemoryDatabase, MemoryStore
from concave.storage.recent_log import Published
from concave.storage.store import StoreError
from concave.storage.timeline import Timeline
from concave.testing.simulation.faults import Faults
from concave.testing.simulation.history import Violation
from concave.testing.simulation.network import Connection, Receiver
from concave.testing.simulation.store import SimulatedStore
from concave.testing.simulation.virtual_time import SimulatedRuntime
from concave.values.limits import Limits
from concave.values.types import Timestamp

LIMITS = Limits(conflict_retries_max=12)
"""More retries than usual: a conflict that exhausts them ends the connection, and there would be no end to that."""


class SimulatedNode:
    def __init__(
        self,
        name: str,
        database: MemoryDatabase,
        app: LoadedApp,
        plan: Plan,
        random: Random,
        faults: Callable[[], Faults],
        note: Callable[..., None],
        report: Callable[[Violation], None],
    ) -> None:
        self.name = name
        self._database = database
        self._app = app
        self._plan = plan
        self._random = random
        self._faults = faults
        self._note = note
        self._report = report
        self._lives = 0
        self._runtime: SimulatedRuntime | None = None
        self._engine: Engine | None = None
        """None while the process is dead or starting."""
        self._timeline: Timeline | None = None
        self._catalog: Catalog | None = None
        self._connections: list[Connection] = []
        self._published_ts = Timestamp(0)

    @property
    def engine(self) -> Engine | None:
        return self._engine

    @property
    def runtime(self) -> SimulatedRuntime | None:
        return self._runtime

    def connect(self, number: int, client: Receiver) -> Connection | None:
        """A connection to this node, being opened; None if nobody listens."""
        if self._engine is None or self._runtime is None:
            return None
        self._connections = [connection for connection in self._connections if not connection.is_over]
        connection = Connection(number, client, self._engine, self._runtime, self._random, self._faults)
        self._connections.append(connection)
        return connection

    async def start(self) -> None:
        """Start the process; tries again while the database does not answer."""
        self._lives += 1
        name = f"{self.name}.{self._lives}"
        runtime = self._runtime = SimulatedRuntime(
            Random(self._random.getrandbits(64)), skew_ms=self._random.uniform(-2_000, 2_000)
        )
        memory = MemoryStore(self._database, runtime=runtime, node=name)
        store = SimulatedStore(memory, self._random, self._faults, self._note)
        catalog = self._catalog = await store.push(self._plan)
        while True:
            try:
                timeline = await Timeline.open(store)
                break
            except StoreError:
                continue
        self._timeline = timeline
        self._published_ts = timeline.latest_ts
        committer = Committer(store, timeline, runtime, node=name)
        runner = FunctionRunner(
            store, timeline, committer, runtime, LIMITS, RunnerOptions(development=False, cursor_key=b"simulation")
        )
        runner.swap(self._app, catalog)
        engine = Engine(store, timeline, committer, runner, runtime)
        timeline.add_listener(lambda published: self._check_published(timeline, published))
        await engine.start()
        self._engine = engine
        self._note("started", name, timeline.latest_ts)

    async def wait_for(self, ts: Timestamp) -> None:
        """Until this node has heard of everything up to `ts`."""
        assert self._timeline is not None
        await self._timeline.wait_for_ts(ts)

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        self._note("killed", self.name)
        self._engine = None
        for connection in self._connections:
            connection.server_died()
        self._connections = []
        if self._runtime is not None:
            self._runtime.end()

    async def stop(self) -> None:
        """End the process in good order."""
        self._note("stopped", self.name)
        engine, self._engine = self._engine, None
        for connection in self._connections:
            connection.session.close(1001, "ServerRestart")
        if engine is not None:
            await engine.close()
        for connection in self._connections:
            connection.server_died()
        self._connections = []
        if self._runtime is not None:
            await self._runtime.close()

    def reload(self) -> None:
        """What a hot reload does."""
        if self._engine is not None and self._catalog is not None:
            self._note("reloaded", self.name)
            self._engine.swap_app(self._app, self._catalog)

    def step_clock(self) -> None:
        if self._runtime is not None:
            self._runtime.skew_ms = self._random.uniform(-5_000, 5_000)

    def failures(self) -> list[str]:
        return [] if self._runtime is None else self._runtime.failures

    def _check_published(self, timeline: Timeline, published: Published) -> None:
        self._note("published", self.name, published.ts, timeline.last_seq, published.everything)
        if published.ts < self._published_ts or published.ts < timeline.latest_ts:
            message = f"{self.name} published {published.ts} after {self._published_ts}, latest {timeline.latest_ts}"
            self._report(Violation("I2", message))
        self._published_ts = published.ts
