"""Recorded conversations of the sync protocol: their files, and how a recorded message is compared with another.

A file has one line for each thing that happens, in order:

    # anything about it
    C {"type": ...}      the client says
    S {"type": ...}      the server says
    C drops              the client's connection breaks
    C connects           it has another

A second client's lines begin with `C2` and `S2`. Strings that differ from run to run are written as `<kind number>`,
the same for the same; numbers that do as `"<number>"`. Timestamps, `<ts number>`, are numbered in their order.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ZERO_TS = "AAAAAAAAAAA="
_PLACEHOLDER = re.compile(r"^<(?P<kind>ts|id|cursor|session) (?P<number>\d+)>$")
_NUMBER = "<number>"
_KINDS = {
    "ts": "ts",
    "maxObservedTimestamp": "ts",
    "_id": "id",
    "journal": "cursor",
    "cursor": "cursor",
    "endCursor": "cursor",
    "continueCursor": "cursor",
    "splitCursor": "cursor",
    "sessionId": "session",
}
_VARYING_NUMBERS = ("_creationTime", "serverTs", "clientClockSkew", "clientTs")
_ID = re.compile(r"^[0-9a-hjkmnp-tv-z]{31,37}$")


@dataclass(frozen=True)
class Line:
    """`message` is None for `drops` and `connects`."""

    client: int
    from_client: bool
    message: dict[str, Any] | None
    text: str

    def __str__(self) -> str:
        return f"{'C' if self.from_client else 'S'}{'' if self.client == 1 else self.client} {self.text}"


def said(client: int, from_client: bool, message: dict[str, Any]) -> Line:
    return Line(client, from_client, message, json.dumps(message, ensure_ascii=False))


def happened(client: int, what: str) -> Line:
    return Line(client, True, None, what)


def read_log(file: Path) -> list[Line]:
    lines = []
    for text in file.read_text().splitlines():
        if not text or text.startswith("#"):
            continue
        head, _, body = text.partition(" ")
        message = json.loads(body) if body.startswith("{") else None
        lines.append(Line(int(head[1:] or 1), head[0] == "C", message, body))
    return lines


def normalised(lines: list[Line]) -> list[Line]:
    """The lines of a real conversation, with placeholders for what differs from run to run."""
    found: dict[str, dict[str, None]] = {kind: {} for kind in ("ts", "id", "cursor", "session")}
    for line in lines:
        for kind, value in _varying(line.message):
            found[kind].setdefault(value)
    names: dict[tuple[str, str], str] = {}
    for kind, values in found.items():
        ordered = sorted(values, key=ts_of) if kind == "ts" else list(values)
        names |= {(kind, value): f"<{kind} {number}>" for number, value in enumerate(ordered, 1)}

    def rename(key: str, value: Any) -> Any:
        kind = _kind(key, value)
        if kind is not None:
            return names[kind, value]
        if key in _VARYING_NUMBERS and isinstance(value, int | float):
            return _NUMBER
        return _plain(value) if isinstance(value, str) else value

    return [
        line if line.message is None else said(line.client, line.from_client, _mapped("", line.message, rename))
        for line in lines
    ]


def ts_of(wire: str) -> int:
    return int.from_bytes(base64.b64decode(wire), "little")


@dataclass
class Bindings:
    """What the placeholders of one recording stand for in this run."""

    values: dict[str, str] = field(default_factory=dict)

    def filled(self, message: dict[str, Any]) -> dict[str, Any]:
        """A client's message to be said in this run."""

        def fill(key: str, value: Any) -> Any:
            if value == _NUMBER:
                return 0
            if isinstance(value, str) and _PLACEHOLDER.match(value):
                # A client makes up its own session id; all else it has heard before.
                return self.values.setdefault(value, value) if key == "sessionId" else self.values[value]
            return value

        result: dict[str, Any] = _mapped("", message, fill)
        return result

    def check(self, expected: Any, actual: Any, path: str = "") -> None:
        """Raises `AssertionError` where the messages differ in what does not vary."""
        if isinstance(expected, dict):
            assert isinstance(actual, dict), f"{path}: {actual} is no object"
            assert expected.keys() == actual.keys(), f"{path}: {expected} is not {actual}"
            for key, value in expected.items():
                self.check(value, actual[key], f"{path}.{key}")
        elif isinstance(expected, list):
            assert isinstance(actual, list), f"{path}: {actual} is no array"
            assert len(expected) == len(actual), f"{path}: {expected} is not {actual}"
            for index, value in enumerate(expected):
                self.check(value, actual[index], f"{path}[{index}]")
        elif expected == _NUMBER:
            assert isinstance(actual, int | float), f"{path}: {actual} is no number"
        elif isinstance(expected, str) and (match := _PLACEHOLDER.match(expected)):
            assert isinstance(actual, str), f"{path}: {actual} is no {match['kind']}"
            known = self.values.setdefault(expected, actual)
            assert known == actual, f"{path}: {expected} is {known}, not {actual}"
            if match["kind"] == "ts":
                self._check_order(int(match["number"]), actual, path)
        else:
            assert expected == (_plain(actual) if isinstance(actual, str) else actual), path

    def _check_order(self, number: int, wire: str, path: str) -> None:
        for name, other in self.values.items():
            match = _PLACEHOLDER.match(name)
            if match is not None and match["kind"] == "ts":
                before = int(match["number"]) < number
                assert not before or ts_of(other) <= ts_of(wire), f"{path}: time goes backwards"


def _kind(key: str, value: Any) -> str | None:
    if not isinstance(value, str) or value == ZERO_TS:
        return None
    return _KINDS.get(key) or ("id" if _ID.match(value) else None)


def _varying(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    kind = _kind(key, value)
    if kind is not None:
        yield kind, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _varying(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _varying(item)


def _mapped(key: str, value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {name: _mapped(name, item, change) for name, item in value.items()}
    if isinstance(value, list):
        return [_mapped("", item, change) for item in value]
    return change(key, value)


def _plain(text: str) -> str:
    """Text for people, without the numbers of requests and of lines."""
    text = re.sub(r"\[Request ID: [0-9a-f]{16}\]", "[Request ID: 0000000000000000]", text)
    return re.sub(r"(\.py):\d+", r"\1", text)
