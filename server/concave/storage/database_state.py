"""Reading what a database holds, for pushes and inspections: collections, indexes, table numbers, all documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from concave.schema.catalog import Catalog
from concave.schema.diff import CollectionState, DatabaseState, IndexState
from concave.schema.validators import resolve_docs
from concave.storage.bson_documents import DocumentCodec
from concave.storage.lane import Codec, Lanes
from concave.storage.mongo_tables import SYSTEM_COLLECTIONS
from concave.values.types import Document

SCHEMA_ID: Final = "current"
PRE_IMAGES: Final = "changeStreamPreAndPostImages"
SCAN_BATCH: Final = 1_000


async def read_database_state(lanes: Lanes) -> DatabaseState:
    """The database as it is, for the differ. Collections of the engine itself are left out."""
    listed = await read_cursor(lanes, {"listCollections": 1, "cursor": {"batchSize": 10_000}})
    collections: dict[str, CollectionState] = {}
    names = [item for item in listed if item["type"] == "collection" and item["name"] not in SYSTEM_COLLECTIONS]

    async def read(item: Document) -> None:
        indexes = await read_cursor(lanes, {"listIndexes": item["name"], "cursor": {}})
        options = item.get("options", {})
        collections[item["name"]] = CollectionState(
            {index["name"]: _index_state(index) for index in indexes},
            options.get("validator"),
            enforced=options.get("validationLevel", "strict") == "strict"
            and options.get("validationAction", "error") == "error",
            pre_images=options.get(PRE_IMAGES, {}).get("enabled", False),
        )

    await asyncio.gather(*map(read, names))
    present = {item["name"] for item in listed}
    numbers = await read_numbers(lanes) if "_tables" in present else {}
    found = await find_all(lanes, "_schema", {"_id": SCHEMA_ID}) if "_schema" in present else []
    return DatabaseState(collections, numbers, found[0]["fingerprint"] if found else None)


def _index_state(index: Document) -> IndexState:
    keys = tuple((name, int(direction)) for name, direction in index["key"].items() if direction in (1, -1))
    return IndexState(keys, index.get("unique", False), index.get("partialFilterExpression"))


async def read_numbers(lanes: Lanes) -> dict[str, int]:
    return {item["_id"]: int(item["number"]) for item in await find_all(lanes, "_tables", {})}


def codec_of(catalog: Catalog, table: str) -> DocumentCodec:
    plan = catalog.table_plan(table)
    return DocumentCodec(plan.layout, resolve_docs(plan.document_type, catalog))


async def find_all(lanes: Lanes, collection: str, wanted: dict[str, Any]) -> list[Document]:
    """All documents of one of the engine's own, small collections."""
    command = {"find": collection, "filter": wanted, "batchSize": 20_000, "readConcern": {"level": "majority"}}
    return await read_cursor(lanes, command)


async def read_cursor(lanes: Lanes, command: dict[str, Any]) -> list[Document]:
    reply = await lanes.command(command)
    found: list[Document] = reply["cursor"]["firstBatch"]
    while reply["cursor"]["id"]:
        collection = reply["cursor"]["ns"].partition(".")[2]
        reply = await lanes.command({"getMore": reply["cursor"]["id"], "collection": collection})
        found += reply["cursor"]["nextBatch"]
    return found


async def document_batches(
    lanes: Lanes, collection: str, wanted: dict[str, Any], codec: Codec
) -> AsyncIterator[list[Document]]:
    """Documents in `_id` order, a thousand at a time or what fits into a reply. Each batch is a read of its own: a long
    walk outlives snapshots."""
    last: Any = None
    while True:
        command = {
            "find": collection,
            "filter": wanted,
            "sort": {"_id": 1},
            "hint": {"_id": 1},
            "limit": SCAN_BATCH,
            "batchSize": SCAN_BATCH,
            "singleBatch": True,
            "readConcern": {"level": "majority"},
        }
        if last is not None:
            # A bound of the index goes on from one type of `_id` to the next, which `$gt` does not. It is inclusive.
            command["min"] = {"_id": last}
        reply = await lanes.command(command, codec=codec)
        documents: list[Document] = [each for each in reply["cursor"]["firstBatch"] if each["_id"] != last]
        if not documents:
            return
        last = documents[-1]["_id"]
        yield documents
