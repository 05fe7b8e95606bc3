"""HTTP actions: requests that the app's own handlers answer (http-and-admin.md 2, function-runtime.md 7).

Reached under `/http` on the API port and at every path of the site port. Nothing is added to what the handler answers:
CORS, caching and preflights are the app's business. `Authorization` may hold whatever the handler expects: it is tried
as an identity and never refuses the request.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any, Final, Protocol

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from concave.functions.frames import Identity
from concave.functions.http_actions import HttpActionCtx, HttpActionFailure, Respond
from concave.functions.http_routes import METHODS, HttpRouter, Route
from concave.functions.logs import current_log
from concave.functions.outcomes import NO_DATA
from concave.functions.recording import Origin, current_origin
from concave.http.authorization import Authorizer
from concave.http.exchange import JSON, clean_request_id
from concave.http.rendering import render_error
from concave.values.codec import to_format
from concave.values.errors import ClientError, ConcaveError, DeveloperError
from concave.values.limits import Limits

PREFIX: Final = "/http"

_NO_ROUTER: Final = "This Convex deployment does not have HTTP actions enabled."
_NO_ROUTE: Final = "No matching routes found"
_WITHOUT_BODY: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_SCHEMES: Final = frozenset(("http", "https"))

_log: Final = logging.getLogger(__name__)


class HttpActionPort(Protocol):
    """What is needed of the engine."""

    @property
    def http_router(self) -> HttpRouter | None:
        """The routes of the app that is served now."""

    async def http_action(
        self, route: Route, respond: Respond, *, identity: Identity | None, refusal: ConcaveError | None = None
    ) -> HttpActionFailure | None:
        """Run the route's action; see `functions.runner.FunctionRunner.run_http_action`."""


class HttpActions:
    """ASGI application of all HTTP actions. `prefix` is the part of the path that handlers do not see."""

    def __init__(self, engine: HttpActionPort, authorizer: Authorizer, limits: Limits) -> None:
        self._engine = engine
        self._authorizer = authorizer
        self._request_bytes_max = limits.http_action_request_bytes_max
        self._response_bytes_max = limits.http_action_response_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send, *, prefix: str = "") -> None:
        response = self._refusal(scope, prefix)
        if response is not None:
            await response(scope, receive, send)
            return
        router = self._engine.http_router
        if router is None:
            await PlainTextResponse(_NO_ROUTER, HTTPStatus.NOT_FOUND)(scope, receive, send)
            return
        path: str = scope["path"][len(prefix) :] or "/"
        route = router.find(scope["method"], path)
        if route is None:
            await PlainTextResponse(_NO_ROUTE, HTTPStatus.NOT_FOUND)(scope, receive, send)
            return
        await self._run(route, _seen_by_app(scope, path, prefix), receive, send)

    def _refusal(self, scope: Scope, prefix: str) -> Response | None:
        """The answer to a request that no handler gets to see."""
        if scope["method"] not in METHODS and scope["method"] != "HEAD":
            return Response(status_code=HTTPStatus.METHOD_NOT_ALLOWED, headers={"allow": ", ".join((*METHODS, "HEAD"))})
        declared = _header(scope, b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > self._request_bytes_max:
            status, body = render_error(_too_large(self._request_bytes_max))
            return Response(body, status, media_type="application/json")
        return None

    async def _run(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        current_origin.set(Origin(clean_request_id(_header(scope, b"convex-request-id")), "HttpEndpoint"))
        body = _RequestBody(receive, self._request_bytes_max, is_wanted=scope["method"] not in _WITHOUT_BODY)
        sender = _ResponseSender(send, self._response_bytes_max, is_head=scope["method"] == "HEAD")

        async def respond(ctx: HttpActionCtx) -> int:
            response = await route.action.handler(ctx, Request(scope, body.receive))
            if not isinstance(response, Response):
                raise DeveloperError(
                    "InvalidHttpResponse",
                    f"the HTTP action {route.action.__name__} must return a response of starlette.responses, "
                    f"not {type(response).__name__}",
                )
            try:
                await response(scope, body.wait_gone, sender)
            except _ResponseCutError:
                log = current_log.get()
                if log is not None:
                    log.add(
                        "ERROR", f"HttpResponseTooLarge: the response was cut after {self._response_bytes_max} bytes"
                    )
            return sender.status

        identity: Identity | None = None
        refusal: ConcaveError | None = None
        try:
            identity = (await self._authorizer.caller(_header(scope, b"authorization"))).identity
        except ConcaveError as error:
            refusal = error
        try:
            failure = await self._engine.http_action(route, respond, identity=identity, refusal=refusal)
        except Exception as error:  # the last door: whatever got here must become a response
            status, text = render_error(error)
            await self._fail(sender, route, status, text)
        else:
            if failure is not None:
                await self._fail(sender, route, HTTPStatus.INTERNAL_SERVER_ERROR, _failure_json(failure))

    async def _fail(self, sender: _ResponseSender, route: Route, status: int, text: bytes) -> None:
        if sender.has_begun:
            # Left incomplete, so that the web server breaks the connection off and the client notices.
            _log.info("%s failed after its response had begun", route.identifier)
            return
        headers = [(b"content-length", b"%d" % len(text)), (b"content-type", JSON)]
        await sender({"type": "http.response.start", "status": status, "headers": headers})
        await sender({"type": "http.response.body", "body": text})


class _ResponseCutError(Exception):
    """The response is longer than is allowed. What was allowed has been sent, and the stream ended."""


class _RequestBody:
    """The body, up to `bytes_max`, for one reader; and the end of the connection for another one at the same time."""

    __slots__ = ("_bytes_max", "_is_delivered", "_is_whole", "_length", "_receive")

    def __init__(self, receive: Receive, bytes_max: int, *, is_wanted: bool) -> None:
        self._receive = receive
        self._bytes_max = bytes_max
        self._length = 0
        self._is_whole = asyncio.Event()
        self._is_delivered = is_wanted
        if not is_wanted:
            self._is_whole.set()

    async def receive(self) -> Message:
        """The next part. Raises `ClientError` (413) when there are too many of them."""
        if not self._is_delivered:
            self._is_delivered = True
            return {"type": "http.request", "body": b"", "more_body": False}
        if self._is_whole.is_set():
            return await self.wait_gone()
        message = await self._receive()
        self._length += len(message.get("body", b""))
        if self._length > self._bytes_max:
            raise _too_large(self._bytes_max)
        if not message.get("more_body"):
            self._is_whole.set()
        return message

    async def wait_gone(self) -> Message:
        """`http.disconnect`, as soon as the client has gone after sending all of its body."""
        await self._is_whole.wait()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                return message


class _ResponseSender:
    """Passes a response on, at most `bytes_max` of its body."""

    __slots__ = ("_bytes_max", "_is_head", "_length", "_send", "has_begun", "status")

    def __init__(self, send: Send, bytes_max: int, *, is_head: bool) -> None:
        self._send = send
        self._bytes_max = bytes_max
        self._is_head = is_head
        self._length = 0
        self.has_begun = False
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self.status = message["status"]
            if not self._is_head:
                message = {**message, "headers": self._possible(message.get("headers", ()))}
        elif message["type"] == "http.response.body" and not self._is_head:
            body = message.get("body", b"")
            allowed = self._bytes_max - self._length
            if len(body) > allowed:
                await self._send({"type": "http.response.body", "body": bytes(body[:allowed]), "more_body": False})
                raise _ResponseCutError
            self._length += len(body)
        await self._send(message)

    def _possible(self, headers: Any) -> list[tuple[bytes, bytes]]:
        """Without the length of a body that is going to be cut: it would not be true."""
        return [
            (name, value)
            for name, value in headers
            if name.lower() != b"content-length" or not value.isdigit() or int(value) <= self._bytes_max
        ]


def _seen_by_app(scope: Scope, path: str, prefix: str) -> Scope:
    """The request as its sender made it: without the prefix, with the scheme that a proxy in front of us was asked."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    return {
        **scope,
        "path": path,
        "raw_path": raw_path[len(prefix) :] or b"/",
        "root_path": "",
        "scheme": _scheme(scope),
    }


def _scheme(scope: Scope) -> str:
    forwarded = _header(scope, b"x-forwarded-proto")
    if forwarded is not None:
        scheme = forwarded.decode("latin-1").partition(",")[0].strip().lower()
        if scheme in _SCHEMES:
            return scheme
    first = (_header(scope, b"forwarded") or b"").decode("latin-1").partition(",")[0]
    for parameter in first.split(";"):
        name, _, value = parameter.partition("=")
        scheme = value.strip().strip('"').lower()
        if name.strip().lower() == "proto" and scheme in _SCHEMES:
            return scheme
    return str(scope.get("scheme", "http"))


def _header(scope: Scope, wanted: bytes) -> bytes | None:
    return next((value for name, value in scope["headers"] if name == wanted), None)


def _too_large(bytes_max: int) -> ClientError:
    return ClientError(
        "RequestTooLarge",
        f"The request body is larger than {bytes_max} bytes: upload large data as a file instead.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def _failure_json(failure: HttpActionFailure) -> bytes:
    told: dict[str, Any] = {"code": failure.code}
    if failure.trace is not None:
        told["trace"] = failure.trace
    if failure.data is not NO_DATA:
        told["data"] = to_format(failure.data, "json")
    return orjson.dumps(told)
