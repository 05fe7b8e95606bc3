"""The composition root: one server process, from the app's directory to the open port.

Start: app, store, schema push, timeline, committer, runner, engine, web server. Stop: the reverse, so that requests
and sessions end while what they need still runs, and the store is closed last. A database that the process runs itself
is the caller's, and outlives the node.
"""

from __future__ import annotations

import gc
import hashlib
import hmac
import os
import socket
from collections import ChainMap
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from concave.auth.accounts import Accounts, open_accounts
from concave.auth.authenticator import Authenticator
from concave.cli.listening import Origins, url_of
from concave.cli.process import on_stop_signals
from concave.cli.pushing import push_schema
from concave.cli.web_server import STOP_PATIENCE_S, WebServer
from concave.functions.attempts import RunnerOptions
from concave.functions.auth_config import AuthConfig
from concave.functions.loader import LoadedApp
from concave.functions.logs import install as catch_function_logs
from concave.functions.runner import FunctionRunner
from concave.http.app import create_app
from concave.http.health import health_routes
from concave.http.sign_in import sign_in_routes
from concave.http.sync_socket import SyncSocket
from concave.reactive.engine import Engine
from concave.reactive.readiness import Readiness
from concave.schema.plan import compile_plan
from concave.storage.committer import Committer
from concave.storage.log_trimmer import LogRetention
from concave.storage.mongo import MongoStore
from concave.storage.node_registry import node_name
from concave.storage.store import PushProgress
from concave.storage.timeline import Timeline
from concave.values.limits import ENVIRONMENT, Limits, parse_limits
from concave.values.runtime import Runtime

# The garbage collector's youngest generation: a live query's run makes thousands of short-lived containers, none of
# them in cycles, and the default of 700 walks them again and again.
_GC_YOUNG_MAX: Final = 50_000


@dataclass(slots=True, frozen=True)
class NodeOptions:
    """`uri` names the database; `web_dir` holds a built web app; `development` shows errors with hints and traces.

    `name` is the node's, one that no other has; without it the node makes one up. `is_pushed`: whoever starts the node
    has pushed the app's schema. `shutdown_timeout_s` bounds how long calls under way may take once it is to stop.
    `redact_errors` keeps texts of errors and log lines from clients. `origins` is what functions are told of them.
    """

    uri: str
    admin_key: str
    web_dir: Path | None = None
    development: bool = False
    name: str | None = None
    is_pushed: bool = False
    shutdown_timeout_s: float = STOP_PATIENCE_S
    redact_errors: bool = False
    origins: Origins = field(default_factory=lambda: Origins("", ""))
    retention: LogRetention = field(default_factory=LogRetention)


class Node:
    """A started engine and what it is made of."""

    def __init__(
        self,
        name: str,
        store: MongoStore,
        engine: Engine,
        auth: AuthConfig,
        authenticator: Authenticator,
        readiness: Readiness,
        options: NodeOptions,
        limits: Limits,
        runtime: Runtime,
    ) -> None:
        self.name = name
        self._store = store
        self._authenticator = authenticator
        self.readiness = readiness
        self._options = options
        self._limits = limits
        self._runtime = runtime
        self._auth = auth
        self._url = ""
        """Where clients find the deployment; known once the node serves."""
        self._accounts: Accounts | None = None
        self.engine = engine

    async def push(self, app: LoadedApp, progress: PushProgress | None = None) -> None:
        """Serve another version of the app: bring its schema to the database first. Raises as `push_schema`."""
        catalog = await push_schema(self._store, compile_plan(app.schema), progress)
        self._auth = app.auth
        if self._url:
            await self._trust_providers()
        self.engine.swap_app(app, catalog)

    async def _trust_providers(self) -> None:
        """Let the app's auth providers vouch for users, the built-in one included. Raises `OverloadError`."""
        provider = self._auth.password_provider
        if provider is None:
            self._accounts = None
        elif self._accounts is None or provider != self._accounts.provider:
            self._accounts = await open_accounts(self._store.auth_records(), provider, self._url, self._runtime)
        self._authenticator.configure(self._auth, None if self._accounts is None else self._accounts.trusted)

    async def serve(
        self, bound: socket.socket, on_ready: Callable[[], None], *, site: socket.socket | None = None
    ) -> None:
        """Accept connections, at `site` for HTTP actions, until a stop signal; then finish what is under way and send
        clients elsewhere, bounded by `shutdown_timeout_s`. A second signal does not wait."""
        self._url = self._options.origins.api or url_of(bound)
        await self._trust_providers()
        sync_socket = SyncSocket(self.engine, self._runtime, verifier=self._authenticator)
        application = create_app(
            self.engine,
            verifier=self._authenticator,
            sync_socket=sync_socket,
            limits=self._limits,
            static_dir=self._options.web_dir,
            health=health_routes(self.name, self.readiness),
            sign_in=sign_in_routes(lambda: self._accounts),
            site_port=None if site is None else site.getsockname()[1],
        )

        async def drain() -> None:
            self.engine.function_log.close()
            await sync_socket.drain()
            await self.engine.wait_no_calls()

        server = WebServer(
            application,
            bound,
            on_ready,
            drain=drain,
            cut_off=sync_socket.close,
            runtime=self._runtime,
            patience_s=self._options.shutdown_timeout_s,
            more=() if site is None else (site,),
        )
        _settle_memory()

        def stop() -> None:
            self.readiness.begin_shutdown()
            server.stop()

        on_stop_signals(stop)
        await server.run_until_stopped()


@asynccontextmanager
async def started_node(
    app: LoadedApp, options: NodeOptions, runtime: Runtime, progress: PushProgress | None = None
) -> AsyncIterator[Node]:
    """A node that has pushed the app's schema and follows the database. Raises `ConfigurationError`."""
    limits = parse_limits(os.environ.get(ENVIRONMENT, ""))
    catch_function_logs()
    name = options.name or node_name(runtime)
    store = MongoStore(options.uri, runtime=runtime, node=name)
    await store.start()
    try:
        plan = compile_plan(app.schema)
        catalog = await (store.adopt(plan) if options.is_pushed else push_schema(store, plan, progress))
        timeline = await Timeline.open(store)
        committer = Committer(store, timeline, runtime, node=name)
        runner = FunctionRunner(
            store,
            timeline,
            committer,
            runtime,
            limits,
            options=RunnerOptions(
                redact_errors=options.redact_errors,
                development=options.development,
                env=_environment(options.origins),
                cursor_key=_cursor_key(options),
            ),
        )
        runner.swap(app, catalog)
        engine = Engine(store, timeline, committer, runner, runtime, limits)
        authenticator = Authenticator(options.admin_key, runtime)
        registry = store.registry(lambda: (timeline.last_seq, timeline.latest_ts))
        trimmer = store.log_trimmer(registry, options.retention)
        await engine.start()
        try:
            runtime.spawn(registry.run(), name="node registry")
            runtime.spawn(trimmer.run(), name="log trimmer")
            readiness = Readiness(engine, timeline, registry, runtime)
            yield Node(name, store, engine, app.auth, authenticator, readiness, options, limits, runtime)
        finally:
            await engine.close()
            await authenticator.close()
            await runtime.close()
            await registry.leave()
    finally:
        await runtime.close()
        await store.close()


def _environment(origins: Origins) -> Mapping[str, str]:
    """What `ctx.env` shows: the process's environment, and where the deployment is."""
    return ChainMap({"CONVEX_CLOUD_URL": origins.api, "CONVEX_SITE_URL": origins.site}, os.environ)


def _cursor_key(options: NodeOptions) -> bytes:
    """The secret that seals page cursors: the same on all nodes that have the same admin key."""
    return hmac.digest(options.admin_key.encode(), b"page cursors", hashlib.sha256)


def _settle_memory() -> None:
    """Take what was loaded at the start, which stays for good, out of the garbage collector's rounds."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_YOUNG_MAX, 20, 20)
