"""The function log over HTTP (http-and-admin.md 7): `npx convex logs`, `concave logs`, the dashboard.

A poll is answered as soon as there is an entry after its cursor, or after a minute with none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, Protocol

import orjson

from concave.functions.failures import request_id
from concave.functions.function_log import FunctionLog
from concave.http.authorization import Authorizer, require_admin
from concave.http.client_version import parse_client_version
from concave.http.exchange import Exchange
from concave.http.public_api import Endpoint, query_parameters
from concave.values.errors import ClientError

POLL_S: Final = 60.0
_STRUCTURED_LINES: Final = frozenset(("npm-cli", "dashboard"))


class LogPort(Protocol):
    """What is needed of the engine."""

    @property
    def function_log(self) -> FunctionLog: ...


class LogApi:
    def __init__(self, engine: LogPort, authorizer: Authorizer) -> None:
        self._engine = engine
        self._authorizer = authorizer

    def routes(self) -> dict[str, Mapping[str, Endpoint]]:
        """Endpoints by exact path and method."""
        return {
            "/api/stream_function_logs": {"GET": self.stream_function_logs},
            "/api/app_metrics/stream_function_logs": {"GET": self.stream_function_logs},
            "/api/stream_udf_execution": {"GET": self.stream_udf_execution},
        }

    async def stream_function_logs(self, exchange: Exchange) -> bytes:
        """Completions and lines of running actions after `cursor`; of one request, named as clients know it
        (`sessionId` and `clientRequestCounter`) or as error messages do (`requestId`)."""
        version = None if exchange.client is None else parse_client_version(exchange.client)
        structured = version is not None and version.name in _STRUCTURED_LINES
        return await self._poll(exchange, structured=structured, completions_only=False)

    async def stream_udf_execution(self, exchange: Exchange) -> bytes:
        """The older form: completions only, lines as texts."""
        return await self._poll(exchange, structured=False, completions_only=True)

    async def _poll(self, exchange: Exchange, *, structured: bool, completions_only: bool) -> bytes:
        parameters = query_parameters(exchange)
        require_admin(await self._authorizer.caller(exchange.authorization, parameters.get("adminKey")))
        cursor = _cursor(parameters.get("cursor", "0"))
        log = self._engine.function_log
        wanted = _wanted_request(parameters)
        # A tool's first poll finds out where the present is: held, it would take the next entry for history.
        page = await log.after(cursor, request_id=wanted, structured=structured, wait_s=POLL_S if cursor > 0 else 0.0)
        entries = page.entries
        if completions_only:
            entries = [entry for entry in entries if entry["kind"] == "Completion"]
        new_cursor = log.now() if cursor == 0 and not page.entries else page.cursor
        return orjson.dumps({"entries": entries, "newCursor": new_cursor})


def _cursor(text: str) -> float:
    try:
        cursor = float(text)
    except ValueError:
        cursor = math.nan
    if not math.isfinite(cursor) or cursor < 0:
        raise ClientError("BadQueryArgs", f"`cursor` must be a number as returned in `newCursor`, or 0; not {text!r}.")
    return cursor


def _wanted_request(parameters: Mapping[str, str]) -> str | None:
    session, counter = parameters.get("sessionId"), parameters.get("clientRequestCounter")
    if session is None and counter is None:
        return parameters.get("requestId")
    if session is None or counter is None or not (counter.isascii() and counter.isdigit()):
        raise ClientError("BadQueryArgs", "`sessionId` and `clientRequestCounter` (a number) belong together.")
    return request_id(session, int(counter))
