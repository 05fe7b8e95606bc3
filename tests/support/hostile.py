"""What a client could say that wishes no good: hypothesis strategies for messages of the sync protocol.

Much of it is nearly right, since what is merely noise does not get far.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

FUNCTIONS = {
    "messages:list": {"channel": "fuzz"},
    "messages:count": {"channel": "fuzz"},
    "messages:pages": {"channel": "fuzz", "paginationOpts": {"numItems": 2, "cursor": None}},
    "pages:page": {"list": "fuzz", "paginationOpts": {"numItems": 1, "cursor": None, "id": -1}},
    "messages:send": {"channel": "fuzz", "body": "x"},
    "messages:increment": {"name": "fuzz"},
    "messages:echo": {"value": None},
    "messages:echo_mutation": {"value": None},
    "messages:echo_action": {"value": None},
    "messages:send_all": {"channel": "fuzz", "bodies": ["a", "b"]},
    "messages:refuse": {"data": 1},
    "messages:refuse_query": {"data": None},
    "messages:crash": {},
    "messages:nothing": {},
    "messages:hidden": {},
}
"""Functions of the interop app, with arguments that fit."""

WORDS = ("", "0", "fuzz", "\x00", "\u2028", "ü🙂", "$integer", "__proto__", "_id", "../..", "a" * 5000, "\ufdd0")
BASE64 = ("", "AAAAAAAAAAA=", "AAAAAAAA+H8=", "////////f38=", "AAAA", "=", "zz", "AQ==")

text = st.sampled_from(WORDS) | st.text(max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.integers(-2, 5)
    | st.floats()
    | text
    | st.builds(
        lambda name, data: {name: data},
        st.sampled_from(["$integer", "$float", "$bytes", "$x"]),
        st.sampled_from(BASE64),
    )
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=8,
)


def mostly(good: st.SearchStrategy[Any], bad: st.SearchStrategy[Any] = values) -> st.SearchStrategy[Any]:
    """Good nine times out of ten."""
    return st.integers(0, 9).flatmap(lambda dice: bad if dice == 0 else good)


uints = mostly(st.integers(0, 6) | st.just(2**32 - 1))
paths = mostly(
    st.sampled_from(sorted(FUNCTIONS)), text | st.sampled_from(["messages", "messages.js:list", ":", "a/b:c"])
)


@st.composite
def arguments(draw: st.DrawFn, path: Any) -> Any:
    fitting = FUNCTIONS.get(path, {}) if isinstance(path, str) else {}
    changed = dict(fitting)
    for name in fitting:
        if draw(st.integers(0, 5)) == 0:
            changed[name] = draw(values)
    if isinstance(changed.get("paginationOpts"), dict) and draw(st.booleans()):
        name = draw(st.sampled_from(["numItems", "cursor", "endCursor", "id", "maximumRowsRead", "other"]))
        changed["paginationOpts"] = {**changed["paginationOpts"], name: draw(values)}
    return draw(mostly(st.just([changed]), st.just([]) | st.lists(values, max_size=2) | values))


@st.composite
def calls(draw: st.DrawFn, type: str) -> dict[str, Any]:
    path = draw(paths)
    return {"type": type, "requestId": draw(uints), "udfPath": path, "args": draw(arguments(path))}


@st.composite
def modifications(draw: st.DrawFn) -> Any:
    if draw(st.integers(0, 3)) == 0:
        return {"type": "Remove", "queryId": draw(uints)}
    path = draw(paths)
    add = {"type": "Add", "queryId": draw(uints), "udfPath": path, "args": draw(arguments(path))}
    if draw(st.integers(0, 4)) == 0:
        add["journal"] = draw(text | values)
    return draw(mostly(st.just(add)))


CURRENT = "<the version that is current>"
"""Stands for the version that the server expects, and one more for a new one."""

versions = mostly(st.just(CURRENT), uints)
messages = st.one_of(
    calls("Mutation"),
    calls("Action"),
    st.fixed_dictionaries(
        {
            "type": st.just("ModifyQuerySet"),
            "baseVersion": versions,
            "newVersion": versions,
            "modifications": mostly(st.lists(modifications(), max_size=4)),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("Authenticate"),
            "baseVersion": versions,
            "tokenType": mostly(st.sampled_from(["None", "User", "Admin"])),
            "value": mostly(st.sampled_from(["", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "app|00"])),
            "impersonating": st.none() | values,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": mostly(st.sampled_from(["Connect", "Event"]), text),
            "sessionId": mostly(text),
            "connectionCount": uints,
            "lastCloseReason": st.none() | text | values,
            "maxObservedTimestamp": st.none() | st.sampled_from(BASE64) | values,
            "clientTs": values,
            "eventType": values,
        }
    ),
)


@dataclass
class Versions:
    """What one connection's server expects next."""

    query_set: int = 0
    identity: int = 0


def frame(message: dict[str, Any], versions: Versions) -> bytes:
    """The message as it is sent, with the versions put in."""
    current = versions.query_set if message.get("type") == "ModifyQuerySet" else versions.identity
    filled = dict(message)
    if filled.get("baseVersion") == CURRENT:
        filled["baseVersion"] = current
    if filled.get("newVersion") == CURRENT:
        filled["newVersion"] = current + 1
    return json.dumps(filled, ensure_ascii=False).encode("utf-8", "surrogatepass")


def damaged(data: bytes, seed: int) -> bytes:
    """The bytes cut, doubled, nested or with some of them changed."""
    rng = random.Random(seed)
    at = rng.randrange(len(data) + 1)
    match rng.randrange(6):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[rng.randrange(len(data) + 1) :]
        case 2:
            return data[:at] + bytes(rng.randrange(256) for _ in range(3)) + data[at:]
        case 3:
            depth = rng.choice([10, 300, 50_000])
            return data[:at] + b"[" * depth + b"]" * depth + data[at:]
        case 4:
            return (
                data[:at]
                + rng.choice([b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", b'"\\ud800"', b"1e999", b"NaN"])
                + data[at:]
            )
        case _:
            return data + data


damage = st.none() | st.none() | st.none() | st.none() | st.integers(0, 2**32)
"""The seed of `damaged`, or nothing."""
