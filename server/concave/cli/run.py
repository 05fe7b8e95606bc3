"""`concave run`: call one function of a running server."""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from concave.cli.calling import ask
from concave.cli.deployment import Deployment
from concave.values.errors import ConfigurationError

TIMEOUT_S: Final = 310.0  # the server itself cuts a request off after 300 s
_PRINTABLE: Final = 200


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
    answer = ask(deployment, "/api/function", body, timeout_s=TIMEOUT_S)
    if not isinstance(answer, dict) or answer.get("status") not in ("success", "error"):
        raise ConfigurationError(f"what answers at {deployment.url} is no concave server; name another with --url")
    return answer
