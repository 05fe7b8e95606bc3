"""A query's result for those who want it once: an outcome whose value is decoded only if it is asked for."""

from __future__ import annotations

import orjson

from concave.functions.outcomes import NO_DATA, NoData
from concave.reactive.live_query import Version
from concave.values.codec import decode_json
from concave.values.types import Timestamp, Value


class QueryAnswer:
    """Reads like an `Outcome`. Values are decoded afresh on each access, so that nobody changes the cache's copy."""

    __slots__ = ("_version", "ts")

    def __init__(self, version: Version, ts: Timestamp) -> None:
        self._version = version
        self.ts = ts
        """The time that was asked for; the result may have been read earlier, and holds."""

    @property
    def ok(self) -> bool:
        return not self._version.content.failed

    @property
    def value(self) -> Value:
        return decode_json(self.value_json)

    @property
    def value_json(self) -> bytes:
        return self._version.content.body if self.ok else b"null"

    @property
    def error_message(self) -> str:
        message: str = "" if self.ok else orjson.loads(self._version.content.body)
        return message

    @property
    def error_data(self) -> Value | NoData:
        data = self._version.content.error_data
        return NO_DATA if data is None else decode_json(data)

    @property
    def log_lines(self) -> list[str]:
        lines: list[str] = orjson.loads(self._version.content.log_lines)
        return lines
