"""The ASGI application of a deployment: public API, HTTP actions, probes, sync socket, the web app's files.

Requests are told apart by exact path first, since those are the hot ones; there is no middleware on their way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from concave.functions.recording import Origin, current_origin
from concave.http.authorization import Authorizer, CallerVerifier
from concave.http.client_version import parse_client_version
from concave.http.engine_port import EnginePort
from concave.http.exchange import TEXT, ClientGoneError, Exchange
from concave.http.http_actions import PREFIX, HttpActionPort, HttpActions
from concave.http.log_api import LogApi, LogPort
from concave.http.pages import WebApp
from concave.http.public_api import RUN_PREFIX, Endpoint, PublicApi
from concave.http.rendering import render_error
from concave.values.errors import ClientError
from concave.values.limits import DEFAULT_LIMITS, Limits

ECHO_BYTES_MAX: Final = 128 << 20
INSTANCE_NAME: Final = "concave"
_HTTP_API: Final = Origin(None, "HttpApi")


class ServedEngine(EnginePort, HttpActionPort, LogPort, Protocol):
    """All that is served of the engine."""


def create_app(
    engine: ServedEngine,
    *,
    verifier: CallerVerifier,
    sync_socket: ASGIApp | None = None,
    static_dir: Path | None = None,
    instance_name: str = INSTANCE_NAME,
    limits: Limits = DEFAULT_LIMITS,
    health: Mapping[str, Mapping[str, Endpoint]] | None = None,
    sign_in: Mapping[str, Mapping[str, Endpoint]] | None = None,
    site_port: int | None = None,
) -> ASGIApp:
    """The application. Whoever calls this starts and stops the engine; there is no lifespan in here.

    `sync_socket` serves the websockets at `/api/sync` and `/api/{version}/sync`. `static_dir` holds a built web app,
    served at `/`; without it (or without an index.html in it) a page says that the deployment runs.
    `verifier` finds out who calls. `health` are the routes of `health.health_routes`, for load balancers; `sign_in`
    those of `sign_in.sign_in_routes`, for apps with the built-in auth provider. Requests that come in at the local port
    `site_port` are HTTP actions, whatever their path.
    """
    authorizer = Authorizer(verifier)
    api = PublicApi(engine, authorizer, limits)
    return Application(
        routes={
            **api.routes(),
            **LogApi(engine, authorizer).routes(),
            **_probe_routes(instance_name, limits),
            **(health or {}),
            **(sign_in or {}),
        },
        http_actions=HttpActions(engine, authorizer, limits),
        site_port=site_port,
        run=api.run,
        web_app=WebApp(static_dir, instance_name),
        sync_socket=sync_socket,
        request_time_s_max=limits.request_time_s_max,
    )


class Application:
    """Finds what a request is for, and turns what that raises into an error response."""

    def __init__(
        self,
        *,
        routes: Mapping[str, Mapping[str, Endpoint]],
        run: Endpoint,
        http_actions: HttpActions,
        site_port: int | None,
        web_app: WebApp,
        sync_socket: ASGIApp | None,
        request_time_s_max: float,
    ) -> None:
        self._routes = routes
        self._run: Mapping[str, Endpoint] = {"POST": run}
        self._http_actions = http_actions
        self._site_port = site_port
        self._web_app = web_app
        self._sync_socket = sync_socket
        self._request_time_s_max = request_time_s_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._site_port is not None and scope["server"][1] == self._site_port:
            await self._serve_site(scope, receive, send)
        elif scope["type"] == "http":
            methods = self._routes.get(scope["path"])
            if methods is not None:
                await self._serve(methods, Exchange(scope, receive, send))
            else:
                await self._other_path(scope, receive, send)
        elif scope["type"] == "websocket":
            if self._sync_socket is not None and _is_sync_path(scope["path"]):
                await self._sync_socket(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1000})  # before an accept: the handshake fails with 403

    async def _serve_site(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http_actions(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _other_path(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith(RUN_PREFIX):
            await self._serve(self._run, Exchange(scope, receive, send))
        elif path == "/api" or path.startswith("/api/"):
            await self._serve(_UNSUPPORTED, Exchange(scope, receive, send))
        elif path == PREFIX or path.startswith(f"{PREFIX}/"):
            await self._http_actions(scope, receive, send, prefix=PREFIX)
        else:
            await self._web_app(scope, receive, send)

    async def _serve(self, methods: Mapping[str, Endpoint], exchange: Exchange) -> None:
        endpoint = methods.get(exchange.scope["method"])
        try:
            if endpoint is None:
                if exchange.scope["method"] == "OPTIONS":
                    await exchange.respond_preflight()
                    return
                raise ClientError(
                    "MethodNotAllowed",
                    f"{exchange.scope['path']} takes {' or '.join(methods)}, not {exchange.scope['method']}.",
                    HTTPStatus.METHOD_NOT_ALLOWED,
                )
            if exchange.client is not None:
                _check_age(exchange, exchange.client)
            named = exchange.request_id
            current_origin.set(_HTTP_API if named is None else Origin(named, "HttpApi"))
            async with asyncio.timeout(self._request_time_s_max):
                body = await endpoint(exchange)
        except ClientGoneError:
            return
        except TimeoutError:
            status, body = render_error(
                ClientError("RequestTimeout", f"The request took longer than {self._request_time_s_max:.0f} s.")
            )
        except Exception as exc:  # the last door: whatever got here must become a response
            status, body = render_error(exc)
        else:
            status = exchange.status
        await exchange.respond(status, body)


def _check_age(exchange: Exchange, client: bytes) -> None:
    """Tell old clients that they are, and refuse those that are too old: `ClientError` `ClientVersionUnsupported`."""
    version = parse_client_version(client)
    deprecation = None if version is None else version.deprecation
    if deprecation is not None:
        exchange.more_headers = deprecation.headers
        if deprecation.state == "Unsupported":
            raise ClientError("ClientVersionUnsupported", deprecation.message)


async def _unsupported(exchange: Exchange) -> bytes:
    """400, since the official tools would retry a 404 for half a minute."""
    raise ClientError(
        "UnsupportedRoute",
        f"{exchange.scope['path']} is not served by this deployment. It runs functions written in Python: "
        "deploy them with `concave dev` or `concave serve`.",
    )


_UNSUPPORTED: Final = dict.fromkeys(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), _unsupported)


def _probe_routes(instance_name: str, limits: Limits) -> dict[str, Mapping[str, Endpoint]]:
    release = f"concave-{version('concavedb')}"

    async def echo(exchange: Exchange) -> bytes:
        body = await exchange.body(ECHO_BYTES_MAX)
        exchange.reply_type = exchange.content_type or b"application/octet-stream"
        return body

    async def debug_event(exchange: Exchange) -> bytes:
        # Browsers report long outages here; nobody reads the reports.
        await exchange.body(limits.request_body_bytes_max)
        exchange.reply_type = TEXT
        return b""

    def text(line: str) -> Mapping[str, Endpoint]:
        async def answer(exchange: Exchange) -> bytes:
            exchange.reply_type = TEXT
            return line.encode()

        return {"GET": answer}

    return {
        "/version": text(release),
        "/instance_version": text(release),
        "/instance_name": text(instance_name),
        "/echo": {"POST": echo},
        "/api/debug_event": {"POST": debug_event},
    }


def _is_sync_path(path: str) -> bool:
    """`/api/sync` or `/api/{version}/sync`. A deployment URL that ends in a slash doubles the first one."""
    match path.lstrip("/").split("/"):
        case ["api", "sync"] | ["api", _, "sync"]:
            return True
        case _:
            return False
