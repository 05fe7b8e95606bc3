"""`MemoryStore`: the contract of `store.py` kept in this process, for tests and simulation.

`MemoryDatabase` plays MongoDB's part; several `MemoryStore`s over one database are several nodes. Documents are
multi-version: each index maps key bytes to the versions that had that key, so that any snapshot within the history can
be scanned.

Not reproduced: durability, round trips, and refusals by a database-side validator for what Python's types cannot
express. A foreign update carries the new document, and the old one only if the table has pre-images, as MongoDB's
change stream does.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from sortedcontainers import SortedDict

from concave.schema.catalog import Catalog
from concave.schema.checking import ValidationFailure
from concave.schema.plan import IndexLayout, Plan, TableLayout
from concave.storage.document_check import BAD_DOCUMENTS_MAX, DocumentCheck
from concave.storage.projection import Projection, compile_projection
from concave.storage.refusals import unique_refusal
from concave.storage.store import (
    BadDocument,
    DocumentWrite,
    FeedEvent,
    FeedGap,
    FeedProgress,
    ForeignWrite,
    IndexKeyChange,
    LogEntry,
    Order,
    PushProgress,
    PushRefused,
    RemoteCommit,
    SeqTaken,
    SnapshotTooOld,
    StoredRequest,
    TableStats,
    TurnWanted,
    WriteConflict,
    WriteRefused,
)
from concave.storage.table_numbers import missing_numbers
from concave.values.keys import IndexKey, key_bytes
from concave.values.runtime import Runtime
from concave.values.sizes import size
from concave.values.types import Document, Timestamp, Value

HISTORY_S = 300.0
"""How long old versions stay readable: MongoDB's default `minSnapshotHistoryWindowInSeconds`."""

ENTRY_BYTES_MAX = 16 * 1024 * 1024
EVENTS_MAX = 100_000


@dataclass(slots=True)
class _Version:
    """One version of a document: visible at timestamps in [`since`, `until`)."""

    document: Document
    since: Timestamp
    until: Timestamp | None = None

    def visible(self, ts: Timestamp) -> bool:
        return self.since <= ts and (self.until is None or ts < self.until)


@dataclass(slots=True)
class _Index:
    layout: IndexLayout
    versions: SortedDict = field(default_factory=SortedDict)
    """Key bytes -> list of `_Version`, oldest first."""


@dataclass(slots=True)
class _Table:
    layout: TableLayout
    indexes: dict[tuple[str, ...], _Index]
    """By the paths of their columns: two schemas may use one name for two indexes."""
    current: dict[str, _Version] = field(default_factory=dict)
    past: dict[str, list[_Version]] = field(default_factory=dict)
    """Every version of a document within the history, oldest first, the current one included."""
    pre_images: bool = False
    unique: dict[tuple[str, IndexKey], str] = field(default_factory=dict)
    """(index, its unique key) -> id, for the current documents and unique indexes."""


class MemoryDatabase:
    """What several `MemoryStore`s share. `foreign_*` write to it without a log entry, as another program would."""

    def __init__(self, runtime: Runtime, *, history_s: float = HISTORY_S) -> None:
        self._runtime = runtime
        self._history_ns = int(history_s * 1e9)
        self.latest = Timestamp(int(runtime.now_ms() * 1e6))
        self.oldest = self.latest
        self.tables: dict[str, _Table] = {}
        self.numbers: dict[str, int] = {}
        self.fingerprint: str | None = None
        self.catalog: Catalog | None = None
        self.entries: list[LogEntry] = []
        self.requests: dict[tuple[str, int], StoredRequest] = {}
        self.events: list[tuple[Timestamp, object, FeedEvent]] = []
        self.events_floor = self.latest
        self._wakers: set[asyncio.Event] = set()

    def advance(self) -> Timestamp:
        """A timestamp after all others, and not before the clock."""
        self.latest = Timestamp(max(self.latest + 1, int(self._runtime.now_ms() * 1e6)))
        return self.latest

    def foreign_insert(self, table: str, document: Document) -> Timestamp:
        """Insert without a log entry. `document` must have `_id` and `_creationTime`."""
        return self._foreign(table, document["_id"], _copy(document))

    def foreign_update(self, table: str, document: Document) -> Timestamp:
        """Replace the document of the same `_id` without a log entry."""
        return self._foreign(table, document["_id"], _copy(document))

    def foreign_delete(self, table: str, id: str) -> Timestamp:
        """Delete without a log entry."""
        return self._foreign(table, id, None)

    def forget_history(self, before: Timestamp) -> None:
        """Make snapshots before `before` unreadable now, instead of when they are too old."""
        self.oldest = max(self.oldest, before)
        for table in self.tables.values():
            _drop_old_versions(table, self.oldest)

    def forget_events(self) -> None:
        """Lose the feed's history: a feed that has not caught up gets a `FeedGap`."""
        self.events.clear()
        self.events_floor = self.latest

    def publish(self, ts: Timestamp, origin: object, event: FeedEvent) -> None:
        self.events.append((ts, origin, event))
        if len(self.events) > EVENTS_MAX:
            dropped = self.events[: EVENTS_MAX // 2]
            del self.events[: EVENTS_MAX // 2]
            self.events_floor = dropped[-1][0]
        self.wake()

    def wake(self) -> None:
        for waker in self._wakers:
            waker.set()

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever something was published."""
        waker = asyncio.Event()
        self._wakers.add(waker)
        try:
            yield waker
        finally:
            self._wakers.discard(waker)

    def apply(self, table_name: str, id: str, after: Document | None, ts: Timestamp) -> None:
        """Make `after` the current version of a document from `ts` on; None deletes it."""
        table = self.tables[table_name]
        old = table.current.pop(id, None)
        if old is not None:
            old.until = ts
        new = None if after is None else _Version(after, ts)
        if new is not None:
            table.current[id] = new
            table.past.setdefault(id, []).append(new)
        for index in table.indexes.values():
            entry = _unique_entry(index.layout, old.document) if old is not None else None
            # Within a batch the key may have another holder already.
            if entry is not None and table.unique.get(entry) == id:
                del table.unique[entry]
            if new is not None:
                _add_to_index(table, index, id, new)
        if ts - self.oldest > 2 * self._history_ns:
            self.forget_history(Timestamp(ts - self._history_ns))

    def check_unique(self, writes: Sequence[DocumentWrite]) -> None:
        """Refuse a batch that breaks a unique index. As in MongoDB, deletes come first, then updates, then inserts."""
        holders: dict[tuple[str, str, IndexKey], str | None] = {}
        for position, write in sorted(enumerate(writes), key=lambda item: _kind(item[1])):
            table = self.tables[write.table]
            old = table.current.get(write.id)
            for index in table.indexes.values():
                if old is not None and (entry := _unique_entry(index.layout, old.document)) is not None:
                    holders[write.table, *entry] = None
                if write.after is None or (entry := _unique_entry(index.layout, write.after)) is None:
                    continue
                holder = holders.get((write.table, *entry), table.unique.get(entry))
                if holder is not None and holder != write.id:
                    raise unique_refusal(write.table, entry[0], index.layout, write.after, position)
                holders[write.table, *entry] = write.id

    def _foreign(self, table: str, id: str, after: Document | None) -> Timestamp:
        held = self.tables[table]
        old = held.current.get(id)
        before = old.document if old is not None and held.pre_images else None
        ts = self.advance()
        self.apply(table, id, after, ts)
        before_keys = held.layout.keys(before) if before is not None else {}
        after_keys = held.layout.keys(after) if after is not None else {}
        keys = tuple(IndexKeyChange(name, before_keys.get(name), after_keys.get(name)) for name in held.layout.indexes)
        write = DocumentWrite(table, id, _copy(before), _copy(after), keys)
        self.publish(ts, None, ForeignWrite(table, ts, write, precise=old is None or before is not None))
        return ts


class MemoryStore:
    """A node's handle on a `MemoryDatabase`; implements `Store`."""

    def __init__(self, database: MemoryDatabase | None = None, *, runtime: Runtime, node: str = "local") -> None:
        self.database = database if database is not None else MemoryDatabase(runtime)
        self.node = node
        self._catalog: Catalog | None = None
        self._projections: dict[str, Projection] = {}

    async def start(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to close; the database outlives its stores."""

    async def push(self, plan: Plan, *, progress: PushProgress | None = None) -> Catalog:
        database = self.database
        numbers = database.numbers | missing_numbers(database.numbers, plan.user_tables)
        catalog = Catalog(plan, numbers)
        fingerprint = plan.fingerprint()
        if fingerprint != database.fingerprint:
            self._check_documents(plan, catalog)
            database.fingerprint = fingerprint
            database.catalog = catalog
        database.numbers = numbers
        for steps, (name, table_plan) in enumerate(plan.tables.items()):
            if progress is not None:
                progress(f"table {name}", steps, len(plan.tables))
            self._fit_table(name, table_plan.layout)
            database.tables[name].pre_images = table_plan.pre_images
        self._catalog = catalog
        self._projections = {
            name: compile_projection(
                column.path for index in table_plan.layout.indexes.values() for column in index.columns
            )
            for name, table_plan in plan.tables.items()
        }
        return catalog

    async def current_ts(self) -> Timestamp:
        return self.database.latest

    async def last_seq(self, ts: Timestamp) -> int:
        return bisect.bisect_right(self.database.entries, ts, key=lambda entry: entry.ts)

    async def get(self, table: str, id: str, ts: Timestamp) -> Document | None:
        self._check_snapshot(ts)
        held = self.database.tables.get(table)
        if held is None:
            return None
        for version in reversed(held.past.get(id, ())):
            if version.visible(ts):
                document: Document = _copy(version.document)
                return document
        return None

    async def scan(
        self, table: str, index: IndexLayout, low: bytes, high: bytes, *, order: Order, limit: int, ts: Timestamp
    ) -> list[Document]:
        self._check_snapshot(ts)
        held = self.database.tables.get(table)
        if held is None or limit <= 0 or low >= high:
            return []
        versions = held.indexes[_columns(index)].versions
        found: list[Document] = []
        for key in versions.irange(low, high, inclusive=(True, False), reverse=order == "desc"):
            for version in versions[key]:
                if version.visible(ts):
                    found.append(_copy(version.document))
                    break
            if len(found) >= limit:
                break
        return found

    async def count(self, table: str, ts: Timestamp) -> int:
        self._check_snapshot(ts)
        held = self.database.tables.get(table)
        if held is None:
            return 0
        return sum(any(version.visible(ts) for version in versions) for versions in held.past.values())

    async def append(self, entry: LogEntry) -> Timestamp:
        database = self.database
        self._check_append(entry)
        ts = database.advance()
        writes: list[DocumentWrite] = []
        for write in entry.writes:
            before, after = write.before, _copy(write.after)
            if before is not None:
                before = self._projections[write.table](_copy(before))
            database.apply(write.table, write.id, after, ts)
            writes.append(replace(write, before=before, after=after))
        stored = replace(entry, writes=tuple(writes), ts=ts)
        database.entries.append(stored)
        for record in entry.requests:
            database.requests[record.session_id, record.request_id] = StoredRequest(record, ts)
        database.publish(ts, self, RemoteCommit(stored))
        return ts

    async def read_log(self, after_seq: int, limit: int) -> list[LogEntry]:
        entries = self.database.entries[after_seq : after_seq + limit]
        return [self._own_view(entry) for entry in entries]

    async def ask_for_turn(self) -> None:
        ts = self.database.advance()
        self.database.publish(ts, self, TurnWanted(self.node, ts))

    async def find_request(self, session_id: str, request_id: int) -> StoredRequest | None:
        return self.database.requests.get((session_id, request_id))

    async def feed(self, after: Timestamp) -> AsyncGenerator[FeedEvent, None]:
        database = self.database
        seen = after
        with database.listening() as waker:
            while True:
                waker.clear()
                if seen < database.events_floor:
                    seen = database.latest
                    yield FeedGap(seen, len(database.entries))
                until = database.latest
                start = bisect.bisect_right(database.events, seen, key=lambda item: item[0])
                for _, origin, event in database.events[start:]:
                    if origin is not self:
                        shown = self._shown(event)
                        if shown is not None:
                            yield shown
                if until > seen:
                    seen = until
                    yield FeedProgress(until)
                if not waker.is_set():
                    await waker.wait()

    async def stats(self) -> Sequence[TableStats]:
        return [
            TableStats(
                name,
                len(table.current),
                sum(size(version.document) for version in table.current.values()),
                {index.layout.name: sum(map(len, index.versions)) for index in table.indexes.values()},
            )
            for name, table in sorted(self.database.tables.items())
        ]

    def _fit_table(self, name: str, layout: TableLayout) -> None:
        tables = self.database.tables
        table = tables.setdefault(name, _Table(layout, {}))
        table.layout = layout
        for index_layout in layout.indexes.values():
            columns = _columns(index_layout)
            held = table.indexes.get(columns)
            if held is None or held.layout.unique != index_layout.unique:
                index = _Index(index_layout)
                for document_id, versions in table.past.items():
                    for version in versions:
                        _add_to_index(table, index, document_id, version)
                table.indexes[columns] = index

    def _check_documents(self, plan: Plan, catalog: Catalog) -> None:
        """Raise `PushRefused` for documents that the new schema does not admit, unique indexes included."""
        bad: list[BadDocument] = []
        for name in plan.tables:
            table = self.database.tables.get(name)
            if table is None:
                continue
            check = DocumentCheck(catalog, name)
            for document_id, version in sorted(table.current.items()):
                message = check.problem(version.document)
                if message is not None:
                    bad.append(BadDocument(name, document_id, message))
                if len(bad) >= BAD_DOCUMENTS_MAX:
                    raise PushRefused(bad)
        if bad:
            raise PushRefused(bad)

    def _check_snapshot(self, ts: Timestamp) -> None:
        if ts < self.database.oldest:
            raise SnapshotTooOld(f"the snapshot {ts} is older than the history, which begins at {self.database.oldest}")

    def _check_append(self, entry: LogEntry) -> None:
        """Raise what `append` must raise; changes nothing."""
        database = self.database
        last_seq = len(database.entries)
        if entry.seq <= last_seq:
            raise SeqTaken(f"log number {entry.seq} is taken; the newest is {last_seq}")
        assert entry.seq == last_seq + 1, f"log number {entry.seq} would leave a gap after {last_seq}"
        for position, record in enumerate(entry.requests):
            if (record.session_id, record.request_id) in database.requests:
                raise WriteRefused(
                    "duplicate_request",
                    f"request {record.request_id} of session {record.session_id} is already stored",
                    position=position,
                )
        if sum(size(part) for write in entry.writes for part in (write.before, write.after)) > ENTRY_BYTES_MAX:
            raise WriteRefused("too_large", f"the batch of {len(entry.writes)} writes is over {ENTRY_BYTES_MAX} bytes")
        for position, write in enumerate(entry.writes):
            exists = write.id in database.tables[write.table].current
            if write.before is not None and not exists:
                raise WriteConflict(f"{write.table}/{write.id} was removed by a foreign writer")
            if write.before is None and exists:
                raise WriteRefused(
                    "unique", f"{write.table}/{write.id} exists already", position=position, index="by_id"
                )
            self._check_validator(position, write)
        database.check_unique(entry.writes)

    def _check_validator(self, position: int, write: DocumentWrite) -> None:
        """As MongoDB does with the validators of the newest push, whichever node it came from."""
        catalog = self.database.catalog
        if write.after is None or catalog is None or write.table not in catalog.plan.tables:
            return
        try:
            catalog.check_document(write.table)(write.after)
        except ValidationFailure as failure:
            raise WriteRefused("validator", f"{write.table}: {failure.text}", position=position) from failure

    def _own_view(self, entry: LogEntry) -> LogEntry:
        """The entry with keys by this node's catalog, and values that nobody shares."""
        return replace(
            entry,
            writes=tuple(
                replace(
                    write,
                    before=_copy(write.before),
                    after=_copy(write.after),
                    keys=self._keys(write.table, write.before, write.after),
                )
                for write in entry.writes
            ),
        )

    def _keys(self, table: str, before: Document | None, after: Document | None) -> tuple[IndexKeyChange, ...]:
        layout = self._layout(table)
        if layout is None:
            return ()
        old = layout.keys(before) if before is not None else {}
        new = layout.keys(after) if after is not None else {}
        return tuple(IndexKeyChange(name, old.get(name), new.get(name)) for name in layout.indexes)

    def _shown(self, event: FeedEvent) -> FeedEvent | None:
        """A feed event as this node sees it, None for a table that its catalog lacks."""
        match event:
            case RemoteCommit(entry):
                return RemoteCommit(self._own_view(entry))
            case ForeignWrite(table=table, write=write):
                if self._layout(table) is None:
                    return None
                if write is not None and (write.before is not None or write.after is not None):
                    keys = self._keys(table, write.before, write.after)
                    return replace(event, write=replace(write, after=_copy(write.after), keys=keys))
        return event

    def _layout(self, table: str) -> TableLayout | None:
        if self._catalog is None or table not in self._catalog.plan.tables:
            return None
        return self._catalog.layout(table)


def _columns(layout: IndexLayout) -> tuple[str, ...]:
    return tuple(column.path for column in layout.columns)


def _unique_entry(layout: IndexLayout, document: Document) -> tuple[str, IndexKey] | None:
    """The entry of a document in a unique index; None if the index is not unique or the document not under its rule."""
    if not layout.unique:
        return None
    key = layout.unique_key(layout.key(document))
    return None if key is None else (layout.name, key)


def _kind(write: DocumentWrite) -> int:
    """Deletes, then updates, then inserts: the order in which MongoDB gets them."""
    if write.after is None:
        return 0
    return 2 if write.before is None else 1


def _add_to_index(table: _Table, index: _Index, id: str, version: _Version) -> None:
    key: IndexKey = index.layout.key(version.document)
    index.versions.setdefault(key_bytes(key), []).append(version)
    if version.until is None and (entry := _unique_entry(index.layout, version.document)) is not None:
        table.unique[entry] = id


def _drop_old_versions(table: _Table, oldest: Timestamp) -> None:
    """Forget versions that ended at or before `oldest`."""

    def kept(versions: list[_Version]) -> list[_Version]:
        return [version for version in versions if version.until is None or version.until > oldest]

    table.past = {key: rest for key, versions in table.past.items() if (rest := kept(versions))}
    for index in table.indexes.values():
        index.versions = SortedDict({key: rest for key, held in index.versions.items() if (rest := kept(held))})


def _copy(value: Value) -> Value:
    """A copy that shares no list or dict with the original."""
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
