"""What load balancers are told."""

from __future__ import annotations

from typing import Any, cast

import httpx

from concave.auth.authenticator import Authenticator
from concave.http.app import create_app
from concave.http.health import health_routes
from concave.reactive.readiness import Reason
from concave.values.runtime import SystemRuntime


class Says:
    def __init__(self, *reasons: Reason) -> None:
        self._reasons = reasons

    def reasons(self) -> tuple[Reason, ...]:
        return self._reasons


async def answer(path: str, *reasons: Reason, method: str = "GET") -> httpx.Response:
    app = create_app(
        cast(Any, None), verifier=Authenticator("a|b", SystemRuntime()), health=health_routes("n1", Says(*reasons))
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://concave.test") as client:
        return await client.request(method, path)


BEHIND = Reason("FeedBehind", "the change feed is 7 s behind the database")


async def test_alive_whatever_else_is_true() -> None:
    response = await answer("/health", BEHIND)
    assert (response.status_code, response.json()) == (200, {"status": "alive", "node": "n1"})


async def test_ready() -> None:
    response = await answer("/ready")
    assert (response.status_code, response.json()) == (200, {"status": "ready", "node": "n1"})


async def test_not_ready_says_why() -> None:
    response = await answer("/ready", BEHIND)
    assert response.status_code == 503
    told = [{"code": BEHIND.code, "message": BEHIND.message}]
    assert response.json() == {"status": "not ready", "node": "n1", "reasons": told}


async def test_head_and_other_methods() -> None:
    assert (await answer("/ready", BEHIND, method="HEAD")).status_code == 503
    assert (await answer("/ready", method="POST")).status_code == 405
