"""`concave serve`: an app on a database of one's own, in one process or in several."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from concave.cli.deployment import Deployment, admin_key, announce, withdraw
from concave.cli.listening import bind, bind_site, origins_of, url_of
from concave.cli.loading import load
from concave.cli.node import NodeOptions, started_node
from concave.cli.process import name_log_lines, run_until_stopped
from concave.cli.progress import ProgressLine
from concave.cli.pushing import push_schema
from concave.cli.supervisor import Supervisor
from concave.cli.worker import WorkerOptions
from concave.functions.loader import LoadedApp
from concave.schema.plan import compile_plan
from concave.storage.log_trimmer import LogRetention
from concave.storage.mongo import MongoStore
from concave.storage.node_registry import node_name
from concave.values.runtime import Runtime, SystemRuntime


@dataclass(slots=True, frozen=True)
class ServeOptions:
    """What the command was given. `log_retention_s`: how long log entries are kept whole."""

    app_dir: Path
    host: str
    port: int
    data_dir: Path
    db: str
    web_dir: Path | None
    workers: int
    shutdown_timeout_s: float
    log_retention_s: float
    site_port: int | None = None
    redact_errors: bool = False


def serve(options: ServeOptions) -> int:
    """Serve until stopped; the exit status. Raises `ConfigurationError` if it cannot begin."""
    return run_until_stopped(_serve(options))


async def _serve(options: ServeOptions) -> None:
    runtime = SystemRuntime()
    app = load(options.app_dir)
    with (
        bind(options.host, options.port) as bound,
        bind_site(options.host, bound, options.site_port) or nullcontext() as site,
    ):
        deployment = Deployment(
            url=url_of(bound),
            admin_key=admin_key(options.data_dir, app.directory.name, runtime),
            db=options.db,
            pid=os.getpid(),
            site_url=origins_of(bound, site).site,
        )

        def ready() -> None:
            announce(options.data_dir, deployment)
            print(f"HTTP actions at {deployment.site_url}")
            print(f"concave ready at {deployment.url}", flush=True)

        try:
            if options.workers == 1:
                await _serve_here(app, options, deployment, bound, site, ready, runtime)
            else:
                await _supervise(app, options, deployment, bound, site, ready, runtime)
        finally:
            withdraw(options.data_dir)


async def _serve_here(
    app: LoadedApp,
    options: ServeOptions,
    deployment: Deployment,
    bound: socket.socket,
    site: socket.socket | None,
    ready: Callable[[], None],
    runtime: Runtime,
) -> None:
    name = node_name(runtime)
    name_log_lines(name)
    node_options = NodeOptions(
        uri=options.db,
        admin_key=deployment.admin_key,
        web_dir=options.web_dir,
        name=name,
        shutdown_timeout_s=options.shutdown_timeout_s,
        retention=LogRetention(writes_s=options.log_retention_s),
        redact_errors=options.redact_errors,
        origins=origins_of(bound, site),
    )
    progress = ProgressLine()
    async with started_node(app, node_options, runtime, progress) as node:
        progress.finish()
        await node.serve(bound, ready, site=site)


async def _supervise(
    app: LoadedApp,
    options: ServeOptions,
    deployment: Deployment,
    bound: socket.socket,
    site: socket.socket | None,
    ready: Callable[[], None],
    runtime: Runtime,
) -> None:
    """Push the schema, once for all workers, and keep them running."""
    port = bound.getsockname()[1]
    site_port = None if site is None else site.getsockname()[1]
    # The ports were free; from here on these sockets, which never listen, keep them for the workers.
    bound.close()
    if site is not None:
        site.close()
    with (
        bind(options.host, port, shared=True),
        nullcontext() if site_port is None else bind(options.host, site_port, shared=True),
    ):
        store = MongoStore(options.db, runtime=runtime, node=node_name(runtime))
        progress = ProgressLine()
        await store.start()
        try:
            await push_schema(store, compile_plan(app.schema), progress)
        finally:
            await store.close()
        progress.finish()
        worker_options = WorkerOptions(
            app_dir=str(options.app_dir),
            host=options.host,
            port=port,
            uri=options.db,
            admin_key=deployment.admin_key,
            web_dir=None if options.web_dir is None else str(options.web_dir),
            shutdown_timeout_s=options.shutdown_timeout_s,
            log_retention_s=options.log_retention_s,
            site_port=site_port,
            redact_errors=options.redact_errors,
        )
        try:
            await Supervisor(worker_options, options.workers, runtime).run(ready)
        finally:
            await runtime.close()
