"""`concave run`: call one function of a running server."""

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from typing import Any, Final

from concave.cli.deployment import Deployment
from concave.values.errors import ConfigurationError

TIMEOUT_S: Final = 310.0  # the server itself cuts a request off after 300 s
_PRINTABLE: Final = 200
_LOCAL_HOSTS: Final = ("127.0.0.1", "localhost", "::1")


def run_function(deployment: Deployment, function: str, args: dict[str, Any]) -> bool:
    """Call it with the admin key, of any kind and visibility; log lines go to stderr, the result as JSON to stdout.

    Returns whether the function succeeded. Raises `ConfigurationError` if it could not be called at all.
    """
    answer = _post(deployment, {"path": function, "args": args, "format": "json"})
    for line in answer.get("logLines", ()):
        print(line, file=sys.stderr)
    if answer["status"] == "success":
        print(json.dumps(answer["value"], indent=2, ensure_ascii=False))
        return True
    # The first line holds a request id, for looking things up in a server's log; here one sees it all.
    print(answer["errorMessage"].partition("\n")[2] or answer["errorMessage"], file=sys.stderr)
    if "errorData" in answer:
        print(json.dumps({"errorData": answer["errorData"]}, indent=2, ensure_ascii=False))
    return False


def parse_arguments(text: str | None) -> dict[str, Any]:
    """The arguments: a JSON object; none is an empty one."""
    if text is None:
        return {}
    shown = text if len(text) <= _PRINTABLE else text[:_PRINTABLE] + "..."
    try:
        args = json.loads(text)
    except json.JSONDecodeError as exc:
        raise ConfigurationError(
            f"the arguments are not valid JSON ({exc.msg}, at character {exc.pos + 1}): {shown}\n"
            """Give one object in single quotes, for instance: concave run messages:send '{"body": "hello"}'"""
        ) from None
    if not isinstance(args, dict):
        raise ConfigurationError(f"""the arguments must be a JSON object such as '{{"name": "value"}}', not: {shown}""")
    return args


def _post(deployment: Deployment, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{deployment.url.rstrip('/')}/api/function",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Convex {deployment.admin_key}"},
    )
    # A proxy that the environment names is for the outside world, not for a server on this machine.
    is_local = urllib.parse.urlsplit(deployment.url).hostname in _LOCAL_HOSTS
    opener = urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if is_local else []))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as exc:
        raise ConfigurationError(_refusal(deployment, exc)) from None
    except (OSError, http.client.HTTPException, ValueError) as exc:
        reason = exc.reason if isinstance(exc, urllib.error.URLError) else exc
        raise ConfigurationError(
            f"no concave server answers at {deployment.url} ({reason}): is `concave dev` running? "
            "Name another server with --url"
        ) from None
    if not isinstance(answer, dict) or answer.get("status") not in ("success", "error"):
        raise ConfigurationError(f"what answers at {deployment.url} is no concave server; name another with --url")
    return answer


def _refusal(deployment: Deployment, exc: urllib.error.HTTPError) -> str:
    try:
        error = json.load(exc)
        code, message = error["code"], error["message"]
    except (ValueError, KeyError, TypeError):
        return f"the server at {deployment.url} answered with status {exc.code}; name another with --url"
    if code in ("BadAdminKey", "BadDeployKey"):
        return f"the server at {deployment.url} does not accept the admin key: give the right one with --admin-key"
    return f"{code}: {message}"
