"""Routing, CORS, health routes and pages of the application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from concave.auth.authenticator import Authenticator
from concave.http.app import create_app
from concave.values.limits import Limits
from concave.values.runtime import SystemRuntime
from concave.values.types import Timestamp, Value


class NeverAnswers:
    """An engine whose calls last for ever."""

    latest_ts = Timestamp(1)
    http_router = None

    async def query(
        self, path: str, args: Value, *, identity: None = None, ts: Timestamp | None = None, internal_ok: bool = False
    ) -> Any:
        await asyncio.Event().wait()

    async def mutation(self, path: str, args: Value, *, identity: None = None, internal_ok: bool = False) -> Any:
        await asyncio.Event().wait()

    action = run_any = mutation


def client_of(app: ASGIApp) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://concave.test")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(create_app(NeverAnswers(), verifier=Authenticator("a|b", SystemRuntime()))) as client:
        yield client


@pytest.fixture
def web_app(tmp_path: Path) -> Path:
    (tmp_path / "index.html").write_text("<title>the app</title>")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "main-1a2b.js").write_text("start()")
    return tmp_path


async def test_health_routes(client: httpx.AsyncClient) -> None:
    for path in ("/version", "/instance_name", "/instance_version", "/"):
        response = await client.get(path)
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain")
        assert response.text
    echoed = await client.post("/echo", content=b"\x00{any", headers={"content-type": "x/y"})
    assert (echoed.content, echoed.headers["content-type"]) == (b"\x00{any", "x/y")
    reported = await client.post("/api/debug_event", json={"event": "outage"})
    assert (reported.status_code, reported.content) == (200, b"")


@pytest.mark.parametrize("path", ["/api/deploy2/start_push", "/api/get_config_hashes", "/api/no_such_thing", "/api"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_unsupported_routes_are_400_so_that_tools_do_not_retry(
    client: httpx.AsyncClient, path: str, method: str
) -> None:
    response = await client.request(method, path)
    assert response.status_code == 400
    assert set(response.json()) == {"code", "message"}
    assert path in response.json()["message"]


async def test_a_wrong_method_says_the_right_one(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/mutation")
    assert (response.status_code, response.json()["code"]) == (405, "MethodNotAllowed")
    assert "POST" in response.json()["message"]


async def test_preflight_from_a_foreign_origin(client: httpx.AsyncClient) -> None:
    for path in ("/api/query", "/api/storage/upload", "/version", "/api/run/a/b"):
        response = await client.options(
            path,
            headers={
                "origin": "https://elsewhere.example",
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization,convex-client,content-type,digest",
            },
        )
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == "https://elsewhere.example"
        assert response.headers["access-control-allow-credentials"] == "true"
        assert response.headers["access-control-allow-headers"] == "authorization,convex-client,content-type,digest"
        assert response.headers["access-control-max-age"] == "86400"
        assert set(response.headers["access-control-allow-methods"].split(", ")) >= {"GET", "POST", "PATCH", "DELETE"}


async def test_origins_are_mirrored_on_answers_and_errors(client: httpx.AsyncClient) -> None:
    origin = {"origin": "http://localhost:5173"}
    for response in (
        await client.get("/version", headers=origin),
        await client.post("/api/query", content=b"no", headers=origin),
    ):
        assert response.headers["access-control-allow-origin"] == "http://localhost:5173"
        assert response.headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in (await client.get("/version")).headers


async def test_an_app_without_http_actions_says_so(client: httpx.AsyncClient) -> None:
    response = await client.get("/http/hook", headers={"origin": "http://localhost:5173"})
    assert response.status_code == 404
    assert response.text == "This Convex deployment does not have HTTP actions enabled."


async def test_a_request_that_takes_too_long_is_cut_off() -> None:
    app = create_app(
        NeverAnswers(), verifier=Authenticator(None, SystemRuntime()), limits=Limits(request_time_s_max=0.05)
    )
    async with client_of(app) as client:
        response = await client.post("/api/query", json={"path": "a:f", "args": {}})
    assert (response.status_code, response.json()["code"]) == (408, "RequestTimeout")


async def test_without_an_admin_key_no_key_opens_anything() -> None:
    async with client_of(create_app(NeverAnswers(), verifier=Authenticator(None, SystemRuntime()))) as client:
        for key in ("", "x|y", "None"):
            response = await client.post(f"/api/function?adminKey={key}", json={"path": "a:f", "args": {}})
            assert response.status_code in (401, 403)


async def test_the_web_app(web_app: Path) -> None:
    app = create_app(NeverAnswers(), verifier=Authenticator(None, SystemRuntime()), static_dir=web_app)
    async with client_of(app) as client:
        for place in ("/", "/workspaces/7/channel"):
            page = await client.get(place)
            assert (page.status_code, page.text) == (200, "<title>the app</title>")
            assert page.headers["cache-control"] == "no-cache"
        script = await client.get("/assets/main-1a2b.js")
        assert script.text == "start()"
        assert "immutable" in script.headers["cache-control"]
        assert (await client.get("/assets/gone.js")).status_code == 404
        assert (await client.get("/favicon.ico")).status_code == 404
        assert (await client.get("/..%2f..%2fetc/passwd")).text == "<title>the app</title>"
        assert (await client.get("/version")).text.startswith("concave-")


async def test_a_web_app_that_is_not_built_yet(tmp_path: Path) -> None:
    directory = tmp_path / "dist"
    app = create_app(NeverAnswers(), verifier=Authenticator(None, SystemRuntime()), static_dir=directory)
    async with client_of(app) as client:
        assert "running" in (await client.get("/")).text
        assert (await client.get("/elsewhere")).status_code == 404
        directory.mkdir()
        (directory / "index.html").write_text("built")
        assert (await client.get("/")).text == "built"


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/api/sync", True),
        ("/api/1.48.0/sync", True),
        ("//api/1.48.0/sync", True),
        ("/api/1.48.0/extra/sync", False),
        ("/sync", False),
        ("/api/query", False),
    ],
)
async def test_sync_socket_paths(path: str, served: bool) -> None:
    reached: list[str] = []

    async def socket(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope["path"])

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    app = create_app(NeverAnswers(), verifier=Authenticator(None, SystemRuntime()), sync_socket=socket)
    await app({"type": "websocket", "path": path}, receive, send)
    assert (reached == [path]) is served
    assert bool(sent) is not served
