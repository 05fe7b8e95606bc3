"""Response bodies of the public API: results of functions (http-and-admin.md 1.2, 1.3) and errors (1.5)."""

from __future__ import annotations

import logging
from typing import Final

import orjson

from concave.functions.outcomes import NO_DATA
from concave.http.engine_port import Answer
from concave.values.codec import to_format
from concave.values.errors import ClientError, ConcaveError, EngineError, Family
from concave.values.types import Value

FORMATS: Final = frozenset({"convex_encoded_json", "convex_json", "json", "convex_clean_json", "export_json"})
_ENCODED: Final = frozenset({"convex_encoded_json", "convex_json"})

_log: Final = logging.getLogger("concave.http")


def checked_format(named: object, default: str) -> str:
    """The format that a request names, or the default of its client; `ClientError` (`BadFormat`) for any other."""
    if named is None:
        return default
    if type(named) is not str or named not in FORMATS:
        raise ClientError(
            "BadFormat", f"Unknown value format {named!r}: use `json`, `convex_encoded_json` or `export_json`."
        )
    return named


def render_answer(answer: Answer, format: str) -> bytes:
    """A function's result as JSON. In the encoded format the value's bytes are taken over as they are."""
    lines = answer.log_lines
    tail = b',"logLines":' + orjson.dumps(list(lines)) + b"}" if lines else b"}"
    if answer.ok:
        value = answer.value_json if format in _ENCODED else _value_bytes(answer.value, format)
        return b'{"status":"success","value":' + value + tail
    message = orjson.dumps(answer.error_message)
    data = answer.error_data
    error_data = b"" if data is NO_DATA else b',"errorData":' + _value_bytes(data, format)
    return b'{"status":"error","errorMessage":' + message + error_data + tail


def render_error(exc: Exception) -> tuple[int, bytes]:
    """Status and `{code, message}`. What is our own fault is described in the log, not to the client."""
    error = exc if isinstance(exc, ConcaveError) else EngineError(str(exc))
    if error.family is Family.ENGINE:
        _log.error("a request failed: %r", exc, exc_info=exc)
    return error.http_status, orjson.dumps({"code": error.code, "message": error.client_message})


def _value_bytes(value: Value, format: str) -> bytes:
    return orjson.dumps(to_format(value, format))
