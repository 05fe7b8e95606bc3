"""The public HTTP API over a fake engine; what the spec says of each endpoint (http-and-admin.md section 1)."""

from __future__ import annotations

import base64
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import pytest

from concave.auth.authenticator import Authenticator
from concave.functions.outcomes import NO_DATA, Outcome
from concave.http.app import create_app
from concave.values.codec import encode_json
from concave.values.errors import ConflictError, DeveloperError
from concave.values.limits import Limits
from concave.values.runtime import SystemRuntime
from concave.values.timestamps import ts_to_wire
from concave.values.types import Int64, Timestamp, Value

ADMIN_KEY = "concave|0123456789abcdef"
ADMIN = {"authorization": f"Convex {ADMIN_KEY}"}
NOW = Timestamp(1_700_000_000_000_000_001)


def succeeded(value: Value) -> Outcome:
    return Outcome(ok=True, value=value, value_json=encode_json(value))


def failed(message: str, data: Value = NO_DATA, log_lines: list[str] | None = None) -> Outcome:
    return Outcome(ok=False, error_message=message, error_data=data, log_lines=log_lines or [])


@dataclass
class FakeEngine:
    """Answers every call with `answer(path, args)` and remembers it as (kind, path, args, ts, internal_ok)."""

    answer: Callable[[str, Value], Outcome] = lambda path, args: succeeded(args)
    latest_ts: Timestamp = NOW
    calls: list[tuple[str, str, Value, Timestamp | None, bool]] = field(default_factory=list)

    async def query(
        self, path: str, args: Value, *, identity: Any = None, ts: Timestamp | None = None, internal_ok: bool = False
    ) -> Outcome:
        self.calls.append(("query", path, args, ts, internal_ok))
        return self.answer(path, args)

    async def mutation(self, path: str, args: Value, *, identity: Any = None, internal_ok: bool = False) -> Outcome:
        self.calls.append(("mutation", path, args, None, internal_ok))
        return self.answer(path, args)

    async def action(self, path: str, args: Value, *, identity: Any = None, internal_ok: bool = False) -> Outcome:
        self.calls.append(("action", path, args, None, internal_ok))
        return self.answer(path, args)

    async def run_any(self, path: str, args: Value, *, identity: Any = None, internal_ok: bool = False) -> Outcome:
        self.calls.append(("any", path, args, None, internal_ok))
        return self.answer(path, args)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def client(engine: FakeEngine) -> AsyncIterator[httpx.AsyncClient]:
    limits = Limits(request_body_bytes_max=10_000)
    app = create_app(engine, verifier=Authenticator(ADMIN_KEY, SystemRuntime()), limits=limits)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://concave.test") as client:
        yield client


def raising(exc: Exception) -> Callable[[str, Value], Outcome]:
    def answer(path: str, args: Value) -> Outcome:
        raise exc

    return answer


@pytest.mark.parametrize("kind", ["query", "mutation", "action"])
@pytest.mark.parametrize("args", [{"a": 1}, [{"a": 1}]], ids=["object", "array"])
async def test_a_call_with_either_form_of_arguments(
    client: httpx.AsyncClient, engine: FakeEngine, kind: str, args: Any
) -> None:
    response = await client.post(f"/api/{kind}", json={"path": "a/b:f", "args": args})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"status": "success", "value": {"a": 1.0}}
    assert engine.calls == [(kind, "a/b:f", {"a": 1.0}, None, False)]


async def test_a_query_by_url(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = await client.get("/api/query", params={"path": "a:f", "args": '{"x": "ä b"}', "format": "json"})
    assert answer.json()["value"] == {"x": "ä b"}
    assert (await client.get("/api/query", params={"path": "a:f"})).json()["value"] == {}
    assert [call[1] for call in engine.calls] == ["a:f", "a:f"]


@pytest.mark.parametrize(
    "query", ["", "path=a:f&args={", "path=a:f&args=%ff", "path=a%ff:f"], ids=["no path", "broken", "utf-8", "path"]
)
async def test_a_bad_query_string(client: httpx.AsyncClient, engine: FakeEngine, query: str) -> None:
    response = await client.get(f"/api/query?{query}")
    assert (response.status_code, response.json()["code"]) == (400, "BadQueryArgs")
    assert engine.calls == []


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ("convex_encoded_json", {"i": {"$integer": "AQAAAAAAAAA="}, "f": 1.5, "b": {"$bytes": "/w=="}}),
        ("convex_json", {"i": {"$integer": "AQAAAAAAAAA="}, "f": 1.5, "b": {"$bytes": "/w=="}}),
        ("json", {"i": "1", "f": 1.5, "b": "/w=="}),
        ("convex_clean_json", {"i": "1", "f": 1.5, "b": "/w=="}),
        (None, {"i": "1", "f": 1.5, "b": "/w=="}),
        ("export_json", {"i": 1, "f": 1.5, "b": {"$bytes": "/w=="}}),
    ],
)
async def test_formats(client: httpx.AsyncClient, engine: FakeEngine, named: str | None, expected: Any) -> None:
    engine.answer = lambda path, args: succeeded({"i": Int64(1), "f": 1.5, "b": b"\xff"})
    body = {"path": "a:f", "args": {}} | ({"format": named} if named else {})
    assert (await client.post("/api/query", json=body)).json()["value"] == expected


@pytest.mark.parametrize(
    ("client_header", "expected"),
    [("npm-1.4.0", {"$integer": "AQAAAAAAAAA="}), ("npm-1.48.0", "1"), ("python-0.4.2", {"$integer": "AQAAAAAAAAA="})],
)
async def test_very_old_clients_expect_the_encoded_format(
    client: httpx.AsyncClient, engine: FakeEngine, client_header: str, expected: Any
) -> None:
    engine.answer = lambda path, args: succeeded(Int64(1))
    body = {"path": "a:f", "args": {}}
    response = await client.post("/api/query", json=body, headers={"convex-client": client_header})
    assert response.json()["value"] == expected


async def test_arguments_are_read_with_the_encoded_rules(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    body = {"path": "a:f", "args": {"i": {"$integer": "AQAAAAAAAAA="}}, "format": "json"}
    await client.post("/api/query", json=body)
    assert engine.calls[0][2] == {"i": 1}
    assert type(engine.calls[0][2]["i"]) is Int64


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"path": "a:f", "args": {}, "format": "nope"}, "BadFormat"),
        ({"path": "a:f", "args": {}, "format": 7}, "BadFormat"),
        ({"args": {}}, "BadJsonBody"),
        ({"path": "a:f"}, "BadJsonBody"),
        ({"path": 3, "args": {}}, "BadJsonBody"),
        ({"path": "a:f", "args": "x"}, "BadJsonBody"),
        ({"path": "a:f", "args": [{}, {}]}, "BadJsonBody"),
        ([], "BadJsonBody"),
        ({"path": "a b:f", "args": {}}, "BadConvexFunctionIdentifier"),
        ({"path": "a:f", "args": {"x": "y" * 20_000}}, "BadJsonBody"),
    ],
)
async def test_bad_bodies(client: httpx.AsyncClient, engine: FakeEngine, body: Any, code: str) -> None:
    response = await client.post("/api/query", json=body)
    assert response.status_code == 400
    assert response.json()["code"] == code
    assert response.json()["message"]
    assert engine.calls == []


async def test_the_body_must_be_json_and_say_so(client: httpx.AsyncClient) -> None:
    good = orjson.dumps({"path": "a:f", "args": {}})
    for content_type in ("application/json", "application/json; charset=utf-8", "application/vnd.concave+json"):
        answer = await client.post("/api/query", content=good, headers={"content-type": content_type})
        assert answer.status_code == 200
    for content, content_type in ((good, "text/plain"), (b"{", "application/json"), (b"", "application/json")):
        answer = await client.post("/api/query", content=content, headers={"content-type": content_type})
        assert (answer.status_code, answer.json()["code"]) == (400, "BadJsonBody")


async def test_a_failed_function_is_a_result(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.answer = lambda path, args: failed(
        "[Request ID: 0123456789abcdef] Server Error\nUncaught ValueError: no", log_lines=["[LOG] 'before'"]
    )
    response = await client.post("/api/mutation", json={"path": "a:f", "args": {}})
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"status", "errorMessage", "logLines"}
    assert body["status"] == "error"
    assert body["errorMessage"] == "[Request ID: 0123456789abcdef] Server Error\nUncaught ValueError: no"
    assert body["logLines"] == ["[LOG] 'before'"]


@pytest.mark.parametrize("data", [None, {"n": 1.0}, "text"])
async def test_error_data_is_present_for_any_data(client: httpx.AsyncClient, engine: FakeEngine, data: Value) -> None:
    engine.answer = lambda path, args: failed("Uncaught ConvexError", data)
    body = (await client.post("/api/query", json={"path": "a:f", "args": {}})).json()
    assert "errorData" in body
    assert body["errorData"] == data


async def test_trouble_of_ours_is_an_http_error(
    client: httpx.AsyncClient, engine: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.answer = raising(ConflictError("changed meanwhile"))
    response = await client.post("/api/mutation", json={"path": "a:f", "args": {}})
    assert (response.status_code, response.json()["code"]) == (503, "OptimisticConcurrencyControlFailure")

    engine.answer = raising(DeveloperError("InvalidArgument", "not like this"))
    response = await client.post("/api/mutation", json={"path": "a:f", "args": {}})
    assert (response.status_code, response.json()) == (400, {"code": "InvalidArgument", "message": "not like this"})

    engine.answer = raising(RuntimeError("secret detail"))
    with caplog.at_level(logging.ERROR, logger="concave.http"):
        response = await client.post("/api/mutation", json={"path": "a:f", "args": {}})
    assert (response.status_code, response.json()["code"]) == (500, "InternalServerError")
    assert "secret detail" not in response.text
    assert "secret detail" in caplog.text


async def test_function_needs_the_admin_key(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    body = {"path": "a:f", "args": {}}
    refused = await client.post("/api/function", json=body)
    assert (refused.status_code, refused.json()["code"]) == (403, "BadDeployKey")
    assert (await client.post("/api/function", json=body, headers=ADMIN)).status_code == 200
    assert (await client.post(f"/api/function?adminKey={ADMIN_KEY}", json=body)).status_code == 200
    assert [call[0] for call in engine.calls] == ["any", "any"]
    assert all(call[4] for call in engine.calls)


async def test_internal_functions_are_open_to_the_admin_only(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    body = {"path": "a:f", "args": {}}
    await client.post("/api/query", json=body)
    await client.post("/api/query", json=body, headers=ADMIN)
    assert [call[4] for call in engine.calls] == [False, True]


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ("Convex wrong|key", 401, "BadAdminKey"),
        ("convex concave|0123456789abcdee", 401, "BadAdminKey"),
        ("Bearer garbage", 401, "InvalidAuthHeader"),
        ("Bearer a.b.c", 401, "InvalidAuthHeader"),
        ("Bearer eyJhbGciOiJub25lIn0.e30.", 401, "NoAuthProvider"),
        ("Basic dXNlcjpwYXNz", 400, "InvalidAdminKey"),
        ("x", 400, "InvalidHeaderFailure"),
    ],
)
async def test_bad_credentials(
    client: httpx.AsyncClient, engine: FakeEngine, header: str, status: int, code: str
) -> None:
    response = await client.post("/api/query", json={"path": "a:f", "args": {}}, headers={"authorization": header})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert engine.calls == []


@pytest.mark.parametrize("scheme", ["Convex", "convex", "CONVEX"])
@pytest.mark.parametrize("prefix", ["", "prod:", "dev:"])
async def test_spellings_of_the_admin_key(client: httpx.AsyncClient, scheme: str, prefix: str) -> None:
    headers = {"authorization": f"{scheme} {prefix}{ADMIN_KEY}"}
    answer = await client.post("/api/function", json={"path": "a:f", "args": {}}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(("path", "called"), [("a/b/list", "a/b:list"), ("mod/f", "mod:f"), ("a%2Eb/f", "a.b:f")])
async def test_run_by_path(client: httpx.AsyncClient, engine: FakeEngine, path: str, called: str) -> None:
    response = await client.post(f"/api/run/{path}", json={"args": {"a": True}})
    assert response.json() == {"status": "success", "value": {"a": True}}
    assert engine.calls == [("any", called, {"a": True}, None, False)]


@pytest.mark.parametrize("path", ["list", "", "a//b"])
async def test_run_needs_module_and_function(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(f"/api/run/{path}", json={"args": {}})
    assert (response.status_code, response.json()["code"]) == (400, "MissingIdentifier")


async def test_reads_can_be_pinned_to_a_timestamp(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    ts = (await client.post("/api/query_ts")).json()["ts"]
    assert base64.b64decode(ts) == NOW.to_bytes(8, "little")
    engine.latest_ts = Timestamp(NOW + 5)
    await client.post("/api/query_at_ts", json={"path": "a:f", "args": {}, "ts": ts})
    assert engine.calls == [("query", "a:f", {}, NOW, False)]


@pytest.mark.parametrize("ts", ["", "AAAA", "!", ts_to_wire(Timestamp(NOW + 1))])
async def test_a_bad_timestamp(client: httpx.AsyncClient, engine: FakeEngine, ts: str) -> None:
    response = await client.post("/api/query_at_ts", json={"path": "a:f", "args": {}, "ts": ts})
    assert (response.status_code, response.json()["code"]) == (400, "InvalidTimestamp")
    assert engine.calls == []


async def test_a_batch_runs_at_one_timestamp(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    engine.answer = lambda path, args: succeeded(path) if path == "a:f" else failed("no")
    queries = [{"path": "a:f", "args": {}}, {"path": "b:g", "args": [{}]}]
    results = (await client.post("/api/query_batch", json={"queries": queries})).json()["results"]
    assert results[0] == {"status": "success", "value": "a:f"}
    assert results[1]["status"] == "error"
    assert [call[3] for call in engine.calls] == [NOW, NOW]
    assert (await client.post("/api/query_batch", json={"queries": []})).json() == {"results": []}
    for bad in ({}, {"queries": {}}, {"queries": ["a:f"]}, {"queries": [{}] * 2000}):
        assert (await client.post("/api/query_batch", json=bad)).json()["code"] == "BadJsonBody"


async def test_a_client_header_without_a_dash_is_refused(client: httpx.AsyncClient) -> None:
    body = {"path": "a:f", "args": {}}
    refused = await client.post("/api/query", json=body, headers={"convex-client": "npm"})
    assert (refused.status_code, refused.json()["code"]) == (400, "InvalidClientVersion")
    for accepted in ("unknown-thing", "my-own-client-1.2.3", "npm-cli-1.48.0"):
        response = await client.post("/api/query", json=body, headers={"convex-client": accepted})
        assert response.status_code == 200
