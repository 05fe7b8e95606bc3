"""`concave serve`: an app on a database of one's own."""

from __future__ import annotations

import os
from pathlib import Path

from concave.cli.deployment import Deployment, admin_key, announce, withdraw
from concave.cli.listening import bind, url_of
from concave.cli.loading import load
from concave.cli.node import NodeOptions, started_node
from concave.cli.process import run_until_stopped
from concave.cli.progress import ProgressLine
from concave.values.runtime import SystemRuntime


def serve(app_dir: Path, *, host: str, port: int, data_dir: Path, db: str, web_dir: Path | None) -> int:
    """Serve until stopped; the exit status. Raises `ConfigurationError` if it cannot begin."""
    return run_until_stopped(_serve(app_dir, host=host, port=port, data_dir=data_dir, db=db, web_dir=web_dir))


async def _serve(app_dir: Path, *, host: str, port: int, data_dir: Path, db: str, web_dir: Path | None) -> None:
    runtime = SystemRuntime()
    app = load(app_dir)
    with bind(host, port) as bound:
        url = url_of(bound)
        key = admin_key(data_dir, app.directory.name, runtime)
        options = NodeOptions(uri=db, admin_key=key, web_dir=web_dir)
        progress = ProgressLine()
        async with started_node(app, options, runtime, progress) as node:
            progress.finish()

            def ready() -> None:
                announce(data_dir, Deployment(url=url, admin_key=key, db=db, pid=os.getpid()))
                print(f"concave ready at {url}", flush=True)

            try:
                await node.serve(bound, ready)
            finally:
                withdraw(data_dir)
