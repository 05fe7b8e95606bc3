"""Filter expressions: the order across types, checked arithmetic, short circuits, wire forms (data-model.md 6.2)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from concave.database.filters import FilterBuilder, build_filter
from concave.values.errors import DeveloperError
from concave.values.types import INT64_MAX, INT64_MIN, UNSET, Int64

q = FilterBuilder()


def value(expression: Any, **document: Any) -> Any:
    return expression.evaluate(document)


def test_fields_walk_objects_only() -> None:
    assert value(q.field("a"), a=1.0) == 1.0
    assert value(q.field("a.b"), a={"b": "x"}) == "x"
    assert value(q.field(".a."), a=1.0) == 1.0
    for document in ({}, {"a": 1.0}, {"a": [{"b": 1.0}]}, {"a": {"c": 1.0}}, {"a": None}):
        assert value(q.field("a.b"), **document) is UNSET


@pytest.mark.parametrize("path", ["", "a..b", "a b", "$a", 3, None])
def test_what_is_no_path_is_refused(path: Any) -> None:
    with pytest.raises(DeveloperError) as caught:
        q.field(path)
    assert caught.value.code == "InvalidFieldPath"


ASCENDING: list[Any] = [
    UNSET, None, Int64(-5), Int64(999), -math.inf, -1.5, -0.0, 0.0, math.nan, False, True,
    "", "a", "\ufffd", "\U00010000", b"", b"\x00\x00", b"\x01", [], [1.0], {}, {"a": 1.0},
]  # fmt: skip


def test_comparisons_use_the_total_order() -> None:
    for i, low in enumerate(ASCENDING):
        for j, high in enumerate(ASCENDING):
            got = [value(op(low, high)) for op in (q.lt, q.lte, q.eq, q.neq, q.gte, q.gt)]
            assert got == [i < j, i <= j, i == j, i != j, i >= j, i > j], (low, high)


def test_a_missing_field_compares() -> None:
    assert value(q.eq(q.field("a"), UNSET)) is True
    assert value(q.lt(q.field("a"), None)) is True
    assert value(q.lt(q.field("age"), 18)) is True


def test_int64_arithmetic_is_checked() -> None:
    assert value(q.add(Int64(1), Int64(2))) == Int64(3)
    assert type(value(q.mul(Int64(2), Int64(3)))) is Int64
    assert value(q.div(Int64(-7), Int64(2))) == Int64(-3)
    assert value(q.mod(Int64(-7), Int64(3))) == Int64(-1)
    assert value(q.mod(Int64(7), Int64(-3))) == Int64(1)
    assert value(q.neg(Int64(5))) == Int64(-5)
    for failing in (
        q.add(Int64(INT64_MAX), Int64(1)),
        q.sub(Int64(INT64_MIN), Int64(1)),
        q.mul(Int64(INT64_MAX), Int64(2)),
        q.div(Int64(INT64_MIN), Int64(-1)),
        q.div(Int64(1), Int64(0)),
        q.mod(Int64(1), Int64(0)),
        q.neg(Int64(INT64_MIN)),
    ):
        with pytest.raises(DeveloperError) as caught:
            value(failing)
        assert caught.value.code == "EvalError"


def test_float64_arithmetic_is_ieee() -> None:
    assert value(q.div(1, 0)) == math.inf
    assert value(q.div(-1, 0)) == -math.inf
    assert value(q.div(1, -0.0)) == -math.inf
    assert math.isnan(value(q.div(0, 0)))
    assert value(q.mod(-7, 3)) == -1.0
    assert value(q.mod(7, -3)) == 1.0
    assert value(q.mod(5, math.inf)) == 5.0
    assert math.isnan(value(q.mod(math.inf, 2)))
    assert math.isnan(value(q.mod(1, 0)))
    assert value(q.mul(1e308, 10)) == math.inf
    assert math.copysign(1, value(q.neg(0))) == -1


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        (q.add(Int64(1), 1.0), '1 (Int64) and 1.0 (Float64)'),
        (q.add("a", "b"), '"a" (String)'),
        (q.add(q.field("missing"), 1), "a missing field"),
        (q.neg("a"), '"a" (String)'),
        (q.neg(True), "true (Boolean)"),
        (q.not_(1), "1.0 (Float64)"),
        (q.and_(True, None), "null (Null)"),
        (q.or_(False, "x"), '"x" (String)'),
    ],
)  # fmt: skip
def test_wrong_types_are_named(expression: Any, says: str) -> None:
    with pytest.raises(DeveloperError) as caught:
        value(expression)
    assert caught.value.code == "EvalError"
    assert says in str(caught.value)


def test_connectives_short_circuit() -> None:
    assert value(q.and_()) is True
    assert value(q.or_()) is False
    assert value(q.and_(False, 1)) is False
    assert value(q.or_(True, 1)) is True
    assert value(q.not_(q.eq(1, 2))) is True


def test_wire_form() -> None:
    json, _ = build_filter(lambda q: q.and_(q.eq(q.field("a.b"), 1), q.not_(q.lt(UNSET, Int64(1)))))
    assert json == {
        "$and": [
            {"$eq": [{"$field": "a.b"}, {"$literal": 1.0}]},
            {"$not": {"$lt": [{"$literal": {"$undefined": None}}, {"$literal": {"$integer": "AQAAAAAAAAA="}}]}},
        ]
    }


def test_the_result_must_be_a_boolean() -> None:
    _, predicate = build_filter(lambda q: q.field("a"))
    assert predicate({"a": True}) is True
    with pytest.raises(DeveloperError, match="filter takes Booleans"):
        predicate({"a": 1.0})


def test_python_operators_on_expressions_are_refused() -> None:
    for build in (lambda q: q.field("a") == 1, lambda q: q.field("a") != 1, lambda q: q.field("a") and True, 5):
        with pytest.raises(DeveloperError) as caught:
            build_filter(build)
        assert caught.value.code == "InvalidFilter"
