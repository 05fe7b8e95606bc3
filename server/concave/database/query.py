"""The query builder: `ctx.db.query("messages").with_index("by_channelId", channelId=id).order("desc").take(50)`.

A builder is used once: each step returns the next builder, and using an earlier one again is an error (data-model.md
6.1). The sequence is: table, then at most one of `with_index` and `full_table_scan`, then `order` at most once and
filters in any order, then one consumer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NoReturn

from concave.database.calls import CallTracker, DatabaseCall
from concave.database.filters import FilterBuilder, build_filter
from concave.database.pagination import paginate
from concave.database.ranges import WHOLE_INDEX, IndexRangeBuilder, KeyRange, built_range, equality_range
from concave.database.rows import Predicate, RangeSource, RowIterator, RowRule, read_rows
from concave.database.transaction import Transaction
from concave.schema.definition import DELETED_AT
from concave.schema.plan import IndexLayout
from concave.storage.store import Order
from concave.values.errors import DeveloperError, invalid_argument
from concave.values.types import Document, Value

FULL_SCAN_INDEX = "by_creation_time"


class _Plan:
    """What the steps so far have asked for; handed from builder to builder."""

    __slots__ = (
        "bounds",
        "calls",
        "filters_json",
        "full_table_scan",
        "hide_deleted",
        "index",
        "order",
        "predicates",
        "rule",
        "table",
        "tx",
    )

    def __init__(
        self, tx: Transaction, calls: CallTracker, table: str, hide_deleted: bool, rule: RowRule | None
    ) -> None:
        self.tx = tx
        self.calls = calls
        self.table = table
        self.hide_deleted = hide_deleted
        self.rule = rule
        self.index: IndexLayout | None = None
        self.bounds: KeyRange = WHOLE_INDEX
        self.full_table_scan = False
        self.order: Order | None = None
        self.predicates: list[Predicate] = []
        self.filters_json: list[object] = []

    def source(self) -> RangeSource:
        """Raises `DeveloperError` (`IndexRequired`) where the app demands that reads name an index."""
        index = self.index
        if index is None:
            if self.tx.require_index and not self.full_table_scan and self.table[0] != "_":
                self._refuse_scan()
            index = self.tx.catalog.layout(self.table).indexes[FULL_SCAN_INDEX]
        predicates = [_is_live, *self.predicates] if self.hide_deleted else self.predicates
        predicate = None if not predicates else predicates[0] if len(predicates) == 1 else _conjunction(predicates)
        return RangeSource(
            self.table, index, self.bounds, self.order or "asc", predicate, bool(self.predicates), self.rule
        )

    def _refuse_scan(self) -> NoReturn:
        names = ", ".join(name for name in self.tx.catalog.layout(self.table).indexes if name != "by_id")
        raise DeveloperError(
            "IndexRequired",
            f"the query on table {self.table!r} names no index, and this app requires one (require_index): add "
            f".with_index(name, field=value), where the indexes are {names}; or say .full_table_scan()",
        )


class Query:
    """A query being built. All methods but the consumers return the next builder. Consumers must be awaited."""

    __slots__ = ("_plan", "_used")

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._used = False

    # Sources.

    def with_index(
        self,
        name: str,
        build: Callable[[IndexRangeBuilder], IndexRangeBuilder] | None = None,
        /,
        **fields: Value,
    ) -> Query:
        """Read a range of an index: `with_index("by_a", a=1)`, or `with_index("by_a", lambda q: q.gt("a", 1))`.

        Without a range, all of the index, in its order. Raises `DeveloperError`: `IndexNotFoundError`,
        `FieldNotInIndex`, `InvalidIndexRange`, `AlreadyDefinedBound`, `BoundsOnMultipleFields`.
        """
        plan = self._use_source("with_index")
        table = plan.table
        index = plan.tx.catalog.index(table, name)
        plan.index = index
        if build is not None:
            plan.bounds = built_range(table, index, build, fields)
        elif fields:
            plan.bounds = equality_range(table, index, fields)
        return Query(plan)

    def full_table_scan(self) -> Query:
        """Read the whole table in order of creation, and say so: needed where the app sets `require_index`."""
        plan = self._use_source("full_table_scan")
        plan.full_table_scan = True
        return Query(plan)

    def with_search_index(self, name: str, build: Callable[[Any], Any]) -> Query:
        """Text search. Raises `DeveloperError` (`SearchUnavailable`)."""
        raise DeveloperError(
            "SearchUnavailable",
            f"text search is not served by this version: {self._plan.table}.{name} cannot be queried; "
            "use with_index, or filter what it returns",
        )

    # Steps.

    def order(self, order: Order) -> Query:
        """`"asc"` (the default) or `"desc"`: the order of the index's key, tie-breakers included. At most once."""
        plan = self._use("order")
        if order not in ("asc", "desc"):
            raise invalid_argument("order", "order", f"it is 'asc' or 'desc', not {order!r}")
        if plan.order is not None:
            raise DeveloperError("InvalidQuery", f"the query on {plan.table!r} calls order twice: say it once")
        plan.order = order
        return Query(plan)

    def filter(self, build: Callable[[FilterBuilder], Value]) -> Query:
        """Keep the documents for which `build(q)` is true. All scanned documents count as read: prefer an index."""
        plan = self._use("filter")
        operators_max = plan.tx.limits.query_operators_max
        if len(plan.predicates) >= operators_max:
            raise DeveloperError(
                "TooManyOperators",
                f"the query on {plan.table!r} has more than {operators_max} operators: combine them with q.and_(...)",
            )
        json, predicate = build_filter(build)
        plan.filters_json.append(json)
        plan.predicates.append(predicate)
        return Query(plan)

    def include_deleted(self) -> Query:
        """Also return documents that were deleted softly. Only a table with soft deletes hides any."""
        plan = self._use("include_deleted")
        plan.hide_deleted = False
        return Query(plan)

    # Consumers.

    def collect(self) -> DatabaseCall[list[Document]]:
        """All documents. Depends on the whole range."""
        plan = self._use("collect")
        return DatabaseCall(plan.calls, "query.collect", _collect, (plan,))

    def take(self, count: float) -> DatabaseCall[list[Document]]:
        """The first `count` documents: 0 or more, an integral float will do. Depends on the range up to the last."""
        plan = self._use("take")
        return DatabaseCall(plan.calls, "query.take", _take, (plan, count))

    def first(self) -> DatabaseCall[Document | None]:
        """The first document, or None."""
        plan = self._use("first")
        return DatabaseCall(plan.calls, "query.first", _first, (plan,))

    def unique(self) -> DatabaseCall[Document | None]:
        """The only document, or None. Raises `DeveloperError` (`NonUniqueResult`) if there are several."""
        plan = self._use("unique")
        return DatabaseCall(plan.calls, "query.unique", _unique, (plan,))

    def count(self) -> DatabaseCall[int]:
        """How many documents there are. A whole table is counted without reading it, unless it has a read policy; a
        range or a filter reads it."""
        plan = self._use("count")
        return DatabaseCall(plan.calls, "query.count", _count, (plan,))

    def paginate(self, pagination_opts: Mapping[str, Value]) -> DatabaseCall[dict[str, Value]]:
        """One page. Takes and returns the wire's dicts; see `pagination.paginate`."""
        plan = self._use("paginate")
        return DatabaseCall(plan.calls, "query.paginate", _paginate, (plan, pagination_opts))

    def __aiter__(self) -> AsyncIterator[Document]:
        plan = self._use("async for")
        return RowIterator(plan.tx, plan.calls, plan.source())

    def __await__(self) -> NoReturn:
        raise DeveloperError(
            "InvalidQuery",
            f"the query on {self._plan.table!r} cannot be awaited itself: end it with .collect(), .take(n), .first(), "
            ".unique(), .count() or .paginate(opts), or loop over it with async for",
        )

    # Rules.

    def _use(self, step: str) -> _Plan:
        if self._used:
            raise DeveloperError(
                "QueryUsedTwice",
                f"this query on {self._plan.table!r} was used already when {step} was called: a query is good for one "
                "use; chain the calls, or build a new one with db.query(...)",
            )
        self._used = True
        return self._plan

    def _use_source(self, step: str) -> _Plan:
        plan = self._use(step)
        if plan.index is not None or plan.full_table_scan:
            raise DeveloperError(
                "InvalidQuery", f"the query on {plan.table!r} chooses its index twice: {step} can be called once"
            )
        if plan.order is not None or plan.predicates:
            raise DeveloperError(
                "InvalidQuery", f"{step} must come directly after db.query({plan.table!r}), before order and filter"
            )
        return plan


def new_query(tx: Transaction, calls: CallTracker, table: str, rule: RowRule | None = None) -> Query:
    """A query over a table that the catalog knows, of the rows that `rule` lets through."""
    definition = tx.catalog.schema.tables.get(table)
    return Query(_Plan(tx, calls, table, definition is not None and definition.has_soft_deletes, rule))


async def _collect(plan: _Plan) -> list[Document]:
    return await read_rows(plan.tx, plan.source(), None)


async def _take(plan: _Plan, count: float) -> list[Document]:
    if isinstance(count, bool) or not isinstance(count, int | float) or count != count // 1 or count < 0:
        raise invalid_argument("n", "query.take", f"it must be a whole number, 0 or more, not {count!r}")
    return await read_rows(plan.tx, plan.source(), int(count))


async def _first(plan: _Plan) -> Document | None:
    rows = await read_rows(plan.tx, plan.source(), 1)
    return rows[0] if rows else None


async def _unique(plan: _Plan) -> Document | None:
    rows = await read_rows(plan.tx, plan.source(), 2)
    if len(rows) > 1:
        raise DeveloperError(
            "NonUniqueResult",
            f"unique() query returned more than one result from table {plan.table}:\n"
            f" [{rows[0]['_id']}, {rows[1]['_id']}, ...]",
        )
    return rows[0] if rows else None


async def _count(plan: _Plan) -> int:
    source = plan.source()
    if plan.bounds is WHOLE_INDEX and source.takes_all:
        return await plan.tx.count(plan.table)
    return len(await read_rows(plan.tx, source, None))


async def _paginate(plan: _Plan, options: Mapping[str, Value]) -> dict[str, Value]:
    return await paginate(plan.tx, plan.calls, plan.source(), plan.filters_json, options)


def _conjunction(predicates: list[Predicate]) -> Predicate:
    return lambda document: all(predicate(document) for predicate in predicates)


def _is_live(document: Document) -> bool:
    return DELETED_AT not in document
