"""Index ranges: errors, and bounds against the order of values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concave.database.ranges import IndexRangeBuilder, built_range, equality_range
from concave.schema.plan import ColumnPlan, IndexLayout
from concave.values.errors import DeveloperError
from concave.values.keys import key_bytes
from concave.values.order import compare
from concave.values.types import UNSET, Int64


def layout(*paths: str, admitted: frozenset[str] = frozenset()) -> IndexLayout:
    columns = tuple(ColumnPlan(path, True, path, admitted) for path in (*paths, "_creationTime", "_id"))
    return IndexLayout("by_" + "_".join(paths), columns)


AB = layout("a", "b")

SCALARS = st.one_of(
    st.just(UNSET),
    st.none(),
    st.integers(-3, 3).map(Int64),
    st.sampled_from([-1.5, 0.0, 1.0, 2.0, float("inf"), float("nan")]),
    st.booleans(),
    st.sampled_from(["", "x", "x\0y", "y", "\uffff", "\U00010000"]),
    st.sampled_from([b"", b"\x00", b"\x01"]),
    st.lists(st.sampled_from([1.0, "x"]), max_size=2),
)


def document(a: Any, b: Any) -> dict[str, Any]:
    fields = {"_id": "id", "_creationTime": 1.0, "a": a, "b": b}
    return {name: value for name, value in fields.items() if value is not UNSET}


def order(left: Any, right: Any) -> int:
    """The order of columns: as values, but NaN is below all other floats."""
    a_nan, b_nan = left != left, right != right
    if type(left) is float and type(right) is float and (a_nan or b_nan):
        return b_nan - a_nan
    return compare(left, right)


TESTS: dict[str, Any] = {
    "gt": lambda c: c > 0,
    "gte": lambda c: c >= 0,
    "lt": lambda c: c < 0,
    "lte": lambda c: c <= 0,
}


@given(st.lists(st.tuples(SCALARS, SCALARS), max_size=12), SCALARS, SCALARS, SCALARS, st.data())
def test_a_range_holds_exactly_the_keys_that_pass(
    rows: list[tuple[Any, Any]], equal: Any, below: Any, above: Any, data: st.DataObject
) -> None:
    lower = data.draw(st.sampled_from([None, "gt", "gte"]))
    upper = data.draw(st.sampled_from([None, "lt", "lte"]))
    builder = IndexRangeBuilder("t", AB).eq("a", equal)
    if lower:
        getattr(builder, lower)("b", below)
    if upper:
        getattr(builder, upper)("b", above)
    bounds = builder.build()
    assert bounds.depth == 1
    for a, b in rows:
        key = key_bytes(AB.key(document(a, b)))
        wanted = order(a, equal) == 0
        wanted = wanted and (lower is None or TESTS[lower](order(b, below)))
        wanted = wanted and (upper is None or TESTS[upper](order(b, above)))
        assert (bounds.low <= key < bounds.high) == wanted, (a, b)
        assert not (bounds.low <= key < bounds.high) or key.startswith(bounds.prefix)


def test_calls_in_any_order_and_keywords_make_the_same_range() -> None:
    one = equality_range("t", AB, {"b": 2, "a": "x"})
    other = built_range("t", AB, lambda q: q.eq("b", 2.0).eq("a", "x"), {})
    assert one == other == built_range("t", AB, lambda q: q.eq("b", 2), {"a": "x"})
    assert one.depth == 2


def test_a_range_may_go_on_into_the_implicit_columns() -> None:
    bounds = built_range("t", AB, lambda q: q.eq("a", 1).eq("b", 2).gte("_creationTime", 5), {})
    assert bounds.depth == 2
    assert built_range("t", AB, lambda q: q.eq("a", 1).eq("b", 2).eq("_creationTime", 5).eq("_id", "x"), {}).depth == 4


def test_contradictory_bounds_are_an_empty_range() -> None:
    bounds = built_range("t", AB, lambda q: q.gt("a", 5).lt("a", 1), {})
    assert bounds.low >= bounds.high


def test_plain_ints_follow_the_column() -> None:
    int64 = layout("a", admitted=frozenset(("int64", "undefined")))
    assert equality_range("t", int64, {"a": 5}) == equality_range("t", int64, {"a": Int64(5)})
    assert equality_range("t", AB, {"a": 5}) == equality_range("t", AB, {"a": 5.0})


@pytest.mark.parametrize(
    ("build", "code", "says"),
    [
        (lambda q: q.eq("c", 1), "FieldNotInIndex", "its fields are [a, b, _creationTime, _id]"),
        (lambda q: q.eq(3, 1), "FieldNotInIndex", "has no field 3"),
        (lambda q: q.eq("b", 1), "InvalidIndexRange", "t.by_a_b names [b]"),
        (lambda q: q.eq("a", 1).gt("_creationTime", 1), "InvalidIndexRange", "fix the first fields with eq"),
        (lambda q: q.gt("b", 1), "InvalidIndexRange", "not a prefix"),
        (lambda q: q.eq("a", 1).eq("a", 2), "AlreadyDefinedBound", "`a` with eq"),
        (lambda q: q.eq("a", 1).gt("a", 2), "AlreadyDefinedBound", "say it once"),
        (lambda q: q.gt("a", 1).gte("a", 2), "AlreadyDefinedBound", "two lower bounds on `a`"),
        (lambda q: q.lt("a", 1).lte("a", 2), "AlreadyDefinedBound", "two upper bounds on `a`"),
        (lambda q: q.gt("a", 1).lt("b", 2), "BoundsOnMultipleFields", "`a` and `b`"),
        (lambda q: q.gt("a", 1).gt("b", 2), "BoundsOnMultipleFields", "`a` and `b`"),
        (lambda q: None, "InvalidIndexRange", "must return what it was given"),
        (lambda q: q.eq("a", object()), "InvalidValue", "`a`"),
    ],
)
def test_errors(build: Any, code: str, says: str) -> None:
    with pytest.raises(DeveloperError) as caught:
        built_range("t", AB, build, {})
    assert caught.value.code == code
    assert says in str(caught.value)
