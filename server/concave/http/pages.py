"""What a browser sees at the deployment's address: the built web app, or a line saying that the deployment runs."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send


class WebApp:
    """ASGI application of all paths that belong to nobody else. Looks for the files at each request, so that a web
    app which is built while the server runs appears without a restart."""

    def __init__(self, directory: Path | None, instance_name: str) -> None:
        self._index = None if directory is None else directory / "index.html"
        self._files = None if directory is None else _SinglePage(directory=directory, check_dir=False, html=True)
        self._running = f"This Convex deployment is running ({instance_name}, on concave).\n"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._files is not None and self._index is not None and self._index.is_file():
            try:
                await self._files(scope, receive, send)
                return
            except HTTPException as exc:
                response: Response = PlainTextResponse(f"{exc.detail}\n", status_code=exc.status_code)
        elif scope["path"] == "/":
            response = PlainTextResponse(self._running)
        else:
            response = PlainTextResponse("Not found\n", status_code=HTTPStatus.NOT_FOUND)
        await response(scope, receive, send)


class _SinglePage(StaticFiles):
    """Files of a single-page app: a path that names no file is a place inside the app, and gets its page."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        in_assets = path.startswith("assets/")
        try:
            response = await super().get_response(path, scope)
        except HTTPException as exc:
            # A missing script must not come back as HTML: the browser would report a syntax error in it.
            if exc.status_code != HTTPStatus.NOT_FOUND or in_assets or "." in path.rpartition("/")[2]:
                raise
            response = await super().get_response("index.html", scope)
        # The bundler puts a hash of the content into the names of assets; everything else may change at any build.
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if in_assets else "no-cache"
        return response
