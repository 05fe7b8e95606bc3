"""Cursors: deterministic, opaque, bound to their query, tamper-evident."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concave.database.cursors import END, InvalidCursorError, fingerprint, seal, unseal
from concave.database.ranges import WHOLE_INDEX
from concave.schema.plan import ColumnPlan, IndexLayout

QUERY = b"q" * 32
KEY = b"deployment secret"


@given(st.one_of(st.none(), st.binary(max_size=200)))
def test_round_trip_is_deterministic(position: bytes | None) -> None:
    cursor = seal(position, QUERY, KEY)
    assert seal(position, QUERY, KEY) == cursor
    assert unseal(cursor, QUERY, KEY) == position


@given(st.binary(min_size=8, max_size=60), st.data())
def test_one_changed_byte_is_noticed(position: bytes, data: st.DataObject) -> None:
    cursor = seal(position, QUERY, KEY)
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    assert position not in raw
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InvalidCursorError):
        unseal(base64.urlsafe_b64encode(raw).decode(), QUERY, KEY)


@pytest.mark.parametrize("cursor", ["", "x", "not base64!", "é", "AAAA", "A" * 100])
def test_garbage_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidCursorError) as caught:
        unseal(cursor, QUERY, KEY)
    assert caught.value.data == {"isConvexSystemError": True, "paginationError": "InvalidCursor"}
    assert "InvalidCursor" in str(caught.value)
    assert "InvalidCursor" in caught.value.message


def test_another_query_or_another_key_is_refused() -> None:
    cursor = seal(END, QUERY, KEY)
    for query, key in ((b"other", KEY), (QUERY, b"other")):
        with pytest.raises(InvalidCursorError):
            unseal(cursor, query, key)


def test_the_fingerprint_tells_queries_apart() -> None:
    def layout(*paths: str) -> IndexLayout:
        return IndexLayout("i", tuple(ColumnPlan(path, False, path) for path in paths))

    bounds = WHOLE_INDEX
    prints = [
        fingerprint("t", layout("a"), bounds, "asc", []),
        fingerprint("u", layout("a"), bounds, "asc", []),
        fingerprint("t", layout("b"), bounds, "asc", []),
        fingerprint("t", layout("a"), bounds._replace(low=b"\x03"), "asc", []),
        fingerprint("t", layout("a"), bounds, "desc", []),
        fingerprint("t", layout("a"), bounds, "asc", [{"$literal": True}]),
    ]
    assert len(set(prints)) == len(prints)
    assert prints[0] == fingerprint("t", layout("a"), bounds, "asc", [])
