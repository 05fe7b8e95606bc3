"""`paginate`: one page of a query (data-model.md 6.4, sync-protocol.md 5).

A page is the range (cursor, end]. The end is `endCursor`, else the end that the query's previous run recorded in its
journal, else wherever `numItems` rows are reached. So a live page keeps its bounds when it is run again and may grow
or shrink, and neighbouring pages neither overlap nor leave a gap.

`isDone` says that the end of the query was seen: a page that fills up exactly at the last row says false, and the next
one is empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from concave.database.calls import CallTracker
from concave.database.cursors import END, InvalidCursorError, fingerprint, seal, unseal
from concave.database.ranges import KeyRange
from concave.database.rows import FIRST_BATCH_MAX, RangeSource, batch_size
from concave.database.transaction import Transaction
from concave.database.usage import size_bound
from concave.storage.store import Order
from concave.values.errors import DeveloperError, invalid_argument
from concave.values.keys import key_bytes, successor
from concave.values.sizes import size
from concave.values.types import Document, Value

_OPTIONS = frozenset({"numItems", "cursor", "endCursor", "maximumRowsRead", "maximumBytesRead", "id"})
_SPLIT_ROWS_MIN = 3
"""A page of fewer scanned rows cannot be split."""


@dataclass(slots=True, frozen=True)
class PageRequest:
    """The parsed options of one page. Maxima are infinite where not given."""

    items: int
    cursor: str | None
    end_cursor: str | None
    rows_max: float
    bytes_max: float


@dataclass(slots=True)
class _Scan:
    """The rows of one page as they were scanned; `found` are those that pass the filters.

    `bytes_scanned` stays 0 until `bytes_bound`, which is cheaper and never below it, says that it may matter.
    """

    found: list[Document]
    scanned: list[Document]
    bytes_bound: int = 0
    bytes_scanned: int = 0
    is_sized: bool = False
    reached_end: bool = False
    """The range was read to its end."""
    cut: bool = False
    """A limit on what may be read stopped the scan."""


async def paginate(
    tx: Transaction,
    calls: CallTracker,
    source: RangeSource,
    filters_json: Sequence[object],
    options: Mapping[str, Value],
) -> dict[str, Value]:
    """Read one page; `{"page", "isDone", "continueCursor", "splitCursor", "pageStatus"}`.

    Raises `DeveloperError`: `NoDocumentsForPagination`, `PageSizeTooLarge`, `InvalidPaginationLimit`,
    `MultiplePaginatedDatabaseQueries`, `InvalidArgument`; `InvalidCursorError`.
    """
    request = parse_options(options, tx.limits.page_items_max)
    if calls.paginated:
        raise DeveloperError(
            "MultiplePaginatedDatabaseQueries",
            "this function ran several paginated queries: a function can paginate once; "
            "use take or collect for the others, or move one to a function of its own",
        )
    calls.paginated = True
    query = fingerprint(source.table, source.index, source.bounds, source.order, filters_json)
    key = tx.cursor_key

    start = None if request.cursor is None else unseal(request.cursor, query, key)
    bounds = source.bounds
    if request.cursor is not None:
        bounds = _after(bounds, start, source.order)
    pinned = request.end_cursor
    if pinned is None and calls.journaled:
        pinned = tx.journal_in
    end = END if pinned is None else unseal(pinned, query, key)
    if pinned is not None and end is not END:
        bounds = _up_to(bounds, end, source.order)

    if calls.journaled:
        tx.journal_out = pinned  # a page that fails keeps its bounds, too
    scan = await _scan(tx, source, bounds, request, pinned=pinned is not None)

    if pinned is not None:
        position = end
    elif scan.reached_end:
        position = END
    else:
        position = _position(source, scan.scanned[-1])
    result = _result(tx, source, request, scan, is_done=position is END)
    result["continueCursor"] = pinned if pinned is not None else seal(position, query, key)
    split = _split_row(scan)
    result["splitCursor"] = None if split is None else seal(_position(source, split), query, key)
    if calls.journaled:
        tx.journal_out = str(result["continueCursor"])
    return result


def parse_options(options: Mapping[str, Value], items_max: int) -> PageRequest:
    """Check `paginationOpts`. Raises as `paginate` does."""
    if not isinstance(options, Mapping):
        raise invalid_argument("paginationOpts", "query.paginate", f"it must be an object, not {options!r}")
    for name in options:
        if name not in _OPTIONS:
            raise invalid_argument(
                "paginationOpts",
                "query.paginate",
                f"unknown option {name!r}; options are {', '.join(sorted(_OPTIONS))}",
            )
    items = _number(options, "numItems")
    if items is None:
        raise invalid_argument("paginationOpts", "query.paginate", "`numItems` is missing: how many rows a page has")
    if items < 1:
        raise DeveloperError("NoDocumentsForPagination", "a page must have at least one row: `numItems` is below 1")
    if items > items_max:
        raise DeveloperError(
            "PageSizeTooLarge", f"`numItems` is {items:.0f}, the most is {items_max}: ask for a smaller page"
        )
    return PageRequest(
        items=int(items),
        cursor=_cursor(options, "cursor"),
        end_cursor=_cursor(options, "endCursor"),
        rows_max=_maximum(options, "maximumRowsRead"),
        bytes_max=_maximum(options, "maximumBytesRead"),
    )


def _number(options: Mapping[str, Value], name: str) -> float | None:
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value % 1:
        raise invalid_argument("paginationOpts", "query.paginate", f"`{name}` must be a whole number, not {value!r}")
    return float(value)


def _maximum(options: Mapping[str, Value], name: str) -> float:
    value = _number(options, name)
    if value is None:
        return math.inf
    if value < 1:
        raise DeveloperError("InvalidPaginationLimit", f"`{name}` must be at least 1: a page reads at least one row")
    return value


def _cursor(options: Mapping[str, Value], name: str) -> str | None:
    value = options.get(name)
    if value is not None and type(value) is not str:
        raise invalid_argument("paginationOpts", "query.paginate", f"`{name}` must be a string or null, not {value!r}")
    return value


def _after(bounds: KeyRange, position: bytes | None, order: Order) -> KeyRange:
    """What lies behind a position, in the direction of reading."""
    if position is END:
        return bounds._replace(low=bounds.high)
    _check_within(bounds, position)
    return bounds._replace(low=successor(position)) if order == "asc" else bounds._replace(high=position)


def _up_to(bounds: KeyRange, position: bytes, order: Order) -> KeyRange:
    """What lies before a position and at it. Empty if the position lies before the range."""
    if order == "asc":
        return bounds._replace(high=min(bounds.high, successor(position)))
    return bounds._replace(low=max(bounds.low, position))


def _check_within(bounds: KeyRange, position: bytes) -> None:
    # Holds by the fingerprint, which covers the bounds; a position outside would read what the query may not.
    if not bounds.low <= position < bounds.high:
        raise InvalidCursorError


async def _scan(tx: Transaction, source: RangeSource, bounds: KeyRange, request: PageRequest, *, pinned: bool) -> _Scan:
    """Scan rows until the page is complete, the range ends or a limit cuts it; record what was scanned.

    A page with a known end knows no `numItems` and no maxima; the transaction's own limits cut it all the same.
    """
    scan = _Scan([], [])
    rows_max = float(tx.usage.documents_read_left)
    bytes_max = float(tx.usage.bytes_read_left)
    if not pinned:
        rows_max, bytes_max = min(rows_max, request.rows_max), min(bytes_max, request.bytes_max)
    wanted = math.inf if pinned else request.items
    bytes_watched = min(bytes_max, _split_bytes(tx, request))
    # A cut page with a known end must be split by the client; if it cannot be, the limit's error is all there is.
    cut_min = _SPLIT_ROWS_MIN if pinned else 1
    batch = tx.limits.scan_batch_items if source.selective else FIRST_BATCH_MAX
    while True:
        asked = batch_size(source, batch, wanted - len(scan.found), first=not scan.scanned)
        # At least one: where nothing may be read any more, counting the row raises the limit's error.
        asked = int(max(1, min(asked, rows_max - len(scan.scanned))))
        rows = await tx.fetch(source.table, source.index, bounds, source.order, asked)
        if not scan.is_sized:
            scan.bytes_bound += size_bound(rows)
            if scan.bytes_bound > bytes_watched:
                scan.is_sized = True
                scan.bytes_scanned = sum(map(size, scan.scanned))
        used = 0
        last: Document | None = rows[-1] if len(rows) == asked else None
        try:
            for row in rows:
                row_bytes = size(row) if scan.is_sized else 0
                if len(scan.scanned) >= cut_min and scan.bytes_scanned + row_bytes > bytes_max:
                    scan.cut = True
                    break
                used += 1
                scan.scanned.append(row)
                scan.bytes_scanned += row_bytes
                if source.takes_all or await source.admits(row):
                    scan.found.append(row)
                    if len(scan.found) >= wanted:
                        break
                if len(scan.scanned) >= max(rows_max, cut_min):
                    scan.cut = True
                    break
        finally:
            complete = len(scan.found) >= wanted
            if complete or scan.cut:
                last = scan.scanned[-1]
            tx.depend(source.table, source.index, bounds, source.order, last)
        tx.count_read(source.table, rows[:used])
        if complete or scan.cut:
            return scan
        if last is None:
            scan.reached_end = True
            return scan
        bounds = source.bounds_after(bounds, last)
        batch = min(batch * 4, tx.limits.scan_batch_items_max)


def _result(
    tx: Transaction, source: RangeSource, request: PageRequest, scan: _Scan, *, is_done: bool
) -> dict[str, Value]:
    limits = tx.limits
    share = limits.page_split_recommended_fraction
    status = None
    if len(scan.scanned) >= _SPLIT_ROWS_MIN:
        if scan.cut:
            status = "SplitRequired"
        elif (
            len(scan.scanned) > limits.page_items_split_recommended
            or len(scan.scanned) > share * min(request.rows_max, limits.documents_read_max)
            or scan.bytes_scanned > _split_bytes(tx, request)
        ):
            status = "SplitRecommended"
    return {"page": scan.found, "isDone": is_done, "pageStatus": status}


def _split_bytes(tx: Transaction, request: PageRequest) -> float:
    """Bytes above which splitting the page is recommended."""
    return tx.limits.page_split_recommended_fraction * min(request.bytes_max, tx.limits.bytes_read_max)


def _split_row(scan: _Scan) -> Document | None:
    """The middle of the scanned rows."""
    if len(scan.scanned) < _SPLIT_ROWS_MIN:
        return None
    return scan.scanned[(len(scan.scanned) - 1) // 2]


def _position(source: RangeSource, row: Document) -> bytes:
    return key_bytes(source.index.key(row))
