"""The total order in examples (data-model.md 2, 10.9, 10.10); test_value_properties.py has the rest."""

import math
import struct

import pytest

from concave.values import keys
from concave.values.order import compare, values_equal
from concave.values.types import UNSET, Int64

NEGATIVE_NAN = struct.unpack(">d", bytes.fromhex("fff8000000000000"))[0]
NAN_ABOVE = struct.unpack(">d", bytes.fromhex("7ff8000000000001"))[0]

ASCENDING = [
    UNSET,
    None,
    Int64(-(2**63)),
    Int64(-129),
    Int64(-1),
    Int64(0),
    Int64(1),
    Int64(255),
    Int64(999),
    Int64(2**63 - 1),
    NEGATIVE_NAN,
    -math.inf,
    -1.5,
    -0.0,
    0.0,
    1.0,
    math.inf,
    math.nan,
    NAN_ABOVE,
    False,
    True,
    "",
    "\0",
    "a",
    "a\0",
    "aa",
    "\ufffd",
    "\U00010000",
    b"",
    b"\0\0",
    b"\1",
    [],
    [None],
    [None, None],
    [Int64(1)],
    [[]],
    {},
    {"": None},
    {"a": Int64(1)},
    {"a": Int64(1), "b": Int64(0)},
    {"a": Int64(2)},
    {"b": Int64(0)},
]


@pytest.mark.parametrize("position", range(len(ASCENDING)))
def test_a_value_is_below_all_that_follow_it(position):
    a = ASCENDING[position]
    for b in ASCENDING[position + 1 :]:
        assert compare(a, b) == -1
        assert compare(b, a) == 1
        assert not values_equal(a, b)
        assert keys.encode_value(a) < keys.encode_value(b)


@pytest.mark.parametrize("value", ASCENDING)
def test_every_value_equals_itself(value):
    assert compare(value, value) == 0
    assert values_equal(value, value)


def test_the_order_of_fields_does_not_matter():
    assert compare({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0}) == 0
    assert values_equal({"a": 1.0, "b": 2.0}, {"b": 2.0, "a": 1.0})
    assert not values_equal({"a": None}, {"b": None})


def test_a_plain_integer_is_a_float():
    assert values_equal(1, 1.0)
    assert compare(1, Int64(1)) == 1


def test_what_is_no_value_cannot_be_compared():
    with pytest.raises(TypeError, match="set is no Convex value; normalize it first"):
        compare({1}, 1.0)
