"""The change feed: one database-level change stream per node (`design.md` 3.8).

It brings other nodes' log entries and foreign writes; this node's own transactions are left out by the server, which
knows them by their session. Foreign writes are what no log entry announced: documents changed in another transaction
than the newest entry's.

* Events come in cluster time order; the entry of a transaction comes before its documents.
* `FeedProgress` follows from the stream's resume token, so an idle node's time moves on, too.
* After a lost connection the stream goes on behind the last batch. Where the server has no history left, or cannot
  deliver an event, all is taken as changed (`FeedGap`) and the stream starts again from now: late, never wrong.
* A foreign update or delete is precise where the collection keeps pre-images (`define_table(...).pre_images()`) and the
  table has no encoded index columns; else the whole table is taken as changed. The new document is the one that is
  there when the event is read: where it has changed again by then, the next event brings the keys in between.
* A dropped or renamed collection, and indexes that come and go, change the whole table: a query that failed for want of
  an index runs again when it is back.
* A foreign document whose encoded index columns are missing or stale gets them here; the repair is a foreign write
  itself, so queries that ran before it run again.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Any, Final

import bson
from bson.binary import Binary
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from bson.timestamp import Timestamp as BsonTimestamp
from pymongo import AsyncMongoClient
from pymongo.errors import ConnectionFailure, OperationFailure
from pymongo.helpers_shared import _check_command_response

from concave.schema.json_schema import HIDDEN_FIELD
from concave.storage.bson_documents import LOG_ENTRIES
from concave.storage.commit_log import COMMITS, bson_timestamp, entry_from_document, from_bson_timestamp, snapshot_ts
from concave.storage.lane import COMMAND_TIMEOUT_S, Lane, Lanes, document_of
from concave.storage.mongo_tables import SYSTEM_COLLECTIONS, TURNS, MongoTable, MongoTables
from concave.storage.store import (
    FeedEvent,
    FeedGap,
    FeedProgress,
    ForeignWrite,
    RemoteCommit,
    StoreError,
    TurnWanted,
)
from concave.values.runtime import Runtime
from concave.values.timestamps import from_cluster
from concave.values.types import Document, Timestamp

logger = logging.getLogger(__name__)

AWAIT_MS: Final = 250
"""How long the server holds a request that has nothing to say. An idle node's time moves on in such steps."""

BACKOFF_S_MAX: Final = 5.0
_CHANGES: Final = ("insert", "update", "replace", "delete")
_LOSSES: Final = ("drop", "rename", "dropIndexes")
_OPERATIONS: Final = (*_CHANGES, *_LOSSES, "create", "createIndexes", "dropDatabase", "invalidate")
_RAW: Final[CodecOptions[Any]] = CodecOptions(document_class=RawBSONDocument)
_CURSOR_COLLECTION: Final = "$cmd.aggregate"
_KEY_STRING_TIMESTAMP: Final = 0x82
_CURSOR_NOT_FOUND: Final = 43


class _HistoryLostError(Exception):
    """The stream cannot go on where it was."""


class ChangeFeed:
    """One reader of the change stream. `tables` is asked anew for each event, as a push changes it. `heard_of` is told
    the number and the timestamp of each entry."""

    def __init__(
        self,
        client: AsyncMongoClient[dict[str, Any]],
        lanes: Lanes,
        runtime: Runtime,
        tables: Callable[[], MongoTables],
        *,
        own_session: Binary,
        heard_of: Callable[[int, Timestamp], None],
    ) -> None:
        self._client = client
        self._lanes = lanes
        self._runtime = runtime
        self._tables = tables
        self._own_session = own_session
        self._heard_of = heard_of
        self._commit: tuple[bytes, int] | None = None
        """Session and number of the transaction that brought the newest log entry."""
        self._repairs: list[tuple[str, str, Any, dict[str, str]]] = []
        """(table, id, what is there, encoded columns) of documents that lack them."""

    async def events(self, after: Timestamp) -> AsyncGenerator[FeedEvent, None]:
        """Everything after `after`, until cancelled."""
        # The stream starts at `after` itself, and what happened then is dropped here: until the server has seen
        # something newer, its token names the time the stream started at, and a later time need not have come yet.
        start = _start_at(after)
        failures = 0
        while True:
            try:
                async with aclosing(self._batches(start)) as batches:
                    async for batch, token in batches:
                        failures = 0
                        for event in batch:
                            for seen in self._translate(event, after):
                                yield seen
                        await self._repair()
                        start = {"resumeAfter": token}
                        covered = _covered(token, batch)
                        if covered > after:
                            yield FeedProgress(covered)
            except (ConnectionFailure, StoreError) as error:
                logger.info("the change stream was lost (%s); resuming", error)
            except (OperationFailure, _HistoryLostError) as error:
                gap = None if _is_resumable(error) else await self._gap()
                if gap is not None:
                    logger.warning("the change stream cannot be resumed (%s); starting again from now", error)
                    after = gap.ts
                    start = _start_at(after)
                    yield gap
            failures += 1
            await self._runtime.sleep(min(0.05 * 2**failures, BACKOFF_S_MAX))

    async def _batches(self, start: dict[str, Any]) -> AsyncGenerator[tuple[list[Any], Any], None]:
        """The stream's batches of raw events, each with the token behind it; an empty one at least every `AWAIT_MS`."""
        lane = await Lane.open(self._client)
        cursor = 0
        try:
            reply = await self._run(lane, {"aggregate": 1, "pipeline": self._pipeline(start), "cursor": {}})
            while True:
                cursor = reply["cursor"]["id"]
                batch = reply["cursor"].get("nextBatch") or reply["cursor"].get("firstBatch") or []
                yield list(batch), reply["cursor"]["postBatchResumeToken"]
                if not cursor:
                    raise _HistoryLostError("the server closed the stream")
                command = {"getMore": cursor, "collection": _CURSOR_COLLECTION, "maxTimeMS": AWAIT_MS}
                reply = await self._run(lane, command)
        finally:
            await lane.close()
            if cursor:
                await self._kill(cursor)

    async def _run(self, lane: Lane, command: dict[str, Any]) -> Any:
        message = lane.encode(command, self._lanes.database)
        body = (await lane.run((message,), COMMAND_TIMEOUT_S))[0]
        reply: Any = bson.decode(bytes(document_of(body)), _RAW)
        if reply["ok"] != 1:
            _check_command_response(bson.decode(reply.raw), None)
        return reply

    async def _kill(self, cursor: int) -> None:
        try:
            await self._lanes.command({"killCursors": _CURSOR_COLLECTION, "cursors": [cursor]})
        except (StoreError, OperationFailure):
            return  # the server that held it is gone, and the cursor with it

    async def _gap(self) -> FeedGap | None:
        """Where to start again, or None if the database does not answer."""
        newest = {"find": COMMITS, "filter": {}, "projection": {"_id": 1}, "sort": {"_id": -1}, "limit": 1}
        try:
            reply = await self._lanes.command(newest | {"readConcern": {"level": "snapshot"}})
        except (StoreError, OperationFailure) as error:
            logger.warning("the database does not say where it is: %s", error)
            return None
        found = reply["cursor"]["firstBatch"]
        return FeedGap(snapshot_ts(reply), int(found[0]["_id"]) if found else 0)

    def _pipeline(self, start: dict[str, Any]) -> list[dict[str, Any]]:
        hidden = [name for name in SYSTEM_COLLECTIONS if name not in (COMMITS, TURNS)]
        stream = {
            "fullDocument": "updateLookup",
            "fullDocumentBeforeChange": "whenAvailable",
            "showExpandedEvents": True,  # indexes come and go
            **start,
        }
        wanted = {
            "lsid.id": {"$ne": self._own_session},
            "ns.coll": {"$nin": hidden},
            "operationType": {"$in": _OPERATIONS},
            # What the trimmer does to old entries concerns nobody.
            "$or": [{"ns.coll": {"$ne": COMMITS}}, {"operationType": {"$nin": ("update", "delete")}}],
        }
        return [{"$changeStream": stream}, {"$match": wanted}]

    def _translate(self, event: Any, after: Timestamp) -> Iterator[FeedEvent]:
        operation: str = event["operationType"]
        ts = from_bson_timestamp(event["clusterTime"])
        if ts <= after:
            return
        if operation in ("dropDatabase", "invalidate"):
            raise _HistoryLostError(f"the database was dropped ({operation})")
        collection: str = event["ns"]["coll"]
        transaction = (bytes(event["lsid"]["id"]), int(event["txnNumber"])) if "txnNumber" in event else None
        if collection == COMMITS:
            if operation == "insert":
                self._commit = transaction
                yield from self._remote_commit(event["fullDocument"], ts)
            return
        if collection == TURNS:
            node = (event.get("fullDocument") or {}).get("node")
            if operation in ("insert", "replace") and isinstance(node, str):
                yield TurnWanted(node, ts)
            return
        if transaction is not None and transaction == self._commit:
            return  # the log entry said it all
        table = self._tables().find(collection)
        if table is not None:
            yield self._foreign_write(table, operation, event, ts)
        if operation == "rename" and (target := self._tables().find(event["to"]["coll"])) is not None:
            yield ForeignWrite(target.name, ts, None, precise=False)

    def _remote_commit(self, raw: Any, ts: Timestamp) -> Iterator[FeedEvent]:
        tables = self._tables()
        try:
            document = bson.decode(raw.raw, LOG_ENTRIES)
            entry = entry_from_document(document, tables, ts)
        except (BSONError, KeyError, TypeError, ValueError) as error:
            raise _HistoryLostError(f"a log entry cannot be read: {error}") from error
        if document.get("schema") != tables.fingerprint:
            # The writer has other indexes: it may have left out of `before` what ours need.
            for name in {write.table for write in entry.writes}:
                yield ForeignWrite(name, ts, None, precise=False)
        self._heard_of(entry.seq, ts)
        yield RemoteCommit(entry)

    def _foreign_write(self, table: MongoTable, operation: str, event: Any, ts: Timestamp) -> ForeignWrite:
        if operation not in _CHANGES:
            if operation in _LOSSES:
                logger.warning(
                    "table %s lost its collection or an index (%s): `concave doctor` says what is missing and "
                    "`concave schema push` creates it again",
                    table.name,
                    operation,
                )
            return ForeignWrite(table.name, ts, None, precise=False)
        document_id = event["documentKey"].get("_id")
        try:
            if not isinstance(document_id, str):
                raise TypeError("its _id is no string")
            after = self._document(table, event.get("fullDocument"), repair=True)
            before = self._document(table, event.get("fullDocumentBeforeChange"), repair=False)
            write = table.write(document_id, before, after)
        except (BSONError, TypeError, ValueError, KeyError) as error:
            logger.warning("a foreign %s in %s cannot be read (%s): %s", operation, table.name, error, document_id)
            return ForeignWrite(table.name, ts, None, precise=False)
        if operation == "insert":
            known = after is not None
        elif operation == "delete":
            known = before is not None
        else:
            known = before is not None and after is not None
        return ForeignWrite(table.name, ts, write, precise=known and not table.codec.has_hidden)

    def _document(self, table: MongoTable, raw: Any, *, repair: bool) -> Document | None:
        if raw is None:
            return None
        decoded = bson.decode(raw.raw, table.codec.options)
        hidden = decoded.get(HIDDEN_FIELD)
        document = table.codec.finish([decoded])[0]
        if repair and table.codec.has_hidden:
            wanted = table.layout.hidden(document)
            if wanted is not None and wanted != hidden:
                self._repairs.append((table.name, document["_id"], hidden, wanted))
        return document

    async def _repair(self) -> None:
        """Write the missing columns. Another node may do the same: then one of the two changes nothing."""
        repairs, self._repairs = self._repairs, []
        for table, document_id, found, hidden in repairs:
            # Whoever writes the document meanwhile writes its columns, too.
            statement = {"q": {"_id": document_id, HIDDEN_FIELD: found}, "u": {"$set": {HIDDEN_FIELD: hidden}}}
            command = {
                "update": table,
                "updates": [statement],
                "bypassDocumentValidation": True,
                "writeConcern": {"w": "majority"},
            }
            try:
                await self._lanes.command(command)
            except OperationFailure as error:
                logger.warning("the index columns of %s/%s could not be written: %s", table, document_id, error)


def token_timestamp(token: Any) -> Timestamp:
    """The cluster time in a resume token: behind its type byte, seconds and increment as big-endian 32-bit numbers.

    The token's layout is not promised by MongoDB; the conformance suite checks it against the server in use.
    """
    data = bytes.fromhex(token["_data"][:18])
    assert data[0] == _KEY_STRING_TIMESTAMP, f"a resume token of an unknown form: {token['_data']}"
    return from_cluster(int.from_bytes(data[1:5], "big"), int.from_bytes(data[5:9], "big"))


def _is_resumable(error: Exception) -> bool:
    return isinstance(error, OperationFailure) and (
        error.code == _CURSOR_NOT_FOUND or error.has_error_label("ResumableChangeStreamError")
    )


def _covered(token: Any, batch: list[Any]) -> Timestamp:
    """Up to when a batch is complete. The token of its last event leaves open whether more happened at that time."""
    ts = token_timestamp(token)
    if batch and batch[-1]["_id"]["_data"] == token["_data"]:
        return Timestamp(ts - 1)
    return ts


def _start_at(ts: Timestamp) -> dict[str, BsonTimestamp]:
    return {"startAtOperationTime": bson_timestamp(ts)}
