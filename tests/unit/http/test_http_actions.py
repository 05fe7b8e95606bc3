"""HTTP actions, the function log over HTTP, and what the API says in headers; on an engine in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Scope

from concave.auth.authenticator import Authenticator
from concave.functions.attempts import RunnerOptions
from concave.functions.loader import load_app
from concave.functions.logs import install
from concave.functions.runner import FunctionRunner
from concave.http.app import create_app
from concave.http.compression import COMPRESSED_FROM, accepts_gzip
from concave.reactive.engine import Engine
from concave.schema.plan import compile_plan
from concave.storage.committer import Committer
from concave.storage.memory import MemoryStore
from concave.storage.timeline import Timeline
from concave.values.limits import DEFAULT_LIMITS
from concave.values.runtime import SystemRuntime

ADMIN_KEY = "app|0123456789abcdef"
ADMIN = {"authorization": f"Convex {ADMIN_KEY}"}
LIMITS = replace(DEFAULT_LIMITS, http_action_request_bytes_max=1_000, http_action_response_bytes_max=2_000)
SITE_PORT = 4999

NOTES = """
from concave import action, define_table, mutation, query, v

notes = define_table(text=v.string())

@mutation
async def add(ctx, text: str):
    print("adding", text)
    return await ctx.db.insert("notes", {"text": text})

@query
async def texts(ctx):
    return [note["text"] for note in await ctx.db.query("notes").collect()]

@query
async def large(ctx, size: float):
    return "x" * int(size)

@query
async def broken(ctx):
    raise ValueError("out of order")
"""

HTTP = """
import asyncio
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from concave import ConvexError, http_action, http_router
from . import notes

http = http_router()

def on(method, path=None, path_prefix=None):
    def register(handler):
        http.route(path=path, path_prefix=path_prefix, method=method, handler=http_action(handler))
        return handler
    return register

@on("GET", "/seen")
@on("POST", "/seen")
async def seen(ctx, request):
    print("seen")
    return JSONResponse({
        "method": request.method, "url": str(request.url), "body": (await request.body()).decode(),
        "site": ctx.env.get("CONVEX_SITE_URL"),
    }, headers={"x-mine": "yes"})

@on("POST", "/notes")
async def add(ctx, request):
    await ctx.run_mutation(notes.add, {"text": (await request.body()).decode()})
    return JSONResponse(await ctx.run_query(notes.texts), status_code=201)

@on("GET", path_prefix="/files/")
async def files(ctx, request):
    return PlainTextResponse(request.url.path)

@on("GET", "/who")
async def who(ctx, request):
    identity = await ctx.auth.get_user_identity()
    return PlainTextResponse("nobody" if identity is None else identity["subject"])

@on("GET", "/signature")
async def signature(ctx, request):
    return PlainTextResponse(request.headers["authorization"])

@on("GET", "/fails")
async def fails(ctx, request):
    raise ValueError("no good")

@on("GET", "/data")
async def data(ctx, request):
    raise ConvexError({"reason": "closed"})

@on("GET", "/nothing")
async def nothing(ctx, request):
    return {"not": "a response"}

@on("GET", "/large")
async def large(ctx, request):
    return PlainTextResponse("x" * 5000)

@on("GET", "/endless")
async def endless(ctx, request):
    async def chunks():
        while True:
            yield b"y" * 300
            await asyncio.sleep(0)
    return StreamingResponse(chunks())

@on("GET", "/halfway")
async def halfway(ctx, request):
    async def chunks():
        yield b"the first part"
        await ctx.run_query(notes.texts)
        raise RuntimeError("broke off")
    return StreamingResponse(chunks())

@on("POST", "/upper")
async def upper(ctx, request):
    async def chunks():
        async for chunk in request.stream():
            yield chunk.upper()
    return StreamingResponse(chunks())
"""


@contextlib.asynccontextmanager
async def served(
    directory: Path, files: dict[str, str], options: RunnerOptions | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application on these modules. Its requests come in at the API port."""
    app_dir = directory / "app"
    app_dir.mkdir(exist_ok=True)
    for name, source in files.items():
        (app_dir / name).write_text(source)
    app = load_app(app_dir)
    runtime = SystemRuntime()
    store = MemoryStore(runtime=runtime)
    catalog = await store.push(compile_plan(app.schema))
    timeline = await Timeline.open(store)
    committer = Committer(store, timeline, runtime, node="test")
    runner = FunctionRunner(store, timeline, committer, runtime, LIMITS, options)
    runner.swap(app, catalog)
    engine = Engine(store, timeline, committer, runner, runtime)
    await engine.start()
    uninstall = install()
    application = create_app(engine, verifier=Authenticator(ADMIN_KEY, runtime), limits=LIMITS, site_port=SITE_PORT)
    try:
        transport = httpx.ASGITransport(application, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://concave.test") as client:
            yield client
    finally:
        uninstall()
        await engine.close()
        await runtime.close()


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    options = RunnerOptions(env={"CONVEX_SITE_URL": "https://site.test"})
    async with served(tmp_path, {"notes.py": NOTES, "http.py": HTTP}, options) as client:
        yield client


async def log_of(client: httpx.AsyncClient, **parameters: Any) -> list[dict[str, Any]]:
    response = await client.get("/api/stream_function_logs", params={"cursor": 0, **parameters}, headers=ADMIN)
    entries: list[dict[str, Any]] = response.json()["entries"]
    return entries


async def test_the_action_sees_the_request_as_it_was_sent(client: httpx.AsyncClient) -> None:
    response = await client.post("/http/seen?a=1%202", content="hello")
    assert response.json() == {
        "method": "POST",
        "url": "http://concave.test/seen?a=1%202",
        "body": "hello",
        "site": "https://site.test",
    }
    assert response.headers["x-mine"] == "yes"
    assert not any(name.startswith("access-control") for name in response.headers)


@pytest.mark.parametrize(
    ("headers", "scheme"),
    [
        ({"x-forwarded-proto": "https"}, "https"),
        ({"x-forwarded-proto": "https, http"}, "https"),
        ({"x-forwarded-proto": "gopher"}, "http"),
        ({"forwarded": 'for=1.2.3.4;proto="https";by=x'}, "https"),
        ({"x-forwarded-proto": "http", "forwarded": "proto=https"}, "http"),
    ],
)
async def test_the_scheme_is_the_proxys(client: httpx.AsyncClient, headers: dict[str, str], scheme: str) -> None:
    response = await client.get("/http/seen", headers=headers)
    assert response.json()["url"] == f"{scheme}://concave.test/seen"


async def test_it_calls_functions(client: httpx.AsyncClient) -> None:
    response = await client.post("/http/notes", content="first")
    assert (response.status_code, response.json()) == (201, ["first"])


async def test_routing(client: httpx.AsyncClient) -> None:
    assert (await client.get("/http/files/a/b")).text == "/files/a/b"
    for method, path in (("GET", "/http/no"), ("POST", "/http/files/a"), ("OPTIONS", "/http/seen"), ("GET", "/http")):
        missing = await client.request(method, path)
        assert (missing.status_code, missing.text) == (404, "No matching routes found")
        assert missing.headers["content-type"] == "text/plain; charset=utf-8"
        assert "access-control-allow-origin" not in missing.headers
    refused = await client.request("TRACE", "/http/seen")
    assert refused.status_code == 405
    assert "PATCH" in refused.headers["allow"]


async def test_head_is_answered_by_get(client: httpx.AsyncClient) -> None:
    response = await client.head("/http/seen")
    assert (response.status_code, response.headers["x-mine"]) == (200, "yes")


async def test_an_app_without_a_router(tmp_path: Path) -> None:
    async with served(tmp_path, {"notes.py": NOTES}) as client:
        response = await client.get("/http/x")
    assert (response.status_code, response.text) == (
        404,
        "This Convex deployment does not have HTTP actions enabled.",
    )


async def test_a_body_is_only_given_where_one_belongs(client: httpx.AsyncClient) -> None:
    response = await client.request("GET", "/http/seen", content="ignored")
    assert response.json()["body"] == ""


async def test_authorization_never_refuses_a_request(client: httpx.AsyncClient) -> None:
    assert (await client.get("/http/who")).text == "nobody"
    for header in ("Bearer garbage", "Basic dXNlcjpwdw==", "x", "Signature keyId=1"):
        seen = await client.get("/http/signature", headers={"authorization": header})
        assert (seen.status_code, seen.text) == (200, header)
        asked = await client.get("/http/who", headers={"authorization": header})
        assert asked.status_code == 500
        assert "Uncaught Error: " in asked.json()["code"]


async def test_failures_before_the_head(client: httpx.AsyncClient) -> None:
    failed = await client.get("/http/fails", headers={"convex-request-id": "mine-1"})
    assert failed.status_code == 500
    assert failed.json()["code"] == "[Request ID: mine-1] Server Error: Uncaught ValueError: no good"
    assert "    at fails (app/http.py:" in failed.json()["trace"]
    assert "data" not in failed.json()
    assert (await client.get("/http/data")).json()["data"] == {"reason": "closed"}
    assert "must return a response" in (await client.get("/http/nothing")).json()["code"]
    entry = (await log_of(client, requestId="mine-1"))[-1]
    assert (entry["identifier"], entry["success"]) == ("GET /fails", None)
    assert entry["error"].startswith("Uncaught ValueError: no good\n    at fails")


async def test_redacted_failures_keep_their_id_and_data(tmp_path: Path) -> None:
    async with served(tmp_path, {"notes.py": NOTES, "http.py": HTTP}, RunnerOptions(redact_errors=True)) as client:
        failed = await client.get("/http/data", headers={"convex-request-id": "abc"})
        called = await client.post(
            "/api/query", json={"path": "notes:broken", "args": {}}, headers={"convex-request-id": "def"}
        )
        (entry,) = await log_of(client, requestId="def")
    assert failed.json() == {"code": "[Request ID: abc] Server Error", "data": {"reason": "closed"}}
    assert called.json() == {"status": "error", "errorMessage": "[Request ID: def] Server Error"}
    assert called.headers["convex-request-id"] == "def"
    assert "ValueError: out of order" in entry["error"]


async def test_bodies_are_limited(client: httpx.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"z" * 100

    for content in (b"z" * 1_001, parts()):
        refused = await client.post("/http/seen", content=content)
        assert (refused.status_code, refused.json()["code"]) == (413, "RequestTooLarge")
    for path in ("/http/large", "/http/endless"):
        cut = await client.get(path)
        assert (cut.status_code, len(cut.content)) == (200, 2_000)
        assert "content-length" not in cut.headers
        entries = [entry for entry in await log_of(client) if entry["identifier"] == f"GET {path[5:]}"]
        assert "HttpResponseTooLarge" in entries[0]["logLines"][0]
        assert entries[-1]["success"] == {"status": "200"}


async def test_an_error_in_the_stream_breaks_it_off(client: httpx.AsyncClient) -> None:
    # What was sent stays as it is: no second response behind it.
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/http/halfway",
        "raw_path": b"/http/halfway",
        "query_string": b"",
        "headers": [(b"host", b"x")],
        "server": ("x", 80),
        "scheme": "http",
        "http_version": "1.1",
    }
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    transport = client._transport
    assert isinstance(transport, httpx.ASGITransport)
    await transport.app(scope, receive, send)
    assert [message.get("body") for message in sent] == [None, b"the first part"]
    assert sent[-1]["more_body"] is True
    entry = (await log_of(client))[-1]
    assert entry["error"].startswith("Uncaught RuntimeError: broke off")


async def test_bodies_may_be_streamed_both_ways(client: httpx.AsyncClient) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b"abc", b"def", b"ghi"):
            yield part

    assert (await client.post("/http/upper", content=parts())).text == "ABCDEFGHI"


async def test_every_path_of_the_site_port_is_an_http_action(client: httpx.AsyncClient) -> None:
    seen = await client.get(f"http://site.test:{SITE_PORT}/seen")
    assert seen.json()["url"] == f"http://site.test:{SITE_PORT}/seen"
    missing = await client.post(f"http://site.test:{SITE_PORT}/api/query", json={})
    assert (missing.status_code, missing.text) == (404, "No matching routes found")


async def test_executions_of_http_actions_are_logged(client: httpx.AsyncClient) -> None:
    await client.get("/http/files/a", headers={"convex-request-id": "one"})
    (entry,) = await log_of(client, requestId="one")
    assert (entry["kind"], entry["udfType"], entry["caller"]) == ("Completion", "HttpAction", "HttpEndpoint")
    assert (entry["identifier"], entry["success"]) == ("GET /files/*", {"status": "200"})
    await client.post("/http/notes", content="x", headers={"convex-request-id": "two"})
    entries = await log_of(client, requestId="two")
    assert [entry["identifier"] for entry in entries] == ["notes:add", "notes:texts", "POST /notes"]
    await client.get("/http/seen", headers={"convex-request-id": "three"})
    assert [(e["kind"], e["logLines"]) for e in await log_of(client, requestId="three")] == [
        ("Progress", ["[LOG] 'seen'"]),
        ("Completion", []),
    ]


# The log over HTTP


async def test_the_log_is_for_admins(client: httpx.AsyncClient) -> None:
    for path in ("stream_function_logs", "app_metrics/stream_function_logs", "stream_udf_execution"):
        refused = await client.get(f"/api/{path}?cursor=0")
        assert (refused.status_code, refused.json()["code"]) == (403, "BadDeployKey")
        assert (await client.get(f"/api/{path}?cursor=0", headers=ADMIN)).status_code == 200
    for cursor in ("nan", "-1", "x"):
        refused = await client.get(f"/api/stream_function_logs?cursor={cursor}", headers=ADMIN)
        assert (refused.status_code, refused.json()["code"]) == (400, "BadQueryArgs")


async def test_a_first_poll_is_never_held_and_what_follows_is_not_lost(client: httpx.AsyncClient) -> None:
    first = (await client.get("/api/stream_function_logs?cursor=0", headers=ADMIN)).json()
    assert first["entries"] == []
    poll = asyncio.create_task(client.get(f"/api/stream_function_logs?cursor={first['newCursor']!r}", headers=ADMIN))
    await asyncio.sleep(0)
    await client.post("/api/mutation", json={"path": "notes:add", "args": {"text": "a"}})
    page = (await poll).json()
    assert [entry["identifier"] for entry in page["entries"]] == ["notes:add"]
    assert page["entries"][0]["caller"] == "HttpApi"
    assert page["newCursor"] == pytest.approx(page["entries"][-1]["timestamp"] * 1000)


async def test_cli_and_dashboard_get_lines_as_objects(client: httpx.AsyncClient) -> None:
    await client.post("/api/mutation", json={"path": "notes:add", "args": {"text": "a"}})
    headers = {**ADMIN, "convex-client": "npm-cli-1.48.0"}
    page = (await client.get("/api/stream_function_logs?cursor=0", headers=headers)).json()
    assert page["entries"][0]["logLines"][0]["messages"] == ["'adding' 'a'"]
    older = (await client.get("/api/stream_udf_execution?cursor=0", headers=headers)).json()
    assert older["entries"][0]["logLines"] == ["[LOG] 'adding' 'a'"]


# What the API says in headers


async def test_large_results_are_compressed_for_those_who_ask(client: httpx.AsyncClient) -> None:
    async def read(size: int, encoding: str) -> httpx.Response:
        body = {"path": "notes:large", "args": {"size": size}}
        return await client.post("/api/query", json=body, headers={"accept-encoding": encoding})

    large = await read(COMPRESSED_FROM, "gzip, deflate, br")
    assert (large.headers["content-encoding"], large.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert int(large.headers["content-length"]) < 1_000
    assert large.json()["value"] == "x" * COMPRESSED_FROM
    plain = await read(COMPRESSED_FROM, "identity")
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == "Accept-Encoding"
    small = await read(100, "gzip")
    assert "content-encoding" not in small.headers
    huge = await read(1_000_000, "gzip")
    assert huge.json()["value"] == "x" * 1_000_000


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (b"gzip", True),
        (b"deflate, GZIP;q=0.5", True),
        (b"br, gzip;q=0", False),
        (b"*", True),
        (b"*;q=0", False),
        (b"gzip;q=0, *", False),
        (b"br", False),
        (b"", False),
        (b"gzip;q=abc", True),
    ],
)
def test_what_accept_encoding_says(header: bytes, accepted: bool) -> None:
    assert accepts_gzip(header) is accepted


async def test_old_clients_are_told(client: httpx.AsyncClient) -> None:
    body = {"path": "notes:texts", "args": {}}

    async def call(version: str) -> httpx.Response:
        return await client.post("/api/query", json=body, headers={"convex-client": version})

    assert "x-convex-deprecation-state" not in (await call("npm-1.48.0")).headers
    outdated = await call("python-0.1.0")
    assert outdated.status_code == 200
    assert outdated.headers["x-convex-deprecation-state"] == "UpgradeRequired"
    assert "python" in outdated.headers["x-convex-deprecation-message"]
    refused = await call("npm-0.19.1")
    assert (refused.status_code, refused.json()["code"]) == (400, "ClientVersionUnsupported")
    assert refused.headers["x-convex-deprecation-state"] == "Unsupported"


async def test_a_request_id_that_cannot_be_one_is_left_out(client: httpx.AsyncClient) -> None:
    body = {"path": "notes:broken", "args": {}}
    response = await client.post("/api/query", json=body, headers={"convex-request-id": "no\tgood " * 30})
    assert "convex-request-id" not in response.headers
    assert "no\\tgood" not in response.text
