"""Reading the rows of a range in batches, with filters, and telling the transaction how far the reading got.

A batch may be longer than what is used of it; the transaction comes to depend only on what was scanned (data-model.md
7.3). A run does not see its own writes in a batch fetched before them; the next batch shows them (6.3).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from concave.database.calls import CallTracker
from concave.database.ranges import KeyRange
from concave.database.transaction import Transaction
from concave.schema.plan import IndexLayout
from concave.storage.store import Order
from concave.values.keys import key_bytes, successor
from concave.values.types import Document

Predicate = Callable[[Document], bool]
RowRule = Callable[[Document], Awaitable[bool]]


@dataclass(slots=True, frozen=True)
class RangeSource:
    """What a query reads: a range of an index, its direction, and what rows must pass, if anything.

    `predicate` holds the query's filters; rows that pass it are put to `rule`, the table's read policy. `selective`
    means that the predicate may drop most rows; then batches are not cut to the rows still wanted.
    """

    table: str
    index: IndexLayout
    bounds: KeyRange
    order: Order
    predicate: Predicate | None
    selective: bool
    rule: RowRule | None = None

    @property
    def takes_all(self) -> bool:
        """Whether every row of the range is a result."""
        return self.predicate is None and self.rule is None

    async def admits(self, row: Document) -> bool:
        """Whether the row is a result."""
        if self.predicate is not None and not self.predicate(row):
            return False
        return self.rule is None or await self.rule(row)

    def bounds_after(self, bounds: KeyRange, last: Document) -> KeyRange:
        """What is left of `bounds` behind the row `last`."""
        key = key_bytes(self.index.key(last))
        return bounds._replace(low=successor(key)) if self.order == "asc" else bounds._replace(high=key)


FIRST_BATCH_MAX = 256
"""If a first batch of so many rows is within the limit on bytes, larger ones are safe to ask for."""
REFILL_MIN = 16
"""When some of the rows asked for were dropped, ask for at least so many to make up for them."""


def batch_size(source: RangeSource, batch: int, wanted: float, *, first: bool) -> int:
    """How many rows to fetch when `wanted` more are needed and batches are `batch` long."""
    if source.selective:
        return batch
    return int(min(batch, wanted if first or source.takes_all else max(wanted, REFILL_MIN)))


async def read_rows(tx: Transaction, source: RangeSource, limit: int | None) -> list[Document]:
    """The first `limit` rows that are results; all of them if None."""
    table, index, order, bounds = source.table, source.index, source.order, source.bounds
    if source.takes_all and limit is not None and limit <= FIRST_BATCH_MAX:
        prefix, depth, low, high = bounds
        return await tx.scan(table, index, low, high, prefix, depth, order, limit)
    wanted = math.inf if limit is None else limit
    batch = tx.limits.scan_batch_items if source.selective else FIRST_BATCH_MAX
    found: list[Document] = []
    first = True
    while len(found) < wanted:
        asked = batch_size(source, batch, wanted - len(found), first=first)
        rows = await tx.fetch(table, index, bounds, order, asked)
        last: Document | None = rows[-1] if len(rows) == asked else None
        try:
            if source.takes_all:
                found += rows
            else:
                for row in rows:
                    if await source.admits(row):
                        found.append(row)
                        if len(found) == limit:
                            last = row
                            break
        finally:
            # Also when the predicate or the rule fails: a failed query is run again when what it read has changed.
            tx.depend(table, index, bounds, order, last)
        tx.count_read(table, rows)
        if last is None:
            break
        bounds = source.bounds_after(bounds, last)
        batch = min(batch * 4, tx.limits.scan_batch_items_max)
        first = False
    return found


class RowIterator:
    """`async for` over a query. What it has yielded is what the run depends on, whether or not the loop runs out."""

    __slots__ = ("_batch", "_bounds", "_calls", "_exhausted", "_position", "_rows", "_source", "_tx")

    def __init__(self, tx: Transaction, calls: CallTracker, source: RangeSource) -> None:
        self._tx = tx
        self._calls = calls
        self._source = source
        self._bounds = source.bounds
        self._batch = tx.limits.scan_batch_items
        self._rows: list[Document] = []
        self._position = 0
        """How many of the batch's rows have been scanned."""
        self._exhausted = False
        tx.opened(self)

    def __aiter__(self) -> RowIterator:
        return self

    async def __anext__(self) -> Document:
        source = self._source
        while True:
            while self._position < len(self._rows):
                row = self._rows[self._position]
                self._position += 1
                if source.takes_all or await source.admits(row):
                    return row
            if self._exhausted:
                raise StopAsyncIteration
            await self._next_batch()

    def settle(self) -> None:
        if self._position:
            last = self._rows[self._position - 1]
            source = self._source
            self._tx.depend(source.table, source.index, self._bounds, source.order, last)

    async def _next_batch(self) -> None:
        tx, source = self._tx, self._source
        if self._position:
            self.settle()
            self._bounds = source.bounds_after(self._bounds, self._rows[-1])
            self._rows, self._position = [], 0
        while self._calls.lent:
            await self._calls.turn()
        rows = await tx.fetch(source.table, source.index, self._bounds, source.order, self._batch)
        if len(rows) < self._batch:
            # The end was seen, so the rest of the range is part of the result, rows not yet yielded included.
            self._exhausted = True
            tx.depend(source.table, source.index, self._bounds, source.order, None)
            tx.closed(self)
        tx.count_read(source.table, rows)
        self._rows, self._position = rows, 0
        self._batch = min(self._batch * 2, tx.limits.scan_batch_items_max)
