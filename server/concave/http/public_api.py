"""The public HTTP API: `/api/query` and its siblings (http-and-admin.md section 1).

Each endpoint is a coroutine function `(Exchange) -> body of the 200 response`; `app.py` turns what it raises into an
error response. An HTTP status other than 200 means that no function was to blame: a failed function is a result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import orjson

from concave.auth.caller import ANONYMOUS, Caller
from concave.functions.registry import canonical_path
from concave.http.authorization import Authorizer, require_admin, require_writes
from concave.http.client_version import parse_client_version
from concave.http.engine_port import Answer, EnginePort
from concave.http.exchange import Exchange
from concave.http.rendering import checked_format, render_answer
from concave.values.codec import decode
from concave.values.errors import ClientError, DeveloperError
from concave.values.limits import Limits
from concave.values.timestamps import ts_from_wire, ts_to_wire
from concave.values.types import Timestamp, Value

Endpoint = Callable[[Exchange], Awaitable[bytes]]

RUN_PREFIX: Final = "/api/run/"
BATCH_QUERIES_MAX: Final = 1_000


class PublicApi:
    """The endpoints, over one engine."""

    def __init__(self, engine: EnginePort, authorizer: Authorizer, limits: Limits) -> None:
        self._engine = engine
        self._authorizer = authorizer
        self._body_bytes_max = limits.request_body_bytes_max

    def routes(self) -> dict[str, Mapping[str, Endpoint]]:
        """Endpoints by exact path and method."""
        return {
            "/api/query": {"POST": self.query, "GET": self.query_by_url},
            "/api/mutation": {"POST": self.mutation},
            "/api/action": {"POST": self.action},
            "/api/function": {"POST": self.function},
            "/api/query_ts": {"POST": self.query_ts},
            "/api/query_at_ts": {"POST": self.query_at_ts},
            "/api/query_batch": {"POST": self.query_batch},
        }

    # Calls of one function

    async def query(self, exchange: Exchange) -> bytes:
        caller, body, value_format = await self._call(exchange)
        path, args = _path(body), _arguments(body)
        answer = await self._engine.query(path, args, identity=caller.identity, internal_ok=caller.is_admin)
        return render_answer(answer, value_format)

    async def query_by_url(self, exchange: Exchange) -> bytes:
        """GET: path, args (JSON text) and format in the query string."""
        caller = await self._caller(exchange)
        parameters = query_parameters(exchange)
        value_format = checked_format(parameters.get("format"), _default_format(exchange))
        if "path" not in parameters:
            raise ClientError("BadQueryArgs", "The query string must hold `path`.")
        try:
            args = orjson.loads(parameters.get("args", "{}"))
        except orjson.JSONDecodeError as exc:
            raise ClientError("BadQueryArgs", f"`args` in the query string is not valid JSON: {exc}") from None
        answer = await self._engine.query(
            canonical_path(parameters["path"]),
            _arguments({"args": args}),
            identity=caller.identity,
            internal_ok=caller.is_admin,
        )
        return render_answer(answer, value_format)

    async def mutation(self, exchange: Exchange) -> bytes:
        caller, body, value_format = await self._call(exchange)
        require_writes(caller)
        path, args = _path(body), _arguments(body)
        answer = await self._engine.mutation(path, args, identity=caller.identity, internal_ok=caller.is_admin)
        return render_answer(answer, value_format)

    async def action(self, exchange: Exchange) -> bytes:
        caller, body, value_format = await self._call(exchange)
        require_writes(caller)
        path, args = _path(body), _arguments(body)
        answer = await self._engine.action(path, args, identity=caller.identity, internal_ok=caller.is_admin)
        return render_answer(answer, value_format)

    async def function(self, exchange: Exchange) -> bytes:
        """A function of any kind, internal ones included, for the holder of an admin key."""
        caller, body, value_format = await self._call(exchange, is_for_admins=True)
        if body.get("componentPath"):
            raise ClientError("ComponentNotFound", "This deployment has no components; leave `componentPath` out.")
        answer = await self._run_any(_path(body), _arguments(body), caller)
        return render_answer(answer, value_format)

    async def run(self, exchange: Exchange) -> bytes:
        """`/api/run/a/b/list` calls `a/b:list`, of whichever kind it is."""
        raw: bytes = exchange.scope["raw_path"]
        segments = [unquote(segment) for segment in raw.decode("latin-1").partition(RUN_PREFIX)[2].split("/")]
        if len(segments) < 2 or not all(segments):
            raise ClientError(
                "MissingIdentifier", "Expected /api/run/<module>/<function>, for instance /api/run/a/b/list."
            )
        *module, export = segments
        caller, body, value_format = await self._call(exchange)
        path = canonical_path(f"{'/'.join(module)}:{export}")
        answer = await self._run_any(path, _arguments(body), caller)
        return render_answer(answer, value_format)

    async def _run_any(self, path: str, args: Value, caller: Caller) -> Answer:
        """A function of whichever kind it is; for the holder of a read-only key, of none but queries. Whoever acts as
        a user sees what users see."""
        if caller.is_read_only:
            return await self._engine.query(path, args, internal_ok=True)
        internal_ok = caller.is_admin and caller.identity is None
        return await self._engine.run_any(path, args, identity=caller.identity, internal_ok=internal_ok)

    # Reads at a chosen time

    async def query_ts(self, exchange: Exchange) -> bytes:
        """A timestamp to give to `query_at_ts`; opaque to clients."""
        await self._caller(exchange)
        return orjson.dumps({"ts": ts_to_wire(self._engine.latest_ts)})

    async def query_at_ts(self, exchange: Exchange) -> bytes:
        caller, body, value_format = await self._call(exchange)
        ts = body.get("ts")
        if type(ts) is not str:
            raise ClientError("BadJsonBody", "`ts` must be a string as returned by /api/query_ts.")
        answer = await self._engine.query(
            _path(body),
            _arguments(body),
            identity=caller.identity,
            ts=self._past_timestamp(ts),
            internal_ok=caller.is_admin,
        )
        return render_answer(answer, value_format)

    async def query_batch(self, exchange: Exchange) -> bytes:
        """Several queries at one timestamp; results in the order of the queries."""
        caller = await self._caller(exchange)
        body = await exchange.json_object(self._body_bytes_max)
        queries = body.get("queries")
        if type(queries) is not list or not all(type(query) is dict for query in queries):
            raise ClientError("BadJsonBody", "`queries` must be an array of {path, args, format?}.")
        if len(queries) > BATCH_QUERIES_MAX:
            raise ClientError("BadJsonBody", f"A batch holds at most {BATCH_QUERIES_MAX} queries, not {len(queries)}.")
        default = _default_format(exchange)
        calls = []
        for position, query in enumerate(queries):
            try:
                calls.append((_path(query), _arguments(query), checked_format(query.get("format"), default)))
            except (ClientError, DeveloperError) as error:
                raise ClientError(error.code, f"queries[{position}]: {error.message}") from None
        ts = self._engine.latest_ts
        answers = await asyncio.gather(
            *(
                self._engine.query(path, args, identity=caller.identity, ts=ts, internal_ok=caller.is_admin)
                for path, args, _ in calls
            )
        )
        results = [render_answer(answer, call[2]) for answer, call in zip(answers, calls, strict=True)]
        return b'{"results":[' + b",".join(results) + b"]}"

    # What the endpoints share

    async def _call(self, exchange: Exchange, *, is_for_admins: bool = False) -> tuple[Caller, dict[str, Any], str]:
        """Who calls, the body, and the format of the answer."""
        caller = await self._caller(exchange)
        if is_for_admins:
            require_admin(caller)
        body = await exchange.json_object(self._body_bytes_max)
        return caller, body, checked_format(body.get("format"), _default_format(exchange))

    async def _caller(self, exchange: Exchange) -> Caller:
        header = exchange.authorization
        if header is None:
            if not exchange.scope["query_string"]:
                return ANONYMOUS
            return await self._authorizer.caller(None, query_parameters(exchange).get("adminKey"))
        return await self._authorizer.caller(header)

    def _past_timestamp(self, text: str) -> Timestamp:
        try:
            ts = ts_from_wire(text)
        except ValueError as exc:
            raise ClientError("InvalidTimestamp", f"`ts` is no timestamp of /api/query_ts: {exc}") from None
        if ts > self._engine.latest_ts:
            raise ClientError("InvalidTimestamp", "`ts` lies in the future; use one that /api/query_ts returned.")
        return ts


def _path(body: Mapping[str, Any]) -> str:
    path = body.get("path")
    if type(path) is not str:
        raise ClientError("BadJsonBody", "`path` must be a string such as `dir/module:function`.")
    return canonical_path(path)


def _arguments(body: Mapping[str, Any]) -> Value:
    """`args`: an object, or, as old clients send it, an array that holds one."""
    if "args" not in body:
        raise ClientError("BadJsonBody", "`args` is missing: an object with the function's arguments.")
    args = body["args"]
    if type(args) is list and len(args) == 1:
        args = args[0]
    if type(args) is not dict:
        raise ClientError("BadJsonBody", "`args` must be an object, or an array with one object.")
    return decode(args, where="Arguments")


def _default_format(exchange: Exchange) -> str:
    if exchange.client is None:
        return "json"
    version = parse_client_version(exchange.client)
    return "json" if version is None else version.default_format


def query_parameters(exchange: Exchange) -> dict[str, str]:
    """The query string, the last value of each name. Raises `ClientError` (`BadQueryArgs`)."""
    try:
        pairs = parse_qs(
            exchange.scope["query_string"].decode("ascii"), keep_blank_values=True, max_num_fields=100, errors="strict"
        )
    except (UnicodeDecodeError, ValueError) as exc:
        raise ClientError("BadQueryArgs", f"The query string cannot be read: {exc}") from None
    return {name: values[-1] for name, values in pairs.items()}
