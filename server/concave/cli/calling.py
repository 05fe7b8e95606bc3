"""Requests that commands make to a running server."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

from concave.cli.deployment import Deployment
from concave.values.errors import ConfigurationError

_LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")


def ask(deployment: Deployment, path: str, body: Any, *, timeout_s: float) -> Any:
    """The server's JSON answer, asked with the admin key: POST of `body` as JSON, or GET where it is None.

    Raises `ConfigurationError` if nobody answers, or a refusal.
    """
    request = urllib.request.Request(
        f"{deployment.url.rstrip('/')}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Convex {deployment.admin_key}"},
    )
    # A proxy that the environment names is for the outside world, not for a server on this machine.
    is_local = urllib.parse.urlsplit(deployment.url).hostname in _LOCAL_HOSTS
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_local else []))
    try:
        with opener.open(request, timeout=timeout_s) as response:
            return json.load(response)
    except urllib.error.HTTPError as exc:
        raise ConfigurationError(_refusal(deployment, exc)) from None
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
        raise ConfigurationError(
            f"no concave server answers at {deployment.url} ({reason}): is `concave dev` running? "
            "Name another server with --url"
        ) from None


def _refusal(deployment: Deployment, exc: urllib.error.HTTPError) -> str:
    try:
        error = json.load(exc)
        code, message = error["code"], error["message"]
    except (ValueError, KeyError, TypeError):
        return f"the server at {deployment.url} answered with status {exc.code}; name another with --url"
    if code in ("BadAdminKey", "BadDeployKey"):
        return f"the server at {deployment.url} does not accept the admin key: give the right one with --admin-key"
    return f"{code}: {message}"
