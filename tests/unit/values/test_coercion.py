"""What user code may hand in, and what it is told about the rest (data-model.md 1.2)."""

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import types

import pytest

from concave.values.codec import encode_json, normalize
from concave.values.errors import DeveloperError
from concave.values.types import UNSET, Int64


class Colour(str, enum.Enum):  # noqa: UP042 - the form whose str() is not its value
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Ratio(float):
    __slots__ = ()


@dataclasses.dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (17, 17.0),
        (True, True),
        (2**53, 2.0**53),
        (-(2**53), -(2.0**53)),
        (Int64(5), Int64(5)),
        ((1, "a"), [1.0, "a"]),
        (range(2), [0.0, 1.0]),
        (collections.deque([1]), [1.0]),
        (bytearray(b"x"), b"x"),
        (memoryview(b"x"), b"x"),
        (types.MappingProxyType({"a": 1}), {"a": 1.0}),
        (collections.OrderedDict(b=1, a=2), {"b": 1.0, "a": 2.0}),
        (Colour.RED, "red"),
        (Level.HIGH, 3.0),
        ({Name("k"): Name("v"), "r": Ratio(0.5)}, {"k": "v", "r": 0.5}),
        ({"a": UNSET, "b": [{"c": UNSET}]}, {"b": [{}]}),
        (UNSET, None),
    ],
)
def test_what_becomes_a_value(given, expected):
    result = normalize(given)
    assert result == expected
    assert exact_types(result) == exact_types(expected)


def exact_types(value):
    if type(value) is dict:
        return {(type(name), name): exact_types(item) for name, item in value.items()}
    if type(value) is list:
        return [exact_types(item) for item in value]
    return type(value)


def test_string_enumerations_as_keys_become_strings_even_where_the_name_is_known():
    for _ in range(2):
        result = normalize({Colour.RED: 1.0, "plain": {Name("red"): 2.0}})
        assert exact_types(result) == exact_types({"red": 1.0, "plain": {"red": 2.0}})
    assert encode_json(result) == b'{"plain":{"red":2.0},"red":1.0}'


def test_only_what_changes_is_copied():
    same = {"x": [1.0, "a", None, b""], "i": Int64(1)}
    value = {"same": same, "count": 3}
    result = normalize(value)
    assert normalize(same) is same
    assert result == {"same": same, "count": 3.0}
    assert result["same"] is same
    assert value["count"] == 3
    assert type(value["count"]) is int


async def never():
    return 1


def test_a_forgotten_await_is_named():
    pending = never()
    with pytest.raises(DeveloperError, match=r"Result at path \.a: a coroutine that was never awaited"):
        normalize({"a": pending}, where="Result")
    pending.close()


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        (
            {"a": [1, 2**53 + 1]},
            "InvalidValue",
            "Value at path .a[1]: the integer 9007199254740993 cannot be a Float64",
        ),
        (2**53 + 1, "InvalidValue", "Pass concave.Int64(...)"),
        (2**64, "InvalidValue", "It fits no Int64 either"),
        ({"s": {1}}, "InvalidValue", "path .s: set is no Convex value. Arrays are ordered: pass `sorted(...)`"),
        (datetime.datetime(2026, 1, 1), "InvalidValue", "`.timestamp() * 1000`"),
        (datetime.date(2026, 1, 1), "InvalidValue", "`.isoformat()`"),
        (decimal.Decimal("1.1"), "InvalidValue", "`str(...)` to keep it exact"),
        (Point(1), "InvalidValue", "dataclasses.asdict"),
        ((x for x in "ab"), "InvalidValue", "Collect its items in a list"),
        (object(), "InvalidValue", "object is no Convex value. Use None, bool, float"),
        ([UNSET], "InvalidValue", "path [0]: UNSET cannot stand in an array"),
        ({"a": "\ud800"}, "InvalidValue", "path .a: the string has a lone surrogate"),
        ({"a": {1: "x"}}, "InvalidFieldName", "path .a: the field name 1 is of type int, not a string"),
        ({"a": {"$x": "x"}}, "InvalidFieldName", "path .a: field name '$x' starts with `$`, which is reserved. Rename"),
        ({"é": "x"}, "InvalidFieldName", "Value: field name 'é' has characters other than printable ASCII"),
        ([None] * 8193, "ArrayTooLong", "the array has 8193 elements, the most is 8192"),
        ({f"f{i}": 1.0 for i in range(1025)}, "TooManyFieldsError", "the object has 1025 fields, the most is 1024"),
    ],
)
def test_refusals_say_where_what_and_how_to_mend_it(given, code, message):
    with pytest.raises(DeveloperError) as caught:
        normalize(given)
    assert caught.value.code == code
    assert message in str(caught.value)


def test_nesting_is_limited_and_cycles_end():
    value = 1.0
    for _ in range(64):
        value = [value]
    assert normalize(value) is value
    with pytest.raises(DeveloperError) as caught:
        normalize([value])
    assert caught.value.code == "TooNestedError"
    cycle = {}
    cycle["self"] = cycle
    with pytest.raises(DeveloperError) as caught:
        normalize(cycle)
    assert caught.value.code == "TooNestedError"


def test_an_integer_too_long_to_print_is_told_by_its_bits():
    with pytest.raises(DeveloperError, match="the integer of 16610 bits cannot be a Float64"):
        normalize(10**5000)


def test_special_floats_stay():
    assert math.isnan(normalize(math.nan))
    assert math.copysign(1.0, normalize(-0.0)) == -1.0
