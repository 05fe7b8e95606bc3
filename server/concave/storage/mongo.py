"""`MongoStore`: the contract of `store.py` kept in MongoDB 6.0 or later.

Reads are raw `find` commands at a cluster time; commits are in `batch_writer.py`, the change feed in `feed.py`, pushes
in `push.py`. All of them speak through lanes (`lane.py`).

* Reads go to the primary, with read concern `snapshot` at the timestamp asked for; the server waits where that is ahead
  of what a majority has.
* Every command has a deadline; reads are tried again on a new connection, writes only where it is known that nothing
  happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from bson.errors import InvalidBSON
from bson.int64 import Int64 as BsonLong
from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import ConnectionFailure, InvalidURI, OperationFailure
from pymongo.uri_parser import parse_uri

from concave.schema.catalog import Catalog
from concave.schema.diff import DatabaseState, diff
from concave.schema.plan import IndexLayout, Plan
from concave.storage.auth_records import AuthRecords
from concave.storage.batch_writer import BatchWriter
from concave.storage.bson_documents import LOG_ENTRIES, ForeignTypeError
from concave.storage.checkup import Checkup, Report
from concave.storage.commit_log import (
    COMMITS,
    REQUEST_KEY,
    bson_timestamp,
    entry_from_document,
    from_bson_timestamp,
    record_from_document,
    request_key,
    snapshot_ts,
)
from concave.storage.database_state import read_database_state
from concave.storage.feed import ChangeFeed
from concave.storage.lane import PLAIN, Codec, Lanes, Reply
from concave.storage.log_trimmer import LogRetention, LogTrimmer
from concave.storage.mongo_tables import MONGO_ID_INDEX, TURNS, MongoTable, MongoTables
from concave.storage.node_registry import NodeRegistry, Position
from concave.storage.push import SchemaPush
from concave.storage.store import (
    FeedEvent,
    LogEntry,
    LogTrimmed,
    Order,
    PushProgress,
    SnapshotTooOld,
    StoredRequest,
    StoreError,
    StoreUnavailable,
    TableStats,
    stored_document_invalid,
)
from concave.storage.stored_documents import UNDECODED, decoded, index_missing
from concave.storage.table_numbers import missing_numbers
from concave.values.errors import ConfigurationError
from concave.values.runtime import Runtime
from concave.values.types import Document, Timestamp

SERVER_SELECTION_MS: Final = 10_000
WIRE_VERSION_MIN: Final = 17
"""MongoDB 6.0."""

READ_MS_MAX: Final = 15_000
"""How long the server may work on one read; a read at a future timestamp waits within it."""

_SNAPSHOT_GONE: Final = frozenset((239, 246))
"""SnapshotTooOld, and SnapshotUnavailable: a collection or index is younger than the snapshot."""


_INDEX_MISFITS: Final = frozenset((2, 51174, 51175, 51176))
"""BadValue, of a hint that names no index; and min or max that do not fit the one that it names."""


class MongoStore:
    """A node's handle on a database. `uri` names the database: `mongodb://host/NAME?...`."""

    def __init__(self, uri: str, *, runtime: Runtime, node: str) -> None:
        """Connects nowhere yet. Raises `ConfigurationError` if the URI is none or names no database."""
        try:
            database = parse_uri(uri)["database"]
        except (InvalidURI, DriverConfigurationError, ValueError) as error:
            raise ConfigurationError(f"{_without_password(uri)!r} is no MongoDB URI: {error}") from error
        if not database:
            raise ConfigurationError(
                f"the MongoDB URI {_without_password(uri)!r} names no database: write mongodb://host:port/NAME"
            )
        self._database: str = database
        self._uri = uri
        self._node = node
        self._runtime = runtime
        self._tables = MongoTables()
        self._last: tuple[int, Timestamp] | None = None
        """Number and timestamp of the newest entry that this store appended or heard of."""
        self._client: AsyncMongoClient[dict[str, Any]] | None = None
        self._opened: tuple[Lanes, BatchWriter] | None = None

    async def start(self) -> None:
        selection: dict[str, Any] = {}
        if "serverselectiontimeoutms" not in self._uri.lower():
            selection["serverSelectionTimeoutMS"] = SERVER_SELECTION_MS
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(self._uri, appname="concave", **selection)
        try:
            hello = await client.admin.command("hello")
            _check_server(hello, _without_password(self._uri))
        except (ConnectionFailure, OperationFailure, ConfigurationError) as error:
            await client.close()
            if isinstance(error, ConfigurationError):
                raise
            raise ConfigurationError(
                f"MongoDB at {_without_password(self._uri)} cannot be used: {_reason(error)}\n"
                "Start it, correct the URI, or run `concave dev`, which brings a MongoDB of its own."
            ) from error
        self._client = client
        lanes = Lanes(client, self._database)
        self._opened = lanes, BatchWriter(client, lanes, self._database, self._runtime)

    async def close(self) -> None:
        if self._opened is not None:
            lanes, writer = self._opened
            await writer.close()
            await lanes.close()
            self._opened = None
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def push(self, plan: Plan, *, progress: PushProgress | None = None, repair: bool = False) -> Catalog:
        """As the contract says; `repair` also corrects encoded index columns that another program let go stale."""
        catalog = await SchemaPush(self._lanes, self._runtime, plan, progress, repair=repair).run()
        self._tables = MongoTables(catalog)
        return catalog

    async def adopt(self, plan: Plan) -> Catalog:
        """Take a plan that has been pushed before, without changing the database; from here on the store reads and
        writes by the returned catalog. Raises `ConfigurationError` if the database lacks something."""
        state = await read_database_state(self._lanes)
        missing = diff(plan, state).creates
        if missing or missing_numbers(state.tables, plan.user_tables):
            raise ConfigurationError(
                f"the database lacks {len(missing)} of the tables and indexes that the app declares: "
                "run `concave schema push`"
            )
        catalog = Catalog(plan, state.tables)
        self._tables = MongoTables(catalog)
        return catalog

    async def database_state(self) -> DatabaseState:
        """The database as it is, for `schema.diff`."""
        return await read_database_state(self._lanes)

    async def check_up(self, plan: Plan, *, sample: int | None, progress: PushProgress | None = None) -> Report:
        """What is wrong with the database, seen from a plan; see `Checkup`. Changes nothing."""
        return await Checkup(self._lanes, plan, sample, progress).run()

    async def current_ts(self) -> Timestamp:
        reply = await self._read(
            {"find": COMMITS, "filter": {"_id": 0}, "limit": 1, "readConcern": {"level": "snapshot"}}, PLAIN
        )
        return snapshot_ts(reply)

    async def last_seq(self, ts: Timestamp) -> int:
        command = {"find": COMMITS, "filter": {}, "projection": {"_id": 1}, "sort": {"_id": -1}, "limit": 1}
        found = (await self._read(command | _at(ts), PLAIN))["cursor"]["firstBatch"]
        return int(found[0]["_id"]) if found else 0

    async def get(self, table: str, id: str, ts: Timestamp) -> Document | None:
        held = self._table(table)
        if held is None:
            return None
        command = {"find": table, "filter": {"_id": id}, "limit": 1, "singleBatch": True, **_at(ts)}
        try:
            found: list[Document] = (await self._read(command, held.codec.options))["cursor"]["firstBatch"]
            return held.codec.finish(found)[0] if found else None
        except (InvalidBSON, ForeignTypeError) as error:
            raise await self._explain(held, command, error) from error

    async def scan(
        self, table: str, index: IndexLayout, low: bytes, high: bytes, *, order: Order, limit: int, ts: Timestamp
    ) -> list[Document]:
        held = self._table(table)
        bounds = held.bounds(index).range(low, high) if held is not None and limit > 0 else None
        if held is None or bounds is None:
            return []
        direction = 1 if order == "asc" else -1
        command: dict[str, Any] = {
            "find": table,
            "filter": {},
            "hint": MONGO_ID_INDEX if index.name == "by_id" else index.name,
            "sort": {column.mongo_field: direction for column in index.columns},
            "limit": limit,
            "batchSize": limit,
            **_at(ts),
        }
        if bounds.min is not None:
            command["min"] = bounds.min
        if bounds.max is not None:
            command["max"] = bounds.max
        try:
            reply = await self._read(command, held.codec.options)
            documents: list[Document] = reply["cursor"]["firstBatch"]
            # Open only if the server stopped at 16 MiB.
            while reply["cursor"]["id"]:
                more = {"getMore": reply["cursor"]["id"], "collection": table}
                reply = await self._read(more, held.codec.options)
                documents += reply["cursor"]["nextBatch"]
            return held.codec.finish(documents)
        except (InvalidBSON, ForeignTypeError) as error:
            raise await self._explain(held, command, error) from error

    async def count(self, table: str, ts: Timestamp) -> int:
        if self._table(table) is None:
            return 0
        pipeline: list[dict[str, Any]] = [{"$count": "n"}]
        command = {"aggregate": table, "pipeline": pipeline, "cursor": {}, "hint": MONGO_ID_INDEX, **_at(ts)}
        found = (await self._read(command, PLAIN))["cursor"]["firstBatch"]
        return int(found[0]["n"]) if found else 0

    async def append(self, entry: LogEntry) -> Timestamp:
        _, writer = self._open
        prev_ts = self._last[1] if self._last is not None and self._last[0] == entry.seq - 1 else None
        ts = await writer.commit(entry, self._tables, prev_ts=prev_ts)
        self._last = entry.seq, ts
        return ts

    async def ask_for_turn(self) -> None:
        # A number makes each replacement a change, which change streams tell of.
        wanted = {"node": self._node, "n": int.from_bytes(self._runtime.random_bytes(4), "big")}
        statement = {"q": {"_id": "wanted"}, "u": wanted, "upsert": True}
        await self._read({"update": TURNS, "updates": [statement], "writeConcern": {"w": 1}}, PLAIN)

    async def read_log(self, after_seq: int, limit: int) -> list[LogEntry]:
        """As the contract says. An entry's timestamp is exact where the entry after it knows it; else it is a later
        one, at which the entry is visible."""
        if limit <= 0:
            return []
        # One more than asked for: it knows the timestamp of the last one.
        wanted = {"_id": {"$gt": BsonLong(after_seq)}}
        command = {"find": COMMITS, "filter": wanted, "sort": {"_id": 1}, "limit": limit + 1}
        reply = await self._read(command | {"readConcern": {"level": "snapshot"}, "singleBatch": True}, LOG_ENTRIES)
        found: list[Document] = reply["cursor"]["firstBatch"]
        latest = snapshot_ts(reply)
        numbers = [int(document["_id"]) for document in found]
        if any("writes" not in document for document in found[:limit]) or (
            numbers and numbers != list(range(after_seq + 1, after_seq + 1 + len(numbers)))
        ):
            raise LogTrimmed(f"the log is not whole behind entry {after_seq}: older entries are trimmed")
        stamps = [_prev_ts(following) or latest for following in found[1:]] + [latest]
        return [
            entry_from_document(document, self._tables, ts) for document, ts in zip(found[:limit], stamps, strict=False)
        ]

    async def find_request(self, session_id: str, request_id: int) -> StoredRequest | None:
        """As the contract says, with the timestamp as `read_log` gives it."""
        key = request_key(session_id, request_id)
        command = {"find": COMMITS, "filter": {REQUEST_KEY: key}, "projection": {"requests": 1}, "limit": 1}
        found = await self._find_majority(command)
        if not found:
            return None
        seq = found[0]["_id"]
        following = await self._find_majority(
            {"find": COMMITS, "filter": {"_id": BsonLong(seq + 1)}, "projection": {"prevTs": 1}, "limit": 1}
        )
        ts = (_prev_ts(following[0]) if following else None) or await self.current_ts()
        return StoredRequest(record_from_document(found[0], session_id, request_id), ts)

    def feed(self, after: Timestamp) -> AsyncIterator[FeedEvent]:
        lanes, writer = self._open
        assert self._client is not None
        changes = ChangeFeed(
            self._client,
            lanes,
            self._runtime,
            lambda: self._tables,
            own_session=writer.session_id,
            heard_of=self._heard_of,
        )
        return changes.events(after)

    def _heard_of(self, seq: int, ts: Timestamp) -> None:
        if self._last is None or seq > self._last[0]:
            self._last = seq, ts

    def registry(self, position: Position) -> NodeRegistry:
        """The live nodes of the database, of which this one, at `position`, is to be one."""
        return NodeRegistry(self._lanes, self._runtime, node=self._node, position=position)

    def auth_records(self) -> AuthRecords:
        """Accounts and sessions of the built-in auth provider."""
        return AuthRecords(self._lanes)

    def log_trimmer(self, registry: NodeRegistry, retention: LogRetention) -> LogTrimmer:
        return LogTrimmer(self._lanes, registry, self._runtime, node=self._node, retention=retention)

    async def stats(self) -> Sequence[TableStats]:
        catalog = self._tables.catalog
        return [await self._table_stats(name) for name in sorted(catalog.plan.tables)] if catalog is not None else []

    async def _table_stats(self, name: str) -> TableStats:
        pipeline: list[dict[str, Any]] = [{"$collStats": {"storageStats": {}}}]
        reply = await self._read({"aggregate": name, "pipeline": pipeline, "cursor": {}}, PLAIN)
        found = [shard["storageStats"] for shard in reply["cursor"]["firstBatch"]]
        index_bytes: dict[str, int] = {}
        for shard in found:
            for index, size in shard["indexSizes"].items():
                shown = "by_id" if index == MONGO_ID_INDEX else index
                index_bytes[shown] = index_bytes.get(shown, 0) + int(size)
        return TableStats(
            name,
            sum(int(shard["count"]) for shard in found),
            sum(int(shard["size"]) for shard in found),
            index_bytes,
        )

    def _table(self, name: str) -> MongoTable | None:
        return self._tables.find(name)

    async def _find_majority(self, command: dict[str, Any]) -> list[Document]:
        reply = await self._read(command | {"readConcern": {"level": "majority"}}, PLAIN)
        found: list[Document] = reply["cursor"]["firstBatch"]
        return found

    async def _explain(self, table: MongoTable, command: dict[str, Any], error: Exception) -> Exception:
        """The error that names which of the documents that the command finds cannot be read, and why."""
        reply = await self._read(command, UNDECODED)
        documents: list[Any] = reply["cursor"]["firstBatch"]
        while reply["cursor"]["id"]:
            reply = await self._read({"getMore": reply["cursor"]["id"], "collection": table.name}, UNDECODED)
            documents += reply["cursor"]["nextBatch"]
        for document in documents:
            problem = decoded(document, table.codec)
            if isinstance(problem, str):
                return stored_document_invalid(table.name, document["_id"], problem)
        return StoreError(f"a document in {table.name} cannot be read: {error}")

    async def _read(self, command: dict[str, Any], codec: Codec) -> Reply:
        try:
            return await self._lanes.command(command, codec=codec)
        except OperationFailure as error:
            if error.code in _SNAPSHOT_GONE:
                raise SnapshotTooOld(str(error)) from error
            if error.code in _INDEX_MISFITS and command.get("hint", MONGO_ID_INDEX) != MONGO_ID_INDEX:
                raise index_missing(command["find"], command["hint"], str(error)) from error
            raise StoreError(f"MongoDB refused to read: {error}") from error

    @property
    def _open(self) -> tuple[Lanes, BatchWriter]:
        if self._opened is None:
            raise StoreUnavailable("the store is not started, or closed")
        return self._opened

    @property
    def _lanes(self) -> Lanes:
        return self._open[0]


def _at(ts: Timestamp) -> dict[str, Any]:
    return {"readConcern": {"level": "snapshot", "atClusterTime": bson_timestamp(ts)}, "maxTimeMS": READ_MS_MAX}


def _prev_ts(document: Document) -> Timestamp | None:
    prev_ts = document.get("prevTs")
    return None if prev_ts is None else from_bson_timestamp(prev_ts)


def _check_server(hello: dict[str, Any], uri: str) -> None:
    if hello.get("maxWireVersion", 0) < WIRE_VERSION_MIN:
        raise ConfigurationError(f"the MongoDB at {uri} is older than 6.0: install 6.0 or later")
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise ConfigurationError(
            f"the MongoDB at {uri} is a standalone server, without transactions and change streams.\n"
            "Start mongod with `--replSet rs0` and run `rs.initiate()` in mongosh once, or run `concave dev`, which "
            "brings a MongoDB of its own."
        )


def _reason(error: Exception) -> str:
    """What the driver says, without the state of its topology that it appends."""
    return str(error).partition(", Timeout: ")[0]


def _without_password(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    credentials, at, hosts = rest.rpartition("@")
    if not at:
        return uri
    return f"{scheme}{separator}{credentials.partition(':')[0]}:***@{hosts}"
