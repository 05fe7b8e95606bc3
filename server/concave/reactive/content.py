"""What a client is shown of one call, encoded once for all who are shown it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from concave.functions.outcomes import NoData, Outcome
from concave.values.codec import encode_json

_REQUEST_ID: Final = re.compile(rb'^"\[Request ID: [0-9a-f]+\]')


@dataclass(slots=True, frozen=True)
class Content:
    """`body` is the value in Convex's encoded JSON or, if `failed`, the error message as a JSON string. `error_data` is
    encoded JSON, and None for every failure that is no ConvexError. `log_lines` is a JSON array of strings.
    """

    failed: bool
    body: bytes
    error_data: bytes | None
    log_lines: bytes
    compared: bytes
    """The body; of a failure, without the request id, which is another one for each run."""

    def looks_like(self, other: Content) -> bool:
        """Whether a client could tell no difference, request ids of failures aside.

        Bytes remember their hash: for results of some length that differ this is far cheaper than comparing
        the objects, and a thousand sessions ask.
        """
        return self is other or (
            hash(self.compared) == hash(other.compared)
            and self.compared == other.compared
            and self.failed is other.failed
            and self.log_lines == other.log_lines
            and self.error_data == other.error_data
        )

    @property
    def size(self) -> int:
        return len(self.body) + len(self.log_lines) + len(self.error_data or b"")


def content_of(outcome: Outcome) -> Content:
    """How a call ended, encoded. The value was encoded by the runner already, and is not copied."""
    log_lines = json_strings(outcome.log_lines)
    if outcome.ok:
        return Content(False, outcome.value_json, None, log_lines, outcome.value_json)
    data = outcome.error_data
    return failure(outcome.error_message, None if isinstance(data, NoData) else encode_json(data), log_lines)


def failure(message: str, error_data: bytes | None = None, log_lines: bytes = b"[]") -> Content:
    body = json_string(message)
    return Content(True, body, error_data, log_lines, _REQUEST_ID.sub(b'"', body))


def json_string(text: str) -> bytes:
    """JSON of a string. Lone surrogates, which no JSON parser of a client would take, become question marks."""
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        return orjson.dumps(text.encode("utf-8", "replace").decode())


def json_strings(texts: Sequence[str]) -> bytes:
    """JSON of an array of strings."""
    if not texts:
        return b"[]"
    return b"[" + b",".join([json_string(text) for text in texts]) + b"]"
