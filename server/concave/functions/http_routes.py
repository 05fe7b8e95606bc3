"""HTTP actions of an app and the router that finds them (http-and-admin.md 2, function-runtime.md 7).

In the app's `http.py`:

    http = http_router()

    @http_action
    async def hook(ctx, request):
        return JSONResponse(await ctx.run_query(...))

    http.route(path="/hook", method="POST", handler=hook)

`request` and what the handler returns are Starlette's; nothing in this package looks into them. What is wrong with a
route is raised where it is registered, so that loading the app names that line.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from concave.values.errors import DeveloperError

METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
"""What a route may be registered for. HEAD is served by the route of GET."""

RESERVED_PREFIX: Final = "/.files"

HttpHandler = Callable[[Any, Any], Awaitable[Any]]


class HttpAction:
    """A handler `async def (ctx, request) -> Response`. Python code may still call it as the function that it is."""

    def __init__(self, handler: HttpHandler) -> None:
        self.handler = handler
        self.__name__: str = getattr(handler, "__name__", type(handler).__name__)
        self.__doc__ = handler.__doc__

    def __call__(self, ctx: Any, request: Any) -> Awaitable[Any]:
        return self.handler(ctx, request)

    def __repr__(self) -> str:
        return f"<http action {self.__name__}>"


def http_action(handler: HttpHandler) -> HttpAction:
    """Make a coroutine function an HTTP action. Raises `DeveloperError` (`InvalidDefinition`) for anything else."""
    if not inspect.iscoroutinefunction(handler):
        name = getattr(handler, "__name__", repr(handler))
        raise DeveloperError(
            "InvalidDefinition", f"@http_action decorates a coroutine function: `async def {name}(ctx, request)`"
        )
    return HttpAction(handler)


@dataclass(slots=True, frozen=True)
class Route:
    """`pattern` is the path, or the prefix with a `*` behind it."""

    method: str
    pattern: str
    action: HttpAction

    @property
    def identifier(self) -> str:
        """How logs and tools name it: `GET /path`, `POST /prefix/*`."""
        return f"{self.method} {self.pattern}"


class HttpRouter:
    """The routes of an app. An exact path comes before a prefix, a longer prefix before a shorter one."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], Route] = {}
        self._prefixes: dict[str, dict[str, Route]] = {method: {} for method in METHODS}

    def route(
        self,
        *,
        method: str,
        handler: HttpAction,
        path: str | None = None,
        path_prefix: str | None = None,
    ) -> None:
        """Serve `path`, or all paths that begin with `path_prefix`. Raises `DeveloperError` (`InvalidHttpRoute`)."""
        if (path is None) == (path_prefix is None):
            raise _invalid("give either `path` or `path_prefix`")
        given = path if path is not None else path_prefix
        if not isinstance(given, str) or not given.startswith("/"):
            raise _invalid(f"a path begins with `/`, which {given!r} does not")
        if given == RESERVED_PREFIX or given.startswith(f"{RESERVED_PREFIX}/"):
            raise _invalid(f"`{given}`: paths under {RESERVED_PREFIX} are reserved")
        if method not in METHODS:
            hint = "; HEAD is served by the route of GET" if method == "HEAD" else ""
            raise _invalid(f"`{given}`: the method is one of {', '.join(METHODS)}, not {method!r}{hint}")
        if not isinstance(handler, HttpAction):
            raise _invalid(f"{method} `{given}`: the handler must be decorated with @http_action")
        if path is not None:
            self._add(self._exact, (method, path), Route(method, path, handler))
        else:
            if not given.endswith("/"):
                raise _invalid(f"the prefix `{given}` must end in `/`")
            self._add(self._prefixes[method], given, Route(method, f"{given}*", handler))

    def find(self, method: str, path: str) -> Route | None:
        """The route that serves a request; `path` as the client sees it, decoded."""
        if method == "HEAD":
            method = "GET"
        route = self._exact.get((method, path))
        if route is not None:
            return route
        prefixes = self._prefixes.get(method)
        if not prefixes:
            return None
        end = path.rfind("/") + 1
        while end > 0:
            if (route := prefixes.get(path[:end])) is not None:
                return route
            end = path.rfind("/", 0, end - 1) + 1
        return None

    def routes(self) -> list[Route]:
        """All of them: the exact ones, then the prefixes, as they were registered."""
        return [*self._exact.values(), *(route for routes in self._prefixes.values() for route in routes.values())]

    @staticmethod
    def _add(routes: dict[Any, Route], key: Any, route: Route) -> None:
        if key in routes:
            raise _invalid(f"{route.identifier} is registered twice")
        routes[key] = route


def http_router() -> HttpRouter:
    """An empty router; the app's is the variable `http` of its module `http.py`."""
    return HttpRouter()


def _invalid(text: str) -> DeveloperError:
    return DeveloperError("InvalidHttpRoute", f"http.route: {text}")
