"""Log entries as documents of `_commits` and back (`design.md` 3.4).

    {_id: seq, node, batch, schema, prevTs?,
     writes: [{table, id, before, after, by?}], turns?, requests?: [{key, session, rid, result, logs}]}

* `before` holds `_id`, `_creationTime` and the indexed fields; `after` is the whole document, or null.
* An entry cannot hold its own timestamp, which is not known before it is committed: `prevTs` is that of the entry
  before it, as far as the writer knew it.
* `by` is the function that wrote the document, for the messages of conflicts on other nodes.
* `schema` is the fingerprint of the writer's plan: a node with other indexes may find fields missing in `before`.
* An old entry has no `writes` any more; a much older one is gone (`log_trimmer.py`).
* Keys are not stored; they are computed from the documents, by the reader's indexes.
"""

from __future__ import annotations

from typing import Any, Final

from bson.int64 import Int64 as BsonLong
from bson.timestamp import Timestamp as BsonTimestamp

from concave.storage.mongo_tables import MongoTables
from concave.storage.store import DocumentWrite, LogEntry, RequestRecord
from concave.values.timestamps import from_cluster, to_cluster
from concave.values.types import Document, Timestamp

COMMITS: Final = "_commits"
REQUEST_KEY: Final = "requests.key"

ENTRY_BYTES_MAX: Final = 16 * 1024 * 1024 - 64 * 1024
"""MongoDB's limit on a document, less what the change stream wraps around an entry: the event must fit, too."""


def request_key(session_id: str, request_id: int) -> str:
    return f"{session_id}:{request_id}"


def bson_timestamp(ts: Timestamp) -> BsonTimestamp:
    return BsonTimestamp(*to_cluster(ts))


def from_bson_timestamp(ts: BsonTimestamp) -> Timestamp:
    return from_cluster(ts.time, ts.inc)


def snapshot_ts(reply: dict[str, Any]) -> Timestamp:
    """The timestamp of the snapshot that a read without one of its own was given.

    Of a collection that does not exist the server says none; then it is the newest time it knows of.
    """
    return from_bson_timestamp(reply["cursor"].get("atClusterTime", reply["operationTime"]))


def entry_document(entry: LogEntry, tables: MongoTables, *, prev_ts: Timestamp | None) -> Document:
    """The document of an entry; it shares the values of the entry's documents."""
    document: dict[str, Any] = {
        "_id": BsonLong(entry.seq),
        "node": entry.node,
        "batch": entry.batch,
        "schema": tables.fingerprint,
        "writes": [
            {
                "table": write.table,
                "id": write.id,
                "before": None if write.before is None else tables[write.table].project(write.before),
                "after": write.after,
            }
            for write in entry.writes
        ],
    }
    for write, function in zip(document["writes"], entry.functions, strict=False):
        write["by"] = function
    if entry.turns:
        document["turns"] = list(entry.turns)
    if prev_ts is not None:
        document["prevTs"] = bson_timestamp(prev_ts)
    if entry.requests:
        document["requests"] = [
            {
                "key": request_key(record.session_id, record.request_id),
                "session": record.session_id,
                "rid": BsonLong(record.request_id),
                "result": record.result_json.decode(),
                "logs": list(record.log_lines),
            }
            for record in entry.requests
        ]
    return document


def entry_from_document(document: Document, tables: MongoTables, ts: Timestamp) -> LogEntry:
    """The entry, with keys by the indexes of `tables`; writes of tables that it lacks have no keys."""
    return LogEntry(
        seq=int(document["_id"]),
        node=document["node"],
        batch=document["batch"],
        writes=tuple([_write(write, tables) for write in document["writes"]]),
        requests=tuple([_record(record) for record in document.get("requests", ())]),
        ts=ts,
        functions=tuple([write.get("by", "") for write in document["writes"]]),
        turns=tuple(document.get("turns", ())),
    )


def record_from_document(document: Document, session_id: str, request_id: int) -> RequestRecord:
    """The record of one request out of an entry that holds it."""
    key = request_key(session_id, request_id)
    return next(_record(record) for record in document["requests"] if record["key"] == key)


def _write(write: dict[str, Any], tables: MongoTables) -> DocumentWrite:
    table = tables.find(write["table"])
    if table is None:
        return DocumentWrite(write["table"], write["id"], write["before"], write["after"], ())
    return table.write(write["id"], write["before"], write["after"])


def _record(record: dict[str, Any]) -> RequestRecord:
    return RequestRecord(record["session"], int(record["rid"]), record["result"].encode(), tuple(record["logs"]))
