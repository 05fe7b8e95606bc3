"""The one total order of values: indexes, bounds, filters, equality and literals all use it (`spec/data-model.md` 2).

    undefined < null < Int64 < Float64 < Boolean < String < Bytes < Array < Object

An Int64 never equals a Float64; -0.0 is below 0.0; NaNs are ordered by their bits. A plain `int` counts as Float64.
`keys.encode_value` gives byte strings in this same order; a property test holds the two together.
"""

from __future__ import annotations

import struct
from typing import Final

from concave.values.types import UNSET, Int64, Unset, Value

_BITS: Final = struct.Struct(">q")
_DOUBLE: Final = struct.Struct(">d")

_RANKS: Final[dict[type, int]] = {
    Unset: 0,
    type(None): 1,
    Int64: 2,
    float: 3,
    int: 3,
    bool: 4,
    str: 5,
    bytes: 6,
    list: 7,
    dict: 8,
}


def compare(a: Value, b: Value) -> int:
    """-1, 0 or 1: whether `a` sorts before, with or after `b`; `UNSET` is allowed. `TypeError` for what is no value."""
    rank_a = _rank(a)
    rank_b = _rank(b)
    if rank_a != rank_b:
        return -1 if rank_a < rank_b else 1
    if rank_a == 3:
        return _compare_floats(float(a), float(b))
    if rank_a == 7:
        return _compare_arrays(a, b)
    if rank_a == 8:
        return _compare_objects(a, b)
    if rank_a < 2 or a == b:
        return 0
    # Strings: Python compares code points, which is the order of UTF-8 bytes.
    return -1 if a < b else 1


def values_equal(a: Value, b: Value) -> bool:
    """Whether two values are the same one: no numeric tower, -0.0 is not 0.0, a NaN equals one of the same bits."""
    kind = type(a)
    if kind is not type(b):
        # Only a plain int may still meet its float.
        return compare(a, b) == 0
    if kind is str or kind is bool or kind is bytes or kind is Int64:
        return bool(a == b)
    if kind is float:
        return _bits(a) == _bits(b)
    if kind is dict:
        if len(a) != len(b):
            return False
        for name, item in a.items():
            other = b.get(name, UNSET)
            if other is UNSET or not values_equal(item, other):
                return False
        return True
    if kind is list:
        return len(a) == len(b) and all(map(values_equal, a, b))
    return compare(a, b) == 0


def _rank(value: Value) -> int:
    rank = _RANKS.get(type(value))
    if rank is None:
        raise TypeError(f"{type(value).__name__} is no Convex value; normalize it first")
    return rank


def _compare_floats(a: float, b: float) -> int:
    if a < b:
        return -1
    if a > b:
        return 1
    bits_a = _bits(a)
    bits_b = _bits(b)
    return 0 if bits_a == bits_b else (-1 if bits_a < bits_b else 1)


def _bits(number: float) -> int:
    """The IEEE total order as signed integers."""
    bits: int = _BITS.unpack(_DOUBLE.pack(number))[0]
    return bits if bits >= 0 else bits ^ 0x7FFF_FFFF_FFFF_FFFF


def _compare_arrays(a: list[Value], b: list[Value]) -> int:
    for left, right in zip(a, b, strict=False):
        result = compare(left, right)
        if result:
            return result
    return (len(a) > len(b)) - (len(a) < len(b))


def _compare_objects(a: dict[str, Value], b: dict[str, Value]) -> int:
    for (name_a, left), (name_b, right) in zip(
        sorted(a.items(), key=_name), sorted(b.items(), key=_name), strict=False
    ):
        if name_a != name_b:
            return -1 if name_a < name_b else 1
        result = compare(left, right)
        if result:
            return result
    return (len(a) > len(b)) - (len(a) < len(b))


def _name(item: tuple[str, Value]) -> str:
    return item[0]
