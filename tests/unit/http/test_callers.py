"""Who the functions that are called over HTTP see, by the `Authorization` header (http-and-admin.md 1.4, 4.4)."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from concave.auth.admin_keys import AdminKeys, read_only_key
from concave.auth.caller import Caller
from concave.functions.outcomes import Outcome
from concave.http.app import create_app
from concave.values.errors import OverloadError, unauthenticated
from concave.values.types import Timestamp

KEY = "concave|0123456789abcdef"


class Verifier:
    admin_keys = AdminKeys(KEY)

    async def user(self, token: str) -> Caller:
        if token == "unclear":
            raise OverloadError("AuthProviderDiscoveryFailed", "its keys cannot be had")
        if token != "ann":
            raise unauthenticated("Unauthenticated", "not verified")
        return Caller({"subject": "ann"}, expires_ms=1.0)


class Engine:
    """Remembers (kind, identity, internal_ok) of each call."""

    latest_ts = Timestamp(1)

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, bool]] = []

    def __getattr__(self, kind: str) -> Any:
        async def call(path: str, args: Any, *, identity: Any = None, ts: Any = None, internal_ok: bool) -> Outcome:
            self.calls.append((kind, identity, internal_ok))
            return Outcome(ok=True)

        return call


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(engine, verifier=Verifier())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://concave.test") as client:
        yield client


BODY = {"path": "a:f", "args": {}}
CALLS = ("query", "mutation", "action", "run/a/f")


@pytest.mark.parametrize("call", CALLS)
async def test_a_user(call: str, client: httpx.AsyncClient, engine: Engine) -> None:
    headers = {"authorization": "Bearer ann"}
    assert (await client.post(f"/api/{call}", json=BODY, headers=headers)).status_code == 200
    assert engine.calls[0][1:] == ({"subject": "ann"}, False)
    refused = await client.post("/api/function", json=BODY, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "BadDeployKey")


async def test_a_user_everywhere_else(client: httpx.AsyncClient, engine: Engine) -> None:
    headers = {"authorization": "bearer ann"}
    await client.get("/api/query", params={"path": "a:f"}, headers=headers)
    ts = (await client.post("/api/query_ts", headers=headers)).json()["ts"]
    await client.post("/api/query_at_ts", json={**BODY, "ts": ts}, headers=headers)
    await client.post("/api/query_batch", json={"queries": [BODY]}, headers=headers)
    assert engine.calls == [("query", {"subject": "ann"}, False)] * 3


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("token", "status"), [("forged", 401), ("unclear", 503)])
async def test_a_bad_token_is_refused_for_the_whole_request(
    call: str, token: str, status: int, client: httpx.AsyncClient, engine: Engine
) -> None:
    answer = await client.post(f"/api/{call}", json=BODY, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "message"}
    assert engine.calls == []


def acting(key: str, attributes: Any) -> dict[str, str]:
    encoded = base64.b64encode(json.dumps(attributes).encode()).decode()
    return {"authorization": f"Convex {key}:{encoded}"}


async def test_an_admin_acting_as_a_user(client: httpx.AsyncClient, engine: Engine) -> None:
    headers = acting(KEY, {"issuer": "i", "subject": "s", "role": "x"})
    for call in ("query", "function", "run/a/f"):
        assert (await client.post(f"/api/{call}", json=BODY, headers=headers)).status_code == 200
    who = {"tokenIdentifier": "i|s", "issuer": "i", "subject": "s", "role": "x"}
    assert engine.calls == [("query", who, True), ("run_any", who, False), ("run_any", who, False)]
    refused = await client.post("/api/query", json=BODY, headers=acting(KEY, {"subject": "s"}))
    assert (refused.status_code, refused.json()["code"]) == (400, "HeaderParseFailure")


async def test_a_read_only_key_runs_queries_only(client: httpx.AsyncClient, engine: Engine) -> None:
    headers = {"authorization": f"Convex {read_only_key(KEY)}"}
    for call in ("query", "function", "run/a/f"):
        assert (await client.post(f"/api/{call}", json=BODY, headers=headers)).status_code == 200
    assert engine.calls == [("query", None, True)] * 3
    for refused in [
        await client.post("/api/mutation", json=BODY, headers=headers),
        await client.post("/api/action", json=BODY, headers=headers),
        await client.post("/api/query", json=BODY, headers=acting(read_only_key(KEY), {"tokenIdentifier": "x"})),
    ]:
        assert (refused.status_code, refused.json()["code"]) == (403, "OperationNotPermitted")
        assert refused.json()["message"].startswith("You do not have permission to perform this operation (deployment:")
