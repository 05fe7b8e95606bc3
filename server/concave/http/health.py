"""`/health` and `/ready`, for load balancers.

`/health` answers 200 whenever the process's event loop runs: a node that does not answer is to be restarted.
`/ready` answers 200 when the node should be sent clients, and 503 with the reasons when it should not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Protocol

import orjson

from concave.http.exchange import Exchange
from concave.http.public_api import Endpoint


class Reason(Protocol):
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...


class Readiness(Protocol):
    """`reactive.readiness.Readiness` is one."""

    def reasons(self) -> Sequence[Reason]:
        """Why the node is not ready; empty when it is."""


def health_routes(node: str, readiness: Readiness) -> dict[str, Mapping[str, Endpoint]]:
    """The two endpoints of the node called `node`, by path and method."""

    async def health(exchange: Exchange) -> bytes:
        return orjson.dumps({"status": "alive", "node": node})

    async def ready(exchange: Exchange) -> bytes:
        reasons = readiness.reasons()
        if not reasons:
            return orjson.dumps({"status": "ready", "node": node})
        exchange.status = HTTPStatus.SERVICE_UNAVAILABLE
        told = [{"code": reason.code, "message": reason.message} for reason in reasons]
        return orjson.dumps({"status": "not ready", "node": node, "reasons": told})

    return {"/health": {"GET": health, "HEAD": health}, "/ready": {"GET": ready, "HEAD": ready}}
