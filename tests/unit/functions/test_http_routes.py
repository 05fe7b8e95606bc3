"""Matching of HTTP routes, and what may not be one."""

from __future__ import annotations

from typing import Any

import pytest

from concave.functions.http_routes import HttpRouter, http_action, http_router
from concave.functions.load_report import LoadError
from concave.functions.loader import load_app
from concave.values.errors import DeveloperError


@http_action
async def handler(ctx: Any, request: Any) -> Any:
    return "response"


def router_of(*routes: tuple[str, str]) -> HttpRouter:
    """Routes of (method, path); a path that ends in `*` is a prefix."""
    router = http_router()
    for method, path in routes:
        if path.endswith("*"):
            router.route(method=method, path_prefix=path[:-1], handler=handler)
        else:
            router.route(method=method, path=path, handler=handler)
    return router


def found(router: HttpRouter, method: str, path: str) -> str | None:
    route = router.find(method, path)
    return None if route is None else route.identifier


def test_exact_beats_prefix_and_longer_beats_shorter():
    router = router_of(("GET", "/*"), ("GET", "/a/*"), ("GET", "/a/b/*"), ("GET", "/a/b/c"), ("POST", "/a/b/*"))
    assert found(router, "GET", "/a/b/c") == "GET /a/b/c"
    assert found(router, "GET", "/a/b/d") == "GET /a/b/*"
    assert found(router, "GET", "/a/b/") == "GET /a/b/*"
    assert found(router, "GET", "/a/b") == "GET /a/*"
    assert found(router, "GET", "/a/x/y/z") == "GET /a/*"
    assert found(router, "GET", "/a") == "GET /*"
    assert found(router, "GET", "") is None
    assert found(router, "POST", "/a/b/c") == "POST /a/b/*"
    assert found(router, "POST", "/a/x") is None
    assert found(router, "TRACE", "/a/b/c") is None


def test_head_is_served_by_get():
    router = router_of(("GET", "/a"), ("POST", "/b"))
    assert found(router, "HEAD", "/a") == "GET /a"
    assert found(router, "HEAD", "/b") is None


def test_routes_are_listed_with_a_star_for_prefixes():
    router = router_of(("POST", "/p/*"), ("GET", "/a"))
    assert [route.identifier for route in router.routes()] == ["GET /a", "POST /p/*"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "GET", "handler": handler}, "either `path` or `path_prefix`"),
        ({"method": "GET", "handler": handler, "path": "/a", "path_prefix": "/a/"}, "either"),
        ({"method": "GET", "handler": handler, "path": "a"}, "begins with `/`"),
        ({"method": "GET", "handler": handler, "path": 3}, "begins with `/`"),
        ({"method": "GET", "handler": handler, "path_prefix": "/a"}, "must end in `/`"),
        ({"method": "GET", "handler": handler, "path": "/.files/x"}, "reserved"),
        ({"method": "GET", "handler": handler, "path_prefix": "/.files/"}, "reserved"),
        ({"method": "HEAD", "handler": handler, "path": "/a"}, "route of GET"),
        ({"method": "get", "handler": handler, "path": "/a"}, "not 'get'"),
        ({"method": "GET", "handler": lambda ctx, request: None, "path": "/a"}, "@http_action"),
    ],
)
def test_what_cannot_be_a_route(options: dict[str, Any], says: str):
    with pytest.raises(DeveloperError, match=r"http\.route") as raised:
        http_router().route(**options)
    assert raised.value.code == "InvalidHttpRoute"
    assert says in raised.value.message


def test_a_route_is_registered_once():
    router = router_of(("GET", "/a"), ("GET", "/p/*"))
    for options in ({"path": "/a"}, {"path_prefix": "/p/"}):
        with pytest.raises(DeveloperError, match="twice"):
            router.route(method="GET", handler=handler, **options)
    router.route(method="POST", path="/a", handler=handler)


async def test_an_http_action_is_async_and_can_be_called():
    with pytest.raises(DeveloperError, match="async def plain"):

        @http_action
        def plain(ctx: Any, request: Any) -> None: ...

    assert await handler(None, None) == "response"


HTTP = """
from concave import http_action, http_router, query

http = http_router()

@http_action
async def hello(ctx, request):
    return None

http.route(path="/hello", method="GET", handler=hello)

@query
async def also(ctx):
    return None
"""


async def test_the_router_of_an_app(write_app):
    app = load_app(write_app({"http.py": HTTP}))
    assert app.http is not None
    assert [route.identifier for route in app.http.routes()] == ["GET /hello"]
    assert [spec.path for spec in app.registry] == ["http:also"]


async def test_an_app_without_a_router(write_app):
    assert load_app(write_app({"tasks.py": ""})).http is None


async def test_a_bad_route_stops_the_load_and_names_its_line(write_app):
    again = HTTP + '\nhttp.route(path="/hello", method="GET", handler=hello)\n'
    with pytest.raises(LoadError, match=r"app/http.py:\d+: http.route: GET /hello is registered twice"):
        load_app(write_app({"http.py": again}))


async def test_a_router_of_another_name_is_reported(write_app):
    with pytest.raises(LoadError, match="must be called `http`, not `router`"):
        load_app(write_app({"http.py": "from concave import http_router\nrouter = http_router()\n"}))
