"""`concave logs`: what a running server's functions print and how they end, as it happens."""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from concave.cli.calling import ask
from concave.cli.deployment import Deployment
from concave.values.errors import ConfigurationError

POLL_TIMEOUT_S: Final = 90.0  # the server holds a poll for 60 s
_PAUSE_S: Final = 1.0


@dataclass(slots=True, frozen=True)
class LogOptions:
    """`history`: how many entries of before are printed first. `request_id`: print what is known of that request, and
    end. `success`: a line for each call that succeeded, too."""

    history: int
    success: bool
    as_json: bool
    request_id: str | None


def follow(deployment: Deployment, options: LogOptions) -> bool:
    """Print entries until interrupted; whether there was anything to print, for one request. Raises
    `ConfigurationError` when the server refuses, or was never there."""
    cursor: float | None = None
    while True:
        try:
            page = _poll(deployment, cursor or 0.0, options.request_id)
        except ConfigurationError:
            if cursor is None:
                raise
            time.sleep(_PAUSE_S)  # the server is being restarted
            continue
        entries = page["entries"]
        if options.request_id is not None:
            _print(entries, options)
            return bool(entries)
        if cursor is None:
            entries = entries[-options.history :] if options.history else []
        _print(entries, options)
        cursor = page["newCursor"]


def _poll(deployment: Deployment, cursor: float, request_id: str | None) -> Any:
    parameters = {"cursor": repr(cursor)} if request_id is None else {"cursor": "0", "requestId": request_id}
    path = f"/api/stream_function_logs?{urllib.parse.urlencode(parameters)}"
    page = ask(deployment, path, None, timeout_s=POLL_TIMEOUT_S)
    if not isinstance(page, dict) or "entries" not in page:
        raise ConfigurationError(f"what answers at {deployment.url} keeps no function log; name another with --url")
    return page


def _print(entries: list[dict[str, Any]], options: LogOptions) -> None:
    for entry in entries:
        if options.as_json:
            print(json.dumps(entry, ensure_ascii=False))
            continue
        for line in _lines(entry, with_success=options.success or options.request_id is not None):
            print(line)
    sys.stdout.flush()


def _lines(entry: dict[str, Any], *, with_success: bool) -> list[str]:
    at = datetime.fromtimestamp(entry["timestamp"]).strftime("%H:%M:%S.%f")[:-3]
    head = f"{at} {entry['udfType']} {entry['identifier']}"
    lines = [f"{head} {line}" for line in entry["logLines"]]
    if entry["kind"] == "Completion":
        if entry["error"] is not None:
            lines.append(f"{head} [Request ID: {entry['requestId']}] {entry['error']}")
        elif with_success:
            status = "" if entry["success"] is None else f" status {entry['success']['status']},"
            lines.append(f"{head} succeeded:{status} {entry['executionTime'] * 1000:.1f} ms")
    return lines
