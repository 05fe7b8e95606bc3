"""One HTTP request and its one response, straight on ASGI.

Starlette's Request and Response do more than `/api` needs; on the path of a cached query they would cost as much
as the rest of the server together.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
from starlette.types import Receive, Scope, Send

from concave.http import cors
from concave.http.compression import COMPRESSED_FROM, accepts_gzip, gzipped
from concave.values.errors import ClientError

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9_-]{1,64}")


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete; nobody is left to answer."""


class Exchange:
    """`content_type` is lower-cased and without parameters; headers that are absent are None.

    `reply_type` is the content type of the response; an endpoint that answers with anything but JSON changes it.
    `status` is that of an answer, 200 unless the endpoint changes it; what is raised has its own.
    `request_id` is the client's own name for the request, sent back with the response. `more_headers` are added to it.
    """

    __slots__ = (
        "_receive",
        "_send",
        "accept_encoding",
        "authorization",
        "client",
        "content_type",
        "more_headers",
        "origin",
        "reply_type",
        "request_id",
        "scope",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self.origin: bytes | None = None
        self.authorization: bytes | None = None
        self.client: bytes | None = None
        self.accept_encoding: bytes | None = None
        self.request_id: str | None = None
        self.more_headers: tuple[cors.Header, ...] = ()
        self.content_type = b""
        self.reply_type = JSON
        self.status = 200
        for name, value in scope["headers"]:
            if name == b"content-type":
                self.content_type = value if value == JSON else value.partition(b";")[0].strip().lower()
            elif name == b"origin":
                self.origin = value
            elif name == b"authorization":
                self.authorization = value
            elif name == b"convex-client":
                self.client = value
            elif name == b"accept-encoding":
                self.accept_encoding = value
            elif name == b"convex-request-id":
                self.request_id = clean_request_id(value)

    async def body(self, bytes_max: int) -> bytes:
        """The whole body; `ClientError` (`BadJsonBody`) beyond `bytes_max`, `ClientGoneError` if it never ends."""
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            chunks = [body]
            length = len(body)
            while message.get("more_body"):
                message = await self._receive()
                chunks.append(message.get("body", b""))
                length += len(chunks[-1])
                if length > bytes_max:
                    break
            body = b"".join(chunks)
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        if len(body) > bytes_max:
            raise ClientError(
                "BadJsonBody", f"The request body is larger than {bytes_max} bytes: send it in parts, by several calls."
            )
        return body

    async def json_object(self, bytes_max: int) -> dict[str, Any]:
        """The body as a JSON object; `ClientError` (`BadJsonBody`) if it is anything else or declared as such."""
        if self.content_type != JSON and not self.content_type.endswith(b"+json"):
            raise ClientError(
                "BadJsonBody", "Expected a request with `Content-Type: application/json`, or another type in +json."
            )
        try:
            parsed = orjson.loads(await self.body(bytes_max))
        except orjson.JSONDecodeError as exc:
            raise ClientError("BadJsonBody", f"The request body is not valid JSON: {exc}") from None
        if type(parsed) is not dict:
            raise ClientError("BadJsonBody", "The request body must be a JSON object.")
        return parsed

    async def respond(self, status: int, body: bytes) -> None:
        """Send the response; CORS headers are added where the request has an origin. Large JSON is compressed."""
        headers = [(b"content-type", self.reply_type), *self.more_headers]
        if len(body) >= COMPRESSED_FROM and self.reply_type == JSON:
            headers.append((b"vary", b"Accept-Encoding"))
            if self.accept_encoding is not None and accepts_gzip(self.accept_encoding):
                body = await gzipped(body)
                headers.append((b"content-encoding", b"gzip"))
        headers.append((b"content-length", b"%d" % len(body)))
        if self.request_id is not None:
            headers.append((b"convex-request-id", self.request_id.encode()))
        if self.origin is not None:
            headers += cors.response_headers(self.origin)
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def respond_preflight(self) -> None:
        """Answer OPTIONS."""
        headers = cors.preflight_headers(self.scope["headers"])
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send({"type": "http.response.body", "body": b""})


def clean_request_id(header: bytes | None) -> str | None:
    """What a client calls its request, if that can be one: it turns up in texts and logs."""
    return None if header is None or _REQUEST_ID.fullmatch(header) is None else header.decode()
