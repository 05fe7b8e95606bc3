"""The real engine on an app, with `MemoryStore` in MongoDB's place: whole, and up in milliseconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from concave.functions.loader import load_app
from concave.functions.logs import install
from concave.functions.runner import FunctionRunner
from concave.reactive.engine import Engine
from concave.schema.plan import compile_plan
from concave.storage.committer import Committer
from concave.storage.memory import MemoryStore
from concave.storage.timeline import Timeline
from concave.values.runtime import SystemRuntime


@dataclass(frozen=True)
class MemoryNode:
    engine: Engine
    runtime: SystemRuntime


@asynccontextmanager
async def memory_node(app_directory: Path) -> AsyncIterator[MemoryNode]:
    """A started engine on an empty database, in a process that catches what functions print."""
    uninstall = install()
    runtime = SystemRuntime()
    store = MemoryStore(runtime=runtime)
    app = load_app(app_directory)
    catalog = await store.push(compile_plan(app.schema))
    timeline = await Timeline.open(store)
    committer = Committer(store, timeline, runtime, node="test")
    runner = FunctionRunner(store, timeline, committer, runtime)
    runner.swap(app, catalog)
    engine = Engine(store, timeline, committer, runner, runtime)
    await engine.start()
    try:
        yield MemoryNode(engine, runtime)
    finally:
        await engine.close()
        await runtime.close()
        app.package.discard()
        uninstall()
