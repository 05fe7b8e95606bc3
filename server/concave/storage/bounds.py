"""Byte bounds of an index range as the `min` and `max` documents of MongoDB's `find` (`design.md` section 4).

A bound is decoded into column values. A column that is encoded in Mongo takes the encoding as a string; a natural one
takes the value itself, if the column can hold its type. If not, the bound lies between two types: it becomes the
lowest value of the next higher type that the column holds, or `MaxKey` if there is none, with `MinKey` in the columns
after it. Both orders agree on everything the column holds, so the range stays exact.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import bson
from bson.max_key import MaxKey
from bson.min_key import MinKey

from concave.schema.plan import ColumnPlan, IndexLayout
from concave.values.keys import PREFIX_END, decode_columns, encode_column
from concave.values.types import Int64, Unset, Value

_MIN: Final = MinKey()
_MAX: Final = MaxKey()
_SUCCESSOR: Final = b"\x00"

# The types a natural column may hold in Convex's order, and the lowest BSON value of each. NaN is below all numbers.
_LOWEST: Final[tuple[tuple[str, Value], ...]] = (
    ("undefined", None),
    ("null", None),
    ("int64", math.nan),
    ("float64", math.nan),
    ("boolean", False),
    ("string", ""),
)
_RANK: Final = {tag: rank for rank, (tag, _) in enumerate(_LOWEST)}
_TAGS: Final[dict[type, str]] = {
    Unset: "undefined",
    type(None): "null",
    Int64: "int64",
    float: "float64",
    bool: "boolean",
    str: "string",
}

_Convert = Callable[[Value | Unset], tuple[Value, bool]]
"""A column's value in Mongo, and whether it is exact: if not, it is the boundary above the value."""


class MongoRange(NamedTuple):
    """`min` (inclusive) and `max` (exclusive) over all columns of an index; None where the range is open."""

    min: dict[str, Any] | None
    max: dict[str, Any] | None


class BoundsCompiler:
    """Turns byte ranges of one index into `MongoRange`s."""

    def __init__(self, index: IndexLayout) -> None:
        self._fields = tuple(column.mongo_field for column in index.columns)
        self._convert = tuple(_converter(column) for column in index.columns)

    def range(self, low: bytes, high: bytes) -> MongoRange | None:
        """The range [low, high), or None if nothing can lie in it."""
        if low >= high:
            return None
        minimum = self._bound(low) if low else None
        maximum = self._bound(high) if high != PREFIX_END else None
        first = self._fields[0]
        if maximum is not None and maximum[first] is _MAX:
            maximum = None
        if minimum is None:
            return MongoRange(None, maximum)
        if minimum[first] is _MAX:
            return None  # above everything that the first column can hold
        if maximum is not None and bson.encode(minimum) == bson.encode(maximum):
            return None  # both ends lie between the same two types
        return MongoRange(minimum, maximum)

    def _bound(self, data: bytes) -> dict[str, Any]:
        values, tail = decode_columns(data)
        bound: dict[str, Any] = {}
        rest: Value = _MAX if tail == PREFIX_END else _MIN
        for field, convert, value in zip(self._fields, self._convert, values, strict=False):
            bound[field], exact = convert(value)
            if not exact:
                rest = _MIN
                break
        else:
            if tail and len(values) == len(self._fields):
                # Nothing lies between a full key and its successor; its last column is `_id`, a string.
                bound[self._fields[-1]] += "\x00"
        for field in self._fields[len(bound) :]:
            bound[field] = rest
        return bound


def _converter(column: ColumnPlan) -> _Convert:
    if column.encoded:
        return _encoded
    admitted = column.admitted
    return lambda value: _natural(value, admitted)


def _encoded(value: Value | Unset) -> tuple[Value, bool]:
    return encode_column(value).decode("latin-1"), True


def _natural(value: Value | Unset, admitted: frozenset[str]) -> tuple[Value, bool]:
    tag = _TAGS.get(type(value))
    if tag is None:  # bytes, arrays and objects are above everything that a natural column holds
        return _MAX, False
    if tag not in admitted:
        return next((low for higher, low in _LOWEST[_RANK[tag] + 1 :] if higher in admitted), _MAX), False
    if tag == "undefined":
        return None, True
    if tag == "float64" and value == 0.0:
        return 0.0, True  # never -0.0: the two are one key
    return value, True
