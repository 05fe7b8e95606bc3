"""Hot reload: load the app again when its files change, and go on serving the old version when that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from watchfiles import PythonFilter, awatch

from concave.functions.load_report import LoadError
from concave.functions.loader import LoadedApp, load_app
from concave.values.errors import ConcaveError
from concave.values.runtime import Runtime

logger = logging.getLogger(__name__)

DEBOUNCE_MS: Final = 400
"""Saves that follow each other within this time, as an editor or a branch switch makes them, are one change."""

Changes = Callable[[Path], AsyncIterator[Any]]
"""Yields whenever files below a directory have changed; ends when there is nothing to watch any more."""


class AppWatcher:
    """Watches an app's directory. `on_loaded` is awaited with each new version, one at a time.

    If loading fails, or `on_loaded` refuses the version with a `ConcaveError` (a schema that the data breaks), the
    error is printed and nothing changes.
    """

    def __init__(
        self,
        directory: str | Path,
        on_loaded: Callable[[LoadedApp], Awaitable[None]],
        *,
        runtime: Runtime,
        console: Console | None = None,
        changes: Changes | None = None,
    ) -> None:
        self._directory = Path(directory).resolve()
        self._on_loaded = on_loaded
        self._runtime = runtime
        self._console = Console(stderr=True) if console is None else console
        self._changes = python_file_changes if changes is None else changes
        self._task: asyncio.Task[None] | None = None
        self._versions: list[LoadedApp] = []
        """The last two that were handed on: calls that began with the one before may still import its modules."""

    def start(self) -> None:
        """Watch from now on, until `stop` or the runtime's end."""
        assert self._task is None, "the watcher is running"
        self._task = self._runtime.spawn(self.run(), name=f"watch {self._directory.name}")

    async def stop(self) -> None:
        """Stop watching; a reload under way is abandoned."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def run(self) -> None:
        """Reload on each change until there are none any more."""
        async for _ in self._changes(self._directory):
            await self.reload()

    async def reload(self) -> bool:
        """Load the app now and hand it on; returns whether there is a new version."""
        try:
            # In a thread: importing a large app takes a while, and the old version is serving meanwhile.
            app = await asyncio.to_thread(load_app, self._directory)
        except LoadError as error:
            self._report(error)
            return False
        for warning in app.warnings:
            self._console.print(f"[yellow]{escape(str(warning))}[/]", soft_wrap=True)
        try:
            await self._on_loaded(app)
        except ConcaveError as error:
            app.package.discard()
            self._report(error)
            return False
        except Exception:
            logger.exception("the new version of %s could not be served", self._directory)
            app.package.discard()
            return False
        self._versions.append(app)
        if len(self._versions) > 2:
            self._versions.pop(0).package.discard()
        return True

    def _report(self, error: ConcaveError) -> None:
        self._console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
        self._console.print("[bold]The version before goes on serving.[/] Save a file to try again.", soft_wrap=True)


def python_file_changes(directory: Path) -> AsyncIterator[Any]:
    """Changes of Python files below a directory, as the operating system reports them."""
    return awatch(directory, watch_filter=PythonFilter(), debounce=DEBOUNCE_MS)
