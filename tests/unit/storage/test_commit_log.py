"""Log entries as BSON documents and back."""

from __future__ import annotations

import bson
import pytest

from concave.schema.catalog import Catalog
from concave.schema.definition import define_table
from concave.schema.plan import compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v
from concave.storage.bson_documents import LOG_ENTRIES
from concave.storage.commit_log import (
    bson_timestamp,
    entry_document,
    entry_from_document,
    from_bson_timestamp,
    record_from_document,
)
from concave.storage.mongo_tables import MongoTables
from concave.storage.store import LogEntry, RequestRecord
from concave.values.types import Int64, Timestamp


@pytest.fixture
def tables() -> MongoTables:
    plan = compile_plan(Schema({"t": define_table(a=v.any(), b=v.any()).index("by_a", ["a"])}))
    return MongoTables(Catalog(plan, {"t": 10_001}))


def entry(tables: MongoTables) -> LogEntry:
    before = {"_id": "x", "_creationTime": 1.0, "a": Int64(1), "b": "dropped"}
    after = {"_id": "x", "_creationTime": 1.0, "a": [Int64(1), 1.0, b"\0"], "b": {"": None}}
    return LogEntry(
        seq=2**40,
        node="n",
        batch="b",
        writes=(tables["t"].write("x", before, after), tables["t"].write("y", {**before, "_id": "y"}, None)),
        requests=(RequestRecord("s", 2**33, '"ü"'.encode(), ("one", "two")), RequestRecord("s", 1, b"null", ())),
    )


def test_an_entry_survives_bson(tables: MongoTables) -> None:
    original = entry(tables)
    stored = bson.encode(entry_document(original, tables, prev_ts=Timestamp(5_000_000_003)))
    document = bson.decode(stored, LOG_ENTRIES)
    assert from_bson_timestamp(document["prevTs"]) == 5_000_000_003
    read = entry_from_document(document, tables, Timestamp(7))
    assert (read.seq, read.node, read.batch, read.ts) == (original.seq, "n", "b", 7)
    assert read.requests == original.requests
    assert [repr(write.after) for write in read.writes] == [repr(write.after) for write in original.writes]
    assert [write.keys for write in read.writes] == [write.keys for write in original.writes]
    assert read.writes[0].before == {"_id": "x", "_creationTime": 1.0, "a": Int64(1)}
    assert record_from_document(document, "s", 1) == original.requests[1]


def test_what_is_empty_is_left_out(tables: MongoTables) -> None:
    document = entry_document(LogEntry(1, "n", "b", ()), tables, prev_ts=None)
    assert document.keys() == {"_id", "node", "batch", "schema", "writes"}


def test_tables_of_another_schema_have_no_keys(tables: MongoTables) -> None:
    document = entry_document(entry(tables), tables, prev_ts=None)
    assert [write.keys for write in entry_from_document(document, MongoTables(), Timestamp(1)).writes] == [(), ()]


def test_timestamps_are_cluster_times() -> None:
    ts = Timestamp(1_700_000_000_000_000_009)
    assert (bson_timestamp(ts).time, bson_timestamp(ts).inc) == (1_700_000_000, 9)
    assert from_bson_timestamp(bson_timestamp(ts)) == ts
