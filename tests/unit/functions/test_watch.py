"""Hot reload: new versions are served, broken ones are reported and the old one goes on."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from rich.console import Console

from concave.functions.loader import LoadedApp
from concave.functions.watch import AppWatcher
from concave.schema.plan import compile_plan
from concave.values.errors import ConfigurationError

VERSION = "from concave import query\n@query\nasync def version(ctx):\n    return {}\n"


class Saves:
    """Stands for the file system's notices: each `saved` is one, and returns when it has been dealt with."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[None] = asyncio.Queue()

    async def watch(self, directory: Path) -> AsyncIterator[None]:
        while True:
            await self._queue.get()
            yield
            self._queue.task_done()

    async def saved(self) -> None:
        self._queue.put_nowait(None)
        await self._queue.join()


async def test_broken_files_leave_the_old_functions_serving(serve, write_app):
    world = await serve({"m.py": VERSION.format(1)})
    printed = io.StringIO()
    saves = Saves()

    async def serve_version(app: LoadedApp) -> None:
        world.runner.swap(app, await world.store.push(compile_plan(app.schema)))

    watcher = AppWatcher(
        world.app.directory,
        serve_version,
        runtime=world.runtime,
        console=Console(file=printed),
        changes=saves.watch,
    )
    watcher.start()
    assert await world.value("m:version") == 1.0

    write_app({"m.py": VERSION.format(2)})
    await saves.saved()
    assert await world.value("m:version") == 2.0
    assert printed.getvalue() == ""

    write_app({"m.py": "async def broken(:\n"})
    await saves.saved()
    assert await world.value("m:version") == 2.0
    assert "app/m.py:1: SyntaxError" in printed.getvalue()
    assert "The version before goes on serving." in printed.getvalue()

    write_app({"m.py": VERSION.format(3)})
    await saves.saved()
    assert await world.value("m:version") == 3.0
    await watcher.stop()


async def test_a_version_that_is_refused_is_reported(serve, write_app):
    world = await serve({"m.py": VERSION.format(1)})
    printed = io.StringIO()

    async def refuse(app: LoadedApp) -> None:
        raise ConfigurationError("the data does not fit")

    watcher = AppWatcher(world.app.directory, refuse, runtime=world.runtime, console=Console(file=printed))
    assert not await watcher.reload()
    assert "the data does not fit" in printed.getvalue()


async def test_old_versions_are_forgotten(serve, write_app):
    world = await serve({"m.py": VERSION.format(1)})
    loaded: list[LoadedApp] = []

    async def keep(app: LoadedApp) -> None:
        loaded.append(app)

    watcher = AppWatcher(world.app.directory, keep, runtime=world.runtime)
    for _ in range(4):
        assert await watcher.reload()
    assert [app.package.name in sys.modules for app in loaded] == [False, False, True, True]


@pytest.mark.slow
async def test_the_file_system_is_watched(serve, write_app):
    world = await serve({"m.py": VERSION.format(1)})
    loaded: asyncio.Queue[LoadedApp] = asyncio.Queue()
    watcher = AppWatcher(world.app.directory, loaded.put, runtime=world.runtime)
    watcher.start()
    app = None
    async with asyncio.timeout(20):
        for number in range(2, 1000):  # the first saves may come before the watching has begun
            write_app({"m.py": VERSION.format(number)})
            try:
                app = await asyncio.wait_for(loaded.get(), 0.5)
            except TimeoutError:
                continue
            break
    await watcher.stop()
    assert app is not None
    assert app.version > world.app.version
