"""`concave dev`: everything an app needs while it is being written. MongoDB, the server, and reloading what changes."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Final

from concave.cli.database_access import embedded
from concave.cli.deployment import Deployment, admin_key, announce, withdraw
from concave.cli.listening import bind, bind_site, origins_of, url_of
from concave.cli.loading import load, source_state
from concave.cli.node import NodeOptions, started_node
from concave.cli.process import run_until_stopped
from concave.cli.progress import ProgressLine
from concave.functions.loader import LoadedApp
from concave.functions.watch import AppWatcher
from concave.storage.directory_lock import DirectoryLock
from concave.values.runtime import Runtime, SystemRuntime

HOST: Final = "127.0.0.1"


def dev(
    app_dir: Path, *, port: int, site_port: int | None, data_dir: Path, db: str | None, web_dir: Path | None
) -> int:
    """Serve until stopped; the exit status. Raises `ConfigurationError` if it cannot begin."""
    return run_until_stopped(_dev(app_dir, port=port, site_port=site_port, data_dir=data_dir, db=db, web_dir=web_dir))


async def _dev(
    app_dir: Path, *, port: int, site_port: int | None, data_dir: Path, db: str | None, web_dir: Path | None
) -> None:
    runtime = SystemRuntime()
    started = runtime.monotonic()
    files = source_state(app_dir)
    app = load(app_dir)
    with bind(HOST, port) as bound, bind_site(HOST, bound, site_port) or nullcontext() as site:
        origins = origins_of(bound, site)
        async with _database(app_dir, db, data_dir, runtime) as uri:
            key = admin_key(data_dir, app.directory.name, runtime)
            options = NodeOptions(uri=uri, admin_key=key, web_dir=web_dir, development=True, origins=origins)
            progress = ProgressLine()
            async with started_node(app, options, runtime, progress) as node:
                progress.finish()

                async def serve_new_version(changed: LoadedApp) -> None:
                    await node.push(changed, progress)
                    progress.finish()
                    print(f"reloaded {changed.directory.name}: {len(changed.registry)} functions", file=sys.stderr)

                watcher = AppWatcher(app.directory, serve_new_version, runtime=runtime)
                watcher.start()
                await runtime.sleep(0)  # it notices what changes after its first step; look for what changed before
                if source_state(app_dir) != files:
                    await watcher.reload()
                deployment = Deployment(
                    url=url_of(bound), admin_key=key, db=uri, pid=os.getpid(), site_url=origins.site
                )

                def ready() -> None:
                    announce(data_dir, deployment)
                    print(_banner(app, deployment, data_dir))
                    print(f"concave ready in {runtime.monotonic() - started:.1f} s", flush=True)

                try:
                    await node.serve(bound, ready, site=site)
                finally:
                    withdraw(data_dir)


@asynccontextmanager
async def _database(app_dir: Path, db: str | None, data_dir: Path, runtime: Runtime) -> AsyncIterator[str]:
    """The embedded database or the one named; either way this process has the data directory for itself."""
    if db is None:
        mongod = embedded(app_dir, data_dir, runtime)
        await mongod.start()
        try:
            yield mongod.uri
        finally:
            await mongod.stop()
    else:
        lock = DirectoryLock(data_dir)
        lock.acquire()
        try:
            yield db
        finally:
            lock.release()


def _banner(app: LoadedApp, deployment: Deployment, data_dir: Path) -> str:
    rows = (
        ("app", f"{app.directory} ({len(app.registry)} functions, {len(app.schema.tables)} tables)"),
        ("URL", deployment.url),
        ("site URL", deployment.site_url),
        ("MongoDB", deployment.db),
        ("data directory", str(data_dir.resolve())),
        ("admin key", deployment.admin_key),
    )
    width = max(len(name) for name, _ in rows)
    return "\n".join(["", *(f"  {name:<{width}}  {value}" for name, value in rows), ""])
