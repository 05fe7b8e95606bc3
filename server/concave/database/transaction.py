"""One run of a query or mutation against one snapshot (data-model.md 7).

Invariants:

* Every read sees the snapshot `ts` with the transaction's own writes merged in, in index order.
* Everything a result depends on is in `read_set` before the result is handed out (7.3); nothing leaves it again.
* Documents handed out belong to the caller, who may change them; documents in the buffer never change.
* Between deciding and writing there is no `await`. Writes that must first read their target are serialised in order of
  issue; reads take the buffer as it is when they are issued.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Literal, Protocol

from concave.database.calls import CallTracker
from concave.database.deletion import DeletionPlan, plan_deletion
from concave.database.own_writes import OwnRows, OwnWrites
from concave.database.ranges import KeyRange
from concave.database.usage import Usage, UsageWarning
from concave.schema.catalog import Catalog
from concave.schema.checking import ValidationFailure
from concave.schema.definition import UPDATED_AT
from concave.schema.plan import IndexLayout
from concave.storage.store import DocumentWrite, IndexKeyChange, Order, Store
from concave.values.errors import DeveloperError, schema_enforcement_error
from concave.values.ids import new_id
from concave.values.intervals import Interval, IntervalSet, point, whole_table
from concave.values.keys import key_bytes, successor
from concave.values.limits import Limits
from concave.values.order import values_equal
from concave.values.runtime import Runtime
from concave.values.sizes import check_document, size
from concave.values.types import UNSET, Document, Timestamp, Value

REMEMBERED_ROWS_MAX = 32
"""A read of at most so many rows keeps copies in a mutation: they are what it is likely to patch next."""


class OpenRead(Protocol):
    """A read that is still being consumed, and so cannot yet say how far it got."""

    def settle(self) -> None:
        """Record in the transaction what has been consumed so far. May be called again later."""


GuardedOperation = Literal["insert", "modify"]


class Guard(Protocol):
    """Who is asked before a write (`policies.py`). It may read through the transaction."""

    async def may_read(self, table: str, document: Document) -> bool:
        """Whether the document may be seen; if not, a write to it finds nothing."""

    async def check(self, operation: GuardedOperation, table: str, document: Document) -> None:
        """Raise if the document may not be inserted; or, as it is or as it is to be, not be modified."""


class Transaction:
    """Snapshot reads, buffered writes, the read set and the counters of one run.

    `ts` is the snapshot. `now_ms` is the time of the run, whole milliseconds: what `ctx.now` shows and traits stamp.
    `cursor_key` seals page cursors: a secret of the deployment, the same on all its nodes.
    `journal_in` is the end of the page in the query's previous run, `journal_out` its end in this one (6.4).
    """

    __slots__ = (
        "_open_reads",
        "_own",
        "_read_set",
        "_remembered",
        "_rollbacks",
        "_write_lock",
        "catalog",
        "creation_time",
        "cursor_key",
        "journal_in",
        "journal_out",
        "limits",
        "now_ms",
        "require_index",
        "runtime",
        "store",
        "ts",
        "usage",
        "writable",
    )

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        ts: Timestamp,
        runtime: Runtime,
        limits: Limits,
        *,
        writable: bool,
        cursor_key: bytes = b"",
        journal: str | None = None,
        require_index: bool = False,
        usage: Usage | None = None,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.ts = ts
        self.runtime = runtime
        self.limits = limits
        self.writable = writable
        self.cursor_key = cursor_key
        self.journal_in = journal
        self.journal_out: str | None = None
        self.require_index = require_index
        self._read_set = IntervalSet()
        self._open_reads: list[OpenRead] = []
        self.usage = Usage(limits) if usage is None else usage
        now_ms = runtime.now_ms()
        self.now_ms = float(math.floor(now_ms))
        self.creation_time = max(ts / 1e6, now_ms)
        """What the next inserted document gets; each takes it one representable double further (3.3)."""
        self._own = OwnWrites()
        self._remembered: dict[str, Document] = {}
        """Copies of stored documents read before, so that get and then patch costs one round trip."""
        self._write_lock = asyncio.Lock()
        self._rollbacks = 0

    @property
    def read_set(self) -> IntervalSet:
        """Everything the run depends on so far (7.3). The caller must not change it."""
        for read in self._open_reads:
            read.settle()
        return self._read_set

    # Reads.

    async def get(self, table: str, id: str) -> Document | None:
        """The document, own writes included, or None. Depends on that id alone. The table must exist in the catalog."""
        self._record(table, point(table, id))
        own = self._own.find(table, id)
        if own is not None:
            if own.after is None:
                return None
            document = copy_document(own.after)
        elif (remembered := self._remembered.get(id)) is not None:
            document = copy_document(remembered)
        else:
            stored = await self.store.get(table, id, self.ts)
            if stored is None:
                return None
            if self.writable:
                self._remembered[id] = copy_document(stored)
            document = stored
        self.count_read(table, [document])
        return document

    async def scan(
        self,
        table: str,
        index: IndexLayout,
        low: bytes,
        high: bytes,
        prefix: bytes,
        depth: int,
        order: Order,
        limit: int,
    ) -> list[Document]:
        """Up to `limit` documents with keys in [low, high), in key order or reversed, own writes merged in.

        Depends on the whole range if fewer than `limit` come back, else on the part up to the last one returned.
        """
        bounds = KeyRange(prefix, depth, low, high)
        documents = await self.fetch(table, index, bounds, order, limit)
        if limit > 0:
            self.depend(table, index, bounds, order, documents[-1] if len(documents) >= limit else None)
        self.count_read(table, documents)
        return documents

    async def fetch(self, table: str, index: IndexLayout, bounds: KeyRange, order: Order, limit: int) -> list[Document]:
        """As `scan`, but the caller must call `depend` and `count_read` for the rows that it uses, in this order."""
        if limit <= 0 or bounds.low >= bounds.high:
            return []
        try:
            return await self._fetch(table, index, bounds, order, limit)
        except DeveloperError:
            # A stored document cannot be read, or the index is gone: once that is mended a live query is to run again.
            self.depend(table, index, bounds, order, None)
            raise

    async def _fetch(
        self, table: str, index: IndexLayout, bounds: KeyRange, order: Order, limit: int
    ) -> list[Document]:
        low, high = bounds.low, bounds.high
        own = self._own.rows(table, index, low, high) if self._own else None
        if own is None:
            documents = await self.store.scan(table, index, low, high, order=order, limit=limit, ts=self.ts)
        else:
            # Stored rows that this transaction changed are dropped, so as many more are fetched.
            stored = await self.store.scan(
                table, index, low, high, order=order, limit=limit + own.hidden_in_range, ts=self.ts
            )
            documents = _merged(stored, own, index, order, limit)
        if self.writable and len(documents) <= REMEMBERED_ROWS_MAX:
            self._remember(table, documents)
        return documents

    def count_read(self, table: str, documents: list[Document]) -> None:
        """Count documents as read. Raises `DeveloperError` past a limit."""
        if documents and table[0] != "_":
            self.usage.count_read(documents)

    def depend(self, table: str, index: IndexLayout, bounds: KeyRange, order: Order, last: Document | None) -> None:
        """Record that the run depends on a range: on all of it, or up to and including `last` if it stopped there."""
        prefix, depth, low, high = bounds
        if last is not None:
            key = key_bytes(index.key(last))
            if order == "asc":
                high = successor(key)
            else:
                low = key
        if low < high:
            self._record(table, Interval(table, index.name, prefix, depth, low, high))

    def opened(self, read: OpenRead) -> None:
        """Keep asking `read` how far it got, until `closed`."""
        self._open_reads.append(read)

    def closed(self, read: OpenRead) -> None:
        self._open_reads.remove(read)

    async def count(self, table: str) -> int:
        """How many documents the table holds, own writes included. Depends on the whole table."""
        self._record(table, whole_table(table))
        delta = self._own.document_delta(table)
        return await self.store.count(table, self.ts) + delta

    # Writes.

    async def insert(self, table: str, fields: Mapping[str, Value], *, guard: Guard | None = None) -> str:
        """Add a document and return its id. `fields` are normalized values that belong to the transaction.

        Raises `DeveloperError`: `SchemaEnforcementError`, the codes of 1.4, or a limit; and what `guard` raises.
        """
        rollbacks = self._rollbacks
        async with self._write_lock:
            self._check_not_undone(rollbacks)
            document_id = new_id(self.catalog.table_number(table), self.runtime)
            created = self.creation_time
            self.creation_time = math.nextafter(created, math.inf)
            document: Document = {**fields, "_id": document_id, "_creationTime": created}
            document = self._checked(table, document)
            if guard is not None:
                await guard.check("insert", table, document)
                self._check_not_undone(rollbacks)
            # The new id is random and unique in the database, so nothing need depend on its absence.
            self._put(table, document_id, None, document)
            return document_id

    async def patch(
        self,
        table: str,
        id: str,
        fields: Mapping[str, Value],
        *,
        touch: str | None = None,
        guard: Guard | None = None,
    ) -> bool:
        """Merge `fields` into the document; `UNSET` removes one.

        `touch` names a field that gets `now_ms` if anything changed. Returns False, and writes nothing, if nothing
        changed (5.4). Raises `NonexistentDocument` and as `insert`.
        """
        rollbacks = self._rollbacks
        async with self._write_lock:
            current = await self._target(table, id, "Update", guard)
            self._check_not_undone(rollbacks)
            _check_system_fields(current, fields)
            document = {**current, **fields}
            for name, value in fields.items():
                if value is UNSET:
                    del document[name]
            return await self._change(table, id, current, document, touch if touch not in fields else None, guard)

    async def replace(
        self,
        table: str,
        id: str,
        fields: Mapping[str, Value],
        *,
        touch: str | None = None,
        keep: tuple[str, ...] = (),
        guard: Guard | None = None,
    ) -> bool:
        """Put `fields` in the place of all of the document's own fields. Fields named in `keep` survive if not given.

        `touch` and the result are as for `patch`. Raises `NonexistentDocument` and as `insert`.
        """
        rollbacks = self._rollbacks
        async with self._write_lock:
            current = await self._target(table, id, "Replace", guard)
            self._check_not_undone(rollbacks)
            _check_system_fields(current, fields)
            document = {**fields, "_id": current["_id"], "_creationTime": current["_creationTime"]}
            for name in keep:
                if name not in document and name in current:
                    document[name] = current[name]
            if touch is not None and touch not in fields and touch in current:
                # Compared as if untouched: a replacement that changes nothing else is not a write.
                document[touch] = current[touch]
            return await self._change(table, id, current, document, touch if touch not in fields else None, guard)

    async def delete(self, table: str, id: str, *, guard: Guard | None = None) -> None:
        """Remove the document, and do to those that refer to it what their `on_delete` says (`deletion.py`).

        Raises `NonexistentDocument` if it is not there, `ConvexError` (code `restrict`) if a reference keeps it, a
        limit, and what `guard` raises for the document itself; then nothing is written.
        """
        rollbacks = self._rollbacks
        async with self._write_lock:
            current = await self._target(table, id, "Delete", guard)
            if self.catalog.references_to(table):
                plan = await plan_deletion(self, table, current)
                self._check_not_undone(rollbacks)
                self._delete_all(plan)
            else:
                self._check_not_undone(rollbacks)
                self._delete(table, id, current)

    def writes(self) -> tuple[DocumentWrite, ...]:
        """The net effect on each document, with its key changes in every index. What came to nothing is left out."""
        found = []
        for table, document_id, write in self._own.all():
            before, after = write.before, write.after
            if before is None and after is None:
                continue
            if before is not None and after is not None and values_equal(before, after):
                continue
            layout = self.catalog.layout(table)
            old = {} if before is None else layout.keys(before)
            new = {} if after is None else layout.keys(after)
            keys = tuple(IndexKeyChange(name, old.get(name), new.get(name)) for name in layout.indexes)
            found.append(DocumentWrite(table, document_id, before, after, keys))
        return tuple(found)

    # Nested calls.

    def savepoint(self) -> int:
        """A mark for `rollback_to`. Marks nest."""
        return self._own.savepoint()

    def rollback_to(self, savepoint: int) -> None:
        """Undo every write since the mark. The read set, the counters and the creation times stay as they are (7.1).

        A write still under way, of a task that a failed function left behind, is refused when it comes to writing.
        """
        self._rollbacks += 1
        self._own.rollback_to(savepoint)

    @asynccontextmanager
    async def lend(self, caller: CallTracker) -> AsyncIterator[None]:
        """Give the transaction to a call nested in `caller` for the length of the block (function-runtime.md 6).

        Waits for the caller's writes under way. Calls that the caller makes meanwhile wait for the block's end, other
        nested ones included; so a roll-back within the block undoes nothing that the caller did.
        """
        while caller.lent:
            await caller.turn()
        caller.lend()
        try:
            async with self._write_lock:
                pass
            yield
        finally:
            caller.take_back()

    def stale_view(self) -> Transaction:
        """A read-only transaction on the same snapshot for `useStaleSnapshot`: without this one's writes, with a read
        set of its own that nobody need look at, and with the same counters."""
        return Transaction(
            self.store,
            self.catalog,
            self.ts,
            self.runtime,
            self.limits,
            writable=False,
            cursor_key=self.cursor_key,
            require_index=self.require_index,
            usage=self.usage,
        )

    # Reports.

    def warnings(self) -> list[UsageWarning]:
        """Limits nearly used up, for the log at the end of the run."""
        return self.usage.warnings()

    # Internals.

    def _record(self, table: str, interval: Interval) -> None:
        held = len(self._read_set)
        self._read_set.add(interval)
        if table[0] != "_":
            self.usage.count_queries(len(self._read_set) - held)

    def _check_not_undone(self, rollbacks: int) -> None:
        if rollbacks != self._rollbacks:
            raise DeveloperError(
                "UnawaitedCall",
                "a write went on after its nested mutation had failed and was rolled back; nothing was written",
            )

    def _remember(self, table: str, documents: list[Document]) -> None:
        for document in documents:
            document_id = document["_id"]
            if document_id not in self._remembered and self._own.find(table, document_id) is None:
                self._remembered[document_id] = copy_document(document)

    async def _target(self, table: str, id: str, verb: str, guard: Guard | None) -> Document:
        """The current version of a document about to be written; a read like any other (7.3)."""
        self._read_set.add(point(table, id))  # no query of its own: only writes are counted here
        own = self._own.find(table, id)
        document = self._remembered.get(id) if own is None else own.after
        if own is None and document is None:
            document = await self.store.get(table, id, self.ts)
            if document is not None:
                self._remembered[id] = document
        if document is not None and guard is not None and not await guard.may_read(table, document):
            document = None
        if document is None:
            raise DeveloperError(
                "NonexistentDocument",
                f"{verb} on nonexistent document ID {id} of table {table!r}: it was deleted, or never existed; "
                "use db.get first if that can happen",
            )
        self.count_read(table, [document])
        if guard is not None:
            await guard.check("modify", table, document)
        return document

    async def _change(
        self, table: str, id: str, current: Document, document: Document, touch: str | None, guard: Guard | None
    ) -> bool:
        if values_equal(current, document):
            return False
        if touch is not None:
            document[touch] = self.now_ms
        document = self._checked(table, document)
        if guard is not None:
            rollbacks = self._rollbacks
            await guard.check("modify", table, document)
            self._check_not_undone(rollbacks)
        self._put(table, id, current, document)
        return True

    def _checked(self, table: str, document: Document) -> Document:
        """The final form of a document: within the limits of 1.4, and as the schema demands."""
        check_document(document, where=f'Document for table "{table}"')
        try:
            checked: Document = self.catalog.check_document(table)(document)
        except ValidationFailure as failure:
            raise schema_enforcement_error(table, failure.text) from None
        return checked

    def _put(self, table: str, id: str, before: Document | None, document: Document) -> None:
        """Count and buffer a checked document."""
        if table[0] != "_":
            self.usage.count_write(size(document), document)
        self._own.put(table, id, before, document)

    def _delete(self, table: str, id: str, current: Document) -> None:
        if table[0] != "_":
            self.usage.count_write(0)
        self._own.put(table, id, current, None)

    def _delete_all(self, plan: DeletionPlan) -> None:
        """Apply a plan made of the buffer as it is now: all of it, or nothing."""
        savepoint = self._own.savepoint()
        try:
            for (table, document_id), current in plan.deleted.items():
                self._delete(table, document_id, current)
            for (table, document_id), (before, after) in plan.changed.items():
                definition = self.catalog.schema.tables[table]
                if definition.has_timestamps:
                    after[UPDATED_AT] = self.now_ms
                self._put(table, document_id, before, self._checked(table, after))
        except DeveloperError:
            self._own.rollback_to(savepoint)
            raise


def _check_system_fields(current: Document, fields: Mapping[str, Value]) -> None:
    """`_id` and `_creationTime` never change; given as they are they are accepted (3.3)."""
    if "_id" in fields and fields["_id"] != current["_id"]:
        raise DeveloperError(
            "InvalidIdError",
            f"the document {current['_id']} cannot get the `_id` {fields['_id']!r}: leave `_id` out, it never changes",
        )
    if "_creationTime" in fields and fields["_creationTime"] != current["_creationTime"]:
        raise DeveloperError(
            "InvalidCreationTimeError",
            f"the document {current['_id']} cannot get the `_creationTime` {fields['_creationTime']!r}: "
            "leave `_creationTime` out, it never changes",
        )


def copy_document(document: Document) -> Document:
    """A copy that shares nothing changeable with the original."""
    return {
        name: _copy(value) if type(value) is dict or type(value) is list else value for name, value in document.items()
    }


def _copy(value: Value) -> Value:
    if type(value) is dict:
        return copy_document(value)
    return [_copy(item) if type(item) is dict or type(item) is list else item for item in value]


def _merged(stored: list[Document], own: OwnRows, index: IndexLayout, order: Order, limit: int) -> list[Document]:
    """Stored rows without those the transaction has rewritten, and its own rows, in order, at most `limit`."""
    hidden = own.hidden
    visible = [document for document in stored if document["_id"] not in hidden] if hidden else stored
    if not own.rows:
        return visible[:limit]
    rows = [(key_bytes(index.key(document)), document) for document in visible]
    mine = {id(document) for _, document in own.rows}
    rows.extend(own.rows)
    # Two ascending (or descending) runs: the sort merges them. Keys are unique, so documents are never compared.
    rows.sort(key=_key, reverse=order == "desc")
    return [copy_document(document) if id(document) in mine else document for _, document in rows[:limit]]


def _key(row: tuple[bytes, Document]) -> bytes:
    return row[0]
