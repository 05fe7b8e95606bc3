"""Index ranges: what a function says about an index, turned into key bounds (data-model.md 6.1, 2.1).

A range is equality on the first columns, then at most one column with a lower and an upper bound. Bounds cross types:
`lt("age", 18)` finds documents without `age`, with null, and with any Int64. Columns may go on into the implicit
`_creationTime` and `_id`. The order of the calls does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from concave.schema.plan import ColumnPlan, IndexLayout
from concave.values.codec import normalize
from concave.values.errors import DeveloperError
from concave.values.keys import PREFIX_END, encode_column
from concave.values.types import UNSET, Int64, Value


class KeyRange(NamedTuple):
    """Key bounds [low, high) within one equality prefix of `depth` encoded columns."""

    prefix: bytes
    depth: int
    low: bytes
    high: bytes


WHOLE_INDEX = KeyRange(b"", 0, b"", PREFIX_END)


class IndexRangeBuilder:
    """The `q` of `with_index(name, lambda q: q.eq("channelId", id).gt("_creationTime", time))`. Methods return `q`."""

    __slots__ = ("_equal", "_index", "_lower", "_table", "_upper")

    def __init__(self, table: str, index: IndexLayout) -> None:
        self._table = table
        self._index = index
        self._equal: dict[str, Value] = {}
        self._lower: tuple[str, str, Value] | None = None
        self._upper: tuple[str, str, Value] | None = None

    def eq(self, field: str, value: Value) -> IndexRangeBuilder:
        """The column equals `value`; `UNSET` finds documents without the field. Raises `DeveloperError`."""
        column = self._column(field)
        if column.path in self._equal:
            raise self._twice(column.path)
        self._equal[column.path] = self._value(column, value)
        return self

    def gt(self, field: str, value: Value) -> IndexRangeBuilder:
        """The column is above `value`, of whatever type."""
        return self._bound_below("gt", field, value)

    def gte(self, field: str, value: Value) -> IndexRangeBuilder:
        """The column is `value` or above it."""
        return self._bound_below("gte", field, value)

    def lt(self, field: str, value: Value) -> IndexRangeBuilder:
        """The column is below `value`, of whatever type: missing fields and null included."""
        return self._bound_above("lt", field, value)

    def lte(self, field: str, value: Value) -> IndexRangeBuilder:
        """The column is `value` or below it."""
        return self._bound_above("lte", field, value)

    def build(self) -> KeyRange:
        """The key bounds. Raises `DeveloperError` when the fields are no prefix of the index's columns."""
        equal, lower, upper = self._equal, self._lower, self._upper
        columns = self._index.columns
        depth = len(equal)
        parts = []
        for column in columns[:depth]:
            if column.path not in equal:
                raise self._no_prefix()
            parts.append(encode_column(equal[column.path]))
        prefix = b"".join(parts)
        bounded = lower or upper
        if bounded is None:
            return KeyRange(prefix, depth, prefix, prefix + PREFIX_END)
        if lower is not None and upper is not None and lower[1] != upper[1]:
            raise DeveloperError(
                "BoundsOnMultipleFields",
                f"the range over {self._where()} bounds two fields, `{lower[1]}` and `{upper[1]}`; only the first "
                "field after those fixed with eq can be bounded: filter on the other",
            )
        if bounded[1] in equal:
            raise self._twice(bounded[1])
        if depth >= len(columns) or columns[depth].path != bounded[1]:
            raise self._no_prefix()
        low, high = prefix, prefix + PREFIX_END
        if lower is not None:
            low = prefix + encode_column(lower[2]) + (PREFIX_END if lower[0] == "gt" else b"")
        if upper is not None:
            high = prefix + encode_column(upper[2]) + (PREFIX_END if upper[0] == "lte" else b"")
        # Contradictory bounds make an empty range, which is fine; it must not be an inverted one.
        return KeyRange(prefix, depth, low, max(low, high))

    def _bound_below(self, operator: str, field: str, value: Value) -> IndexRangeBuilder:
        column = self._column(field)
        if self._lower is not None:
            raise self._bound_twice("lower", self._lower[1], column.path)
        self._lower = (operator, column.path, self._value(column, value))
        return self

    def _bound_above(self, operator: str, field: str, value: Value) -> IndexRangeBuilder:
        column = self._column(field)
        if self._upper is not None:
            raise self._bound_twice("upper", self._upper[1], column.path)
        self._upper = (operator, column.path, self._value(column, value))
        return self

    def _column(self, field: str) -> ColumnPlan:
        path = field.strip(".") if isinstance(field, str) else field
        for column in self._index.columns:
            if column.path == path:
                return column
        raise DeveloperError(
            "FieldNotInIndex",
            f"the index {self._where()} has no field {field!r}; its fields are {self._fields()}: "
            "use one of them, or another index",
        )

    def _value(self, column: ColumnPlan, value: Value) -> Value:
        if value is UNSET:
            return value
        if type(value) is int and "int64" in column.admitted and "float64" not in column.admitted:
            return Int64(value)
        return normalize(value, where=f"the value for `{column.path}`")

    def _no_prefix(self) -> DeveloperError:
        named = [*self._equal, *dict.fromkeys(bound[1] for bound in (self._lower, self._upper) if bound)]
        return DeveloperError(
            "InvalidIndexRange",
            f"the range over {self._where()} names {_list(named)}, which is not a prefix of the index's fields "
            f"{self._fields()}: fix the first fields with eq, in any order, then bound at most the next one; "
            "or declare an index that begins with the fields you name",
        )

    def _twice(self, field: str) -> DeveloperError:
        return DeveloperError(
            "AlreadyDefinedBound",
            f"the range over {self._where()} fixes `{field}` with eq and names it again: say it once",
        )

    def _bound_twice(self, which: str, first: str, second: str) -> DeveloperError:
        if first != second:
            return DeveloperError(
                "BoundsOnMultipleFields",
                f"the range over {self._where()} bounds two fields, `{first}` and `{second}`; only the first "
                "field after those fixed with eq can be bounded: filter on the other",
            )
        return DeveloperError(
            "AlreadyDefinedBound",
            f"the range over {self._where()} has two {which} bounds on `{first}`: keep the tighter one",
        )

    def _where(self) -> str:
        return f"{self._table}.{self._index.name}"

    def _fields(self) -> str:
        return _list([column.path for column in self._index.columns])


def equality_range(table: str, index: IndexLayout, fields: dict[str, Value]) -> KeyRange:
    """The range of `with_index(name, field=value, ...)`. Raises as `IndexRangeBuilder` does."""
    builder = IndexRangeBuilder(table, index)
    for field, value in fields.items():
        builder.eq(field, value)
    return builder.build()


def built_range(
    table: str, index: IndexLayout, build: Callable[[IndexRangeBuilder], IndexRangeBuilder], fields: dict[str, Value]
) -> KeyRange:
    """The range of `with_index(name, lambda q: ..., field=value, ...)`; the keywords are further equalities."""
    builder = IndexRangeBuilder(table, index)
    for field, value in fields.items():
        builder.eq(field, value)
    if build(builder) is not builder:
        raise DeveloperError(
            "InvalidIndexRange",
            f"the range function of {table}.{index.name} must return what it was given, as in "
            "`lambda q: q.eq(field, value)`; filters belong in .filter(...)",
        )
    return builder.build()


def _list(names: list[str]) -> str:
    return "[" + ", ".join(names) + "]"
