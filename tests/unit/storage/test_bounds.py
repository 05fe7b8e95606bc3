"""Byte bounds as `min` and `max`. That ranges come out right is proved against MongoDB in the conformance suite."""

from __future__ import annotations

import math
from typing import Any

import pytest
from bson.max_key import MaxKey
from bson.min_key import MinKey

from concave.schema.definition import define_table
from concave.schema.plan import IndexLayout, compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import Validator, v
from concave.storage.bounds import BoundsCompiler
from concave.values.keys import PREFIX_END, encode_column, successor
from concave.values.types import UNSET, Int64

MIN, MAX = MinKey(), MaxKey()


def index(column: Validator) -> IndexLayout:
    plan = compile_plan(Schema({"t": define_table(a=column).index("by_a", ["a"])}))
    return plan.tables["t"].layout.indexes["by_a"]


def test_the_whole_index_has_no_bounds() -> None:
    assert BoundsCompiler(index(v.string())).range(b"", PREFIX_END) == (None, None)


def test_an_equality_covers_every_rest() -> None:
    key = encode_column("x")
    found = BoundsCompiler(index(v.string())).range(key, key + PREFIX_END)
    assert found is not None
    assert found.min == {"a": "x", "_creationTime": MIN, "_id": MIN}
    assert found.max == {"a": "x", "_creationTime": MAX, "_id": MAX}


def test_the_successor_of_a_key_is_the_next_id() -> None:
    key = encode_column("x") + encode_column(1.0) + encode_column("id")
    found = BoundsCompiler(index(v.string())).range(successor(key), PREFIX_END)
    assert found is not None
    assert found.min == {"a": "x", "_creationTime": 1.0, "_id": "id\0"}


def test_encoded_columns_are_strings_of_bytes() -> None:
    found = BoundsCompiler(index(v.any())).range(encode_column(b"\xff\x00"), PREFIX_END)
    assert found is not None
    assert found.min == {"_k.a": "\x11\xff\x00\xff\x00", "_creationTime": MIN, "_id": MIN}


NUMBERS_AND_STRINGS = v.union(v.number(), v.string())


@pytest.mark.parametrize(
    ("column", "value", "boundary"),
    [
        (v.string(), UNSET, ""),
        (v.string(), None, ""),
        (v.string(), Int64(5), ""),
        (v.string(), True, ""),
        (v.string(), b"", MAX),
        (v.string(), [], MAX),
        (v.string(), {}, MAX),
        (v.boolean(), 1.0, False),
        (v.boolean(), "", MAX),
        (v.nullable(v.string()), UNSET, None),
        (v.optional(v.string()), None, ""),
        (v.null(), True, MAX),
        (v.int64(), 1.5, MAX),
        (NUMBERS_AND_STRINGS, False, ""),
    ],
)
def test_a_value_that_the_column_cannot_hold_becomes_the_next_type(
    column: Validator, value: Any, boundary: Any
) -> None:
    compiler = BoundsCompiler(index(column))
    for tail in (b"", PREFIX_END):
        bound = encode_column(value) + tail
        low, high = compiler.range(bound, PREFIX_END), compiler.range(b"", bound)
        if boundary is MAX:
            assert (low, high) == (None, (None, None))
        else:
            expected = {"a": boundary, "_creationTime": MIN, "_id": MIN}
            assert (low, high) == ((expected, None), (None, expected))


@pytest.mark.parametrize("column", [v.number(), v.int64()])
@pytest.mark.parametrize("value", [None, UNSET])
def test_below_all_numbers_is_nan(column: Validator, value: Any) -> None:
    found = BoundsCompiler(index(column)).range(encode_column(value), PREFIX_END)
    assert found is not None
    assert found.min is not None
    assert math.isnan(found.min["a"])


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (encode_column("b"), encode_column("a")),
        (encode_column("a"), encode_column("a")),
        (encode_column(1.0), encode_column(True)),  # both just below all strings
        (encode_column(b"a"), encode_column([])),  # both above them
    ],
)
def test_ranges_that_hold_nothing(low: bytes, high: bytes) -> None:
    assert BoundsCompiler(index(v.string())).range(low, high) is None


def test_zero_has_one_sign() -> None:
    bound = BoundsCompiler(index(v.number())).range(encode_column(-0.0), PREFIX_END)
    assert bound is not None
    assert repr(bound.min) == repr({"a": 0.0, "_creationTime": MIN, "_id": MIN})
