"""An app written by the test into a directory, and an engine in memory that runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from concave.functions.attempts import RunnerOptions
from concave.functions.loader import LoadedApp, load_app
from concave.functions.outcomes import ActionOutcome, MutationOutcome, QueryOutcome
from concave.functions.runner import FunctionRunner
from concave.schema.plan import compile_plan
from concave.storage.committer import Committer
from concave.storage.memory import MemoryStore
from concave.storage.timeline import Timeline
from concave.values.limits import DEFAULT_LIMITS, Limits
from concave.values.runtime import SystemRuntime

NOW_MS = 1_750_000_000_000.25


class SteppedRuntime(SystemRuntime):
    """A clock that stands still, seeds that are counted, and sleeps that take no time and are remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.clock_ms = NOW_MS
        self.seeds = 0
        self.slept: list[float] = []

    def now_ms(self) -> float:
        return self.clock_ms

    def seed(self) -> int:
        self.seeds += 1
        return self.seeds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)


@dataclass
class World:
    """The engine below HTTP, in memory, serving one app. Calls are those of an anonymous client."""

    store: MemoryStore
    timeline: Timeline
    runner: FunctionRunner
    runtime: SteppedRuntime
    app: LoadedApp
    identity: Mapping[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    async def query(self, path: str, **args: Any) -> QueryOutcome:
        return await self.runner.run_query(path, args, identity=self.identity, **self.options)

    async def mutation(self, path: str, **args: Any) -> MutationOutcome:
        return await self.runner.run_mutation(path, args, identity=self.identity, **self.options)

    async def action(self, path: str, **args: Any) -> ActionOutcome:
        return await self.runner.run_action(path, args, identity=self.identity, **self.options)

    async def value(self, path: str, **args: Any) -> Any:
        """The result of a function of any kind, which must succeed."""
        outcome = await self.runner.run_any(path, args, identity=self.identity, internal_ok=True)
        assert outcome.ok, outcome.error_message
        return outcome.value


WriteApp = Callable[[Mapping[str, str]], Path]
Serve = Callable[..., Any]


@pytest.fixture
def write_app(tmp_path: Path) -> WriteApp:
    """Write modules, given by their file names, into an app's directory; may be called again to change some."""

    def write(files: Mapping[str, str]) -> Path:
        directory = tmp_path / "app"
        for name, source in files.items():
            file = directory / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(source)
        return directory

    return write


@pytest.fixture
async def serve(write_app: WriteApp) -> AsyncIterator[Serve]:
    """Make a `World` of an app's modules."""
    runtime = SteppedRuntime()

    async def make(
        files: Mapping[str, str], *, limits: Limits = DEFAULT_LIMITS, options: RunnerOptions | None = None
    ) -> World:
        app = load_app(write_app(files))
        store = MemoryStore(runtime=runtime)
        catalog = await store.push(compile_plan(app.schema))
        timeline = await Timeline.open(store)
        committer = Committer(store, timeline, runtime, node="test")
        runtime.spawn(committer.run(), name="committer")
        runner = FunctionRunner(store, timeline, committer, runtime, limits, options)
        runner.swap(app, catalog)
        return World(store, timeline, runner, runtime, app)

    yield make
    await runtime.close()
