"""The storage contract. `MongoStore` and `MemoryStore` implement it; one conformance suite runs over both.

Invariants every store keeps:

* Reads at a timestamp `T` see exactly the commits with timestamp <= `T` (a snapshot), for as long as `T` is
  within the history the store keeps; later they raise `SnapshotTooOld`.
* `append` is atomic: the documents and the log entry appear together, or not at all (I5 rests on this).
* Log entries are numbered 1, 2, 3 ... without gaps; of two callers that try the same number one gets `SeqTaken`.
* Timestamps of entries grow with their numbers.
* The feed is in timestamp order and does not deliver what this store object itself appended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from concave.schema.catalog import Catalog
from concave.schema.plan import IndexLayout, Plan
from concave.values.errors import DeveloperError
from concave.values.keys import IndexKey
from concave.values.types import Document, Timestamp

Order = Literal["asc", "desc"]


@dataclass(slots=True, frozen=True)
class IndexKeyChange:
    """The keys of one document in one index before and after a write; None where it was or is not in the index."""

    index: str
    before: IndexKey | None
    after: IndexKey | None


@dataclass(slots=True, frozen=True)
class DocumentWrite:
    """One document's change within a commit. `before` is None for an insert, `after` is None for a delete.

    For entries read back from the log `before` holds `_id`, `_creationTime` and the indexed fields only.
    `keys` has one entry for each index of the table, `by_id` and `by_creation_time` included.
    """

    table: str
    id: str
    before: Document | None
    after: Document | None
    keys: tuple[IndexKeyChange, ...]


@dataclass(slots=True, frozen=True)
class RequestRecord:
    """The outcome of a client's mutation, stored in the mutation's own commit (I6; sync-protocol.md 3.4).

    `result_json` is the result in Convex's encoded JSON, UTF-8.
    """

    session_id: str
    request_id: int
    result_json: bytes
    log_lines: tuple[str, ...]


@dataclass(slots=True, frozen=True)
class LogEntry:
    """One committed batch. `ts` is 0 until the commit's timestamp is known.

    `functions` names, for each of `writes`, the function that wrote it; empty where that is not known. `turns` names
    the nodes that are to commit next, in order (`turns.py`); empty if nobody waits.
    """

    seq: int
    node: str
    batch: str
    writes: tuple[DocumentWrite, ...]
    requests: tuple[RequestRecord, ...] = ()
    ts: Timestamp = Timestamp(0)
    functions: tuple[str, ...] = ()
    turns: tuple[str, ...] = ()


@dataclass(slots=True, frozen=True)
class RemoteCommit:
    """Feed event: another node's batch was committed. The entry's `ts` is known."""

    entry: LogEntry

    @property
    def ts(self) -> Timestamp:
        return self.entry.ts


@dataclass(slots=True, frozen=True)
class ForeignWrite:
    """Feed event: a document was changed by someone who writes no log.

    With `precise` true, `write.keys` holds every key that changed; otherwise the whole table must be taken as changed.
    `write` is None when nothing is known but the table.
    """

    table: str
    ts: Timestamp
    write: DocumentWrite | None
    precise: bool


@dataclass(slots=True, frozen=True)
class TurnWanted:
    """Feed event: another node has asked for a turn to commit (`turns.py`). It may come out of order, or not at all."""

    node: str
    ts: Timestamp


@dataclass(slots=True, frozen=True)
class FeedProgress:
    """Feed event: everything up to `ts` has been delivered; reads at `ts` are possible."""

    ts: Timestamp


@dataclass(slots=True, frozen=True)
class FeedGap:
    """Feed event: history was lost. Everything held must be taken as changed; start again at `ts`, `last_seq`."""

    ts: Timestamp
    last_seq: int


FeedEvent = RemoteCommit | ForeignWrite | TurnWanted | FeedProgress | FeedGap


class StoreError(Exception):
    """Base of what a store raises; errors of the driver do not pass the store."""


class StoreUnavailable(StoreError):
    """The database does not answer, after the retries that are safe. Whether an `append` took effect is unknown."""


class SnapshotTooOld(StoreError):
    """The timestamp lies before the history that the store keeps: read again at a newer one."""


class LogTrimmed(StoreError):
    """An entry asked for has lost its writes, or is deleted: start again from the current time."""


class SeqTaken(StoreError):
    """Another node has committed this log number: read its entries, validate again, try the next."""


class WriteConflict(StoreError):
    """The database refused the batch because of a concurrent (foreign) writer: run the transactions again."""


@dataclass(slots=True)
class WriteRefused(StoreError):
    """The database refused one document of the batch, for that document's own fault.

    `position` is the write's index in `LogEntry.writes`, or None if the database would not say.
    `code` is `unique` (duplicate key in a unique index), `validator` (breaks `$jsonSchema`), `too_large` or `other`;
    `duplicate_request` means that a `RequestRecord` of the batch is already stored (a resend won elsewhere);
    then `position` is the index in `LogEntry.requests`. For `unique`, `table`, `index` and its `fields` are told.
    """

    code: Literal["unique", "validator", "too_large", "duplicate_request", "other"]
    message: str
    position: int | None = None
    index: str | None = None
    table: str | None = None
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.message


@dataclass(slots=True, frozen=True)
class BadDocument:
    """A stored document that a new schema does not admit."""

    table: str
    id: str
    message: str


@dataclass(slots=True)
class PushRefused(StoreError):
    """The data in the database breaks the new schema; nothing was changed. Lists the first offenders."""

    documents: list[BadDocument] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{bad.table}/{bad.id}: {bad.message}" for bad in self.documents]
        return "the data in the database breaks the new schema; the first documents that do:\n" + "\n".join(lines)


@dataclass(slots=True, frozen=True)
class StoredRequest:
    """An earlier outcome of the same (session, request), and the timestamp at which it was committed."""

    record: RequestRecord
    ts: Timestamp


@dataclass(slots=True, frozen=True)
class TableStats:
    """Figures of one table. `bytes` are of the documents as stored; `index_bytes` per index."""

    table: str
    documents: int
    bytes: int
    index_bytes: dict[str, int]


PushProgress = Callable[[str, int, int], None]
"""Called as (what is being done, steps done, steps in all)."""


def stored_document_invalid(table: str, id: object, problem: str) -> DeveloperError:
    """The error of a function that reads a document which another program wrote past the table's validator."""
    return DeveloperError(
        "StoredDocumentInvalid",
        f"the document {id} stored in table `{table}` cannot be used: {problem}\n"
        "Another program wrote it past the collection's validator: correct or delete it there. `concave doctor "
        "--documents` lists all such documents.",
    )


class Store(Protocol):
    """What the engine asks of a database. All methods but `close` may raise `StoreError`.

    Reads of tables may raise `DeveloperError`: `StoredDocumentInvalid` where another program wrote what no Convex
    document can be, `IndexMissing` where another program dropped an index.
    """

    async def start(self) -> None:
        """Connect and check that the server can do what the engine needs; raises `ConfigurationError` if not."""

    async def close(self) -> None: ...

    async def push(self, plan: Plan, *, progress: PushProgress | None = None) -> Catalog:
        """Make the database fit the plan (create tables, indexes, validators) and return the catalog.

        Checks existing documents first and raises `PushRefused` before anything visible has changed.
        Removes nothing: what the plan lacks is reported by the differ. A no-op when nothing changed.
        From here on the store reads and writes by the returned catalog.
        """

    async def current_ts(self) -> Timestamp:
        """The newest timestamp at which a snapshot can be read now. One round trip."""

    async def last_seq(self, ts: Timestamp) -> int:
        """The number of the newest log entry at snapshot `ts`, 0 if there is none."""

    async def get(self, table: str, id: str, ts: Timestamp) -> Document | None:
        """The document at snapshot `ts`, or None."""

    async def scan(
        self, table: str, index: IndexLayout, low: bytes, high: bytes, *, order: Order, limit: int, ts: Timestamp
    ) -> list[Document]:
        """Up to `limit` documents whose key bytes in `index` lie in [low, high), in key order (or reversed), at `ts`.

        Bounds have the grammar of `values.keys`: whole encoded columns, perhaps followed by `PREFIX_END`, or by a
        single zero byte (the successor of a full key); or empty / `PREFIX_END` alone for the whole index.
        """

    async def count(self, table: str, ts: Timestamp) -> int:
        """How many documents the table holds at `ts`."""

    async def append(self, entry: LogEntry) -> Timestamp:
        """Commit a batch: write the documents and the log entry in one transaction; return its timestamp.

        Raises `SeqTaken`, `WriteConflict` or `WriteRefused`, and then nothing was written. A connection lost
        during the commit is settled in here by looking up `entry.batch`.
        """

    async def ask_for_turn(self) -> None:
        """Let the feeds of the other nodes bring a `TurnWanted` of this one."""

    async def read_log(self, after_seq: int, limit: int) -> list[LogEntry]:
        """Entries with numbers above `after_seq`, oldest first, at most `limit`.

        Raises `LogTrimmed` if one of them is not whole any more.
        """

    async def find_request(self, session_id: str, request_id: int) -> StoredRequest | None:
        """The stored outcome of a client's mutation, if it was committed."""

    def feed(self, after: Timestamp) -> AsyncIterator[FeedEvent]:
        """Everything that happened after `after` and was not appended by this object. Ends only by cancellation.

        Reconnects by itself; where it cannot resume it yields a `FeedGap`.
        """

    async def stats(self) -> Sequence[TableStats]: ...
