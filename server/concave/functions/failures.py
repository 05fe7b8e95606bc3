"""What a client is told of a function that failed (sync-protocol.md section 6, function-runtime.md 16.1)."""

from __future__ import annotations

import hashlib
import traceback
from pathlib import Path
from typing import Final

from concave.functions.outcomes import NO_DATA, NoData
from concave.values.coercion import normalize
from concave.values.errors import ConvexError, DeveloperError, function_error_text
from concave.values.runtime import Runtime
from concave.values.types import Value

_ENGINE: Final = str(Path(__file__).resolve().parent.parent) + "/"
_REQUEST_ID_DIGITS: Final = 16


def request_id(session_id: str, number: int) -> str:
    """The 16 hex digits that name a client's mutation in error texts: the same when it is sent again."""
    return hashlib.sha256(f"{session_id}|{number}".encode()).hexdigest()[:_REQUEST_ID_DIGITS]


def random_request_id(runtime: Runtime) -> str:
    """The 16 hex digits of any other call."""
    return runtime.random_bytes(_REQUEST_ID_DIGITS // 2).hex()


def error_message(error: BaseException, id: str, *, redact: bool, source_root: Path | None) -> str:
    """The text for the client: with `redact` nothing but the request's id, else message and the user's own frames."""
    head = error_head(id)
    return head if redact else f"{head}\n{error_text(error, source_root)}"


def error_head(id: str) -> str:
    """The first line, which is all that is left where errors are redacted."""
    return f"[Request ID: {id}] Server Error"


def error_text(error: BaseException, source_root: Path | None) -> str:
    """What it says and where it happened, for developers."""
    return function_error_text(error, traceback_lines=user_frames(error, source_root))


def error_data(error: BaseException) -> Value | NoData:
    """The data that the client gets; never redacted. Raises `DeveloperError` if it is no Convex value."""
    return normalize(error.data, where="the data of ConvexError") if isinstance(error, ConvexError) else NO_DATA


def presentable(error: BaseException) -> tuple[BaseException, Value | NoData]:
    """The error to report and its data. Data that is no value cannot be sent, so that becomes the error."""
    try:
        return error, error_data(error)
    except DeveloperError as invalid:
        return invalid.with_traceback(error.__traceback__), NO_DATA


def user_frames(error: BaseException, source_root: Path | None) -> list[str]:
    """The frames of the app and the libraries it uses, innermost first as upstream has them; none of the engine's."""
    lines = []
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith((_ENGINE, "<frozen")):
            continue
        lines.append(f"    at {frame.name} ({_shown(frame.filename, source_root)}:{frame.lineno})")
    return lines


def _shown(file: str, source_root: Path | None) -> str:
    """Files of the app as seen from its parent directory: `schema/messaging/messages.py`."""
    if source_root is not None and Path(file).is_relative_to(source_root):
        return str(Path(file).relative_to(source_root.parent))
    return file
