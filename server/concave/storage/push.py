"""Making a database fit a plan (`data-model.md` 5.3), and reading what a database has.

Order of a push: look; check the documents that are there; number the new tables; create collections; set validators;
give documents their encoded index columns; build indexes; remember the plan. Up to and including the check nothing is
changed. Each step may be repeated, and two nodes may push at once: what the other one did already is no error.

* Nothing is removed, but an index whose columns changed is dropped and built anew under its name.
* A plan that the database has already costs a few reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import bson
import orjson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from pymongo.errors import DuplicateKeyError, OperationFailure

from concave.schema.catalog import Catalog
from concave.schema.diff import Change, CollectionState, DatabaseState, IndexState, diff
from concave.schema.json_schema import HIDDEN_FIELD
from concave.schema.plan import MongoIndex, Plan
from concave.schema.validators import resolve_docs
from concave.storage.bson_documents import DocumentCodec, ForeignTypeError, foreign_value
from concave.storage.commit_log import COMMITS, REQUEST_KEY
from concave.storage.document_check import BAD_DOCUMENTS_MAX, DocumentCheck, system_field_problem
from concave.storage.lane import Codec, Lanes
from concave.storage.mongo_tables import SYSTEM_COLLECTIONS
from concave.storage.store import BadDocument, PushProgress, PushRefused, StoreError
from concave.storage.table_numbers import missing_numbers
from concave.values.runtime import Runtime
from concave.values.types import Document

T = TypeVar("T")

PARALLEL_MAX: Final = 8
"""Collections that are worked on at a time."""

INDEX_BUILD_TIMEOUT_S: Final = 6 * 3600.0
SCAN_BATCH: Final = 1_000
NUMBERING_ATTEMPTS: Final = 5

_UNDECODED: Final[Any] = CodecOptions(document_class=RawBSONDocument)
_AS_FOUND: Final[Codec] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
_MAJORITY: Final = {"w": "majority"}
_NAMESPACE_EXISTS: Final = 48
_NAMESPACE_NOT_FOUND: Final = 26
_INDEX_NOT_FOUND: Final = 27
_SCHEMA_ID: Final = "current"


class SchemaPush:
    """One push. `progress` is called after each step of the long parts."""

    def __init__(self, lanes: Lanes, runtime: Runtime, plan: Plan, progress: PushProgress | None) -> None:
        self._lanes = lanes
        self._runtime = runtime
        self._plan = plan
        self._progress = progress

    async def run(self) -> Catalog:
        """Returns the catalog. Raises `PushRefused`, and `StoreError` where the server refuses a step."""
        try:
            return await self._run()
        except OperationFailure as error:
            raise StoreError(f"MongoDB refused a step of the push: {error}") from error
        except InvalidBSON as error:
            raise StoreError(f"the database holds a document that no Convex value can stand for: {error}") from error

    async def _run(self) -> Catalog:
        plan = self._plan
        state = await read_database_state(self._lanes)
        difference = diff(plan, state)
        tentative = Catalog(plan, state.tables | missing_numbers(state.tables, plan.user_tables))
        if difference.is_empty and not missing_numbers(state.tables, plan.user_tables):
            return tentative
        stored = await self._stored_types()
        types = _document_types(tentative)
        changed = [name for name in plan.tables if name in state.collections and types[name] != stored.get(name)]
        unique = {change.table for change in difference.creates if change.index is not None and change.index.unique}
        await self._check_documents(tentative, sorted({*changed, *(unique & state.collections.keys())}))
        await self._create_system_collections(state)
        catalog = Catalog(plan, await self._number_tables(state))
        await self._each("creating tables", difference.creates, "table", self._create_collection)
        await self._each("setting validators", difference.changes, "validator", self._set_validator)
        await self._fill_hidden_columns(catalog, changed)
        await self._build_indexes(state, (*difference.creates, *difference.changes))
        await self._remember(types)
        return catalog

    async def _stored_types(self) -> dict[str, str]:
        """The document types of the tables as they were pushed last, as JSON texts."""
        found = await _find_all(self._lanes, "_schema", {"_id": _SCHEMA_ID})
        return dict(found[0].get("types", {})) if found else {}

    async def _check_documents(self, catalog: Catalog, tables: Sequence[str]) -> None:
        bad: list[BadDocument] = []
        for done, name in enumerate(tables):
            self._report("checking documents", done, len(tables))
            check = DocumentCheck(catalog, name)
            codec = _codec(catalog, name)
            async for documents in _batches(self._lanes, name, {}, _UNDECODED):
                for document in documents:
                    message = _problem(document, codec, check)
                    if message is not None:
                        bad.append(BadDocument(name, str(document["_id"]), message))
                    if len(bad) >= BAD_DOCUMENTS_MAX:
                        raise PushRefused(bad)
        if bad:
            raise PushRefused(bad)

    async def _create_system_collections(self, state: DatabaseState) -> None:
        for name in SYSTEM_COLLECTIONS:
            if name not in state.collections:
                await self._create(name, {})
        await self._create_indexes(COMMITS, [_REQUESTS_INDEX])
        await self._create_indexes("_tables", [MongoIndex("number", (("number", 1),), unique=True, partial=None)])

    async def _number_tables(self, state: DatabaseState) -> dict[str, int]:
        """Give numbers to new tables. Another node may take one at the same time: then look again."""
        numbers = state.tables
        for _ in range(NUMBERING_ATTEMPTS):
            missing = missing_numbers(numbers, self._plan.user_tables)
            if not missing:
                return numbers
            documents = [{"_id": name, "number": number} for name, number in missing.items()]
            reply = await self._lanes.command(
                {"insert": "_tables", "documents": documents, "ordered": True, "writeConcern": _MAJORITY}
            )
            if not reply.get("writeErrors"):
                return {**numbers, **missing}
            numbers = await _read_numbers(self._lanes)
        raise StoreError("the tables could not be numbered: another program takes numbers all the time")

    async def _create_collection(self, change: Change) -> None:
        await self._create(change.table, self._validation(change.table))

    async def _create(self, name: str, options: dict[str, Any]) -> None:
        try:
            await self._lanes.command({"create": name, **options, "writeConcern": _MAJORITY})
        except OperationFailure as error:
            if error.code != _NAMESPACE_EXISTS:
                raise
            if options:
                await self._lanes.command({"collMod": name, **options, "writeConcern": _MAJORITY})

    async def _set_validator(self, change: Change) -> None:
        await self._lanes.command(
            {"collMod": change.table, **self._validation(change.table), "writeConcern": _MAJORITY}
        )

    def _validation(self, table: str) -> dict[str, Any]:
        validator = self._plan.tables[table].mongo_validator
        return {"validator": validator, "validationLevel": "strict", "validationAction": "error"}

    async def _fill_hidden_columns(self, catalog: Catalog, tables: Sequence[str]) -> None:
        """Write the encoded index columns of documents that lack some of them."""
        for name in tables:
            layout = catalog.layout(name)
            lacking = [{f"{HIDDEN_FIELD}.{column.hidden_key}": {"$exists": False}} for column in layout.encoded_columns]
            if not lacking:
                continue
            codec = _codec(catalog, name)
            async for documents in _batches(self._lanes, name, {"$or": lacking}, codec.options):
                updates = [
                    {"q": {"_id": document["_id"]}, "u": {"$set": {HIDDEN_FIELD: layout.hidden(document)}}}
                    for document in codec.finish(documents)
                ]
                reply = await self._lanes.command({"update": name, "updates": updates, "writeConcern": _MAJORITY})
                if reply.get("writeErrors"):
                    raise StoreError(f"index columns of {name} could not be written: {reply['writeErrors'][0]}")

    async def _build_indexes(self, state: DatabaseState, changes: Iterable[Change]) -> None:
        wanted: dict[str, list[MongoIndex]] = {}
        for change in changes:
            if change.index is not None:
                wanted.setdefault(change.table, []).append(change.index)

        async def build(table: str) -> None:
            held = state.collections[table].indexes if table in state.collections else {}
            for index in wanted[table]:
                if index.name in held:
                    await self._drop_index(table, index.name)
            await self._create_indexes(table, wanted[table])

        await self._in_parallel("building indexes", list(wanted), build)

    async def _drop_index(self, table: str, name: str) -> None:
        try:
            await self._lanes.command({"dropIndexes": table, "index": name, "writeConcern": _MAJORITY})
        except OperationFailure as error:
            if error.code != _INDEX_NOT_FOUND:
                raise

    async def _create_indexes(self, table: str, indexes: Sequence[MongoIndex]) -> None:
        specifications = []
        for index in indexes:
            specification: dict[str, Any] = {"name": index.name, "key": dict(index.keys)}
            if index.unique:
                specification["unique"] = True
            if index.partial is not None:
                specification["partialFilterExpression"] = index.partial
            specifications.append(specification)
        command = {"createIndexes": table, "indexes": specifications, "writeConcern": _MAJORITY}
        try:
            await self._lanes.command(command, timeout_s=INDEX_BUILD_TIMEOUT_S)
        except DuplicateKeyError as error:
            # Written between the check and the build.
            raise PushRefused([BadDocument(table, "?", f"a unique index holds one key twice: {error}")]) from error

    async def _remember(self, types: dict[str, str]) -> None:
        document = {
            "_id": _SCHEMA_ID,
            "fingerprint": self._plan.fingerprint(),
            "schema": orjson.dumps(self._plan.schema.to_json()).decode(),
            "types": types,
        }
        update = {"q": {"_id": _SCHEMA_ID}, "u": document, "upsert": True}
        await self._lanes.command({"update": "_schema", "updates": [update], "writeConcern": _MAJORITY})

    async def _each(
        self, what: str, changes: Iterable[Change], kind: str, step: Callable[[Change], Awaitable[None]]
    ) -> None:
        await self._in_parallel(what, [change for change in changes if change.kind == kind], step)

    async def _in_parallel(self, what: str, items: Sequence[T], step: Callable[[T], Awaitable[None]]) -> None:
        """Run the steps, a bounded number at a time; the first failure cancels the others."""
        waiting = list(reversed(items))
        done = 0

        async def work() -> None:
            nonlocal done
            while waiting:
                await step(waiting.pop())
                done += 1
                self._report(what, done, len(items))

        tasks = [
            self._runtime.spawn(work(), name=f"push: {what} {number}")
            for number in range(min(PARALLEL_MAX, len(items)))
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _report(self, what: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress(what, done, total)


_REQUESTS_INDEX: Final = MongoIndex(
    "requests", ((REQUEST_KEY, 1),), unique=True, partial={REQUEST_KEY: {"$exists": True}}
)


async def read_database_state(lanes: Lanes) -> DatabaseState:
    """The database as it is, for the differ. Collections of the engine itself are left out."""
    listed = await _cursor(lanes, {"listCollections": 1, "cursor": {"batchSize": 10_000}})
    collections: dict[str, CollectionState] = {}
    names = [item for item in listed if item["type"] == "collection" and item["name"] not in SYSTEM_COLLECTIONS]

    async def read(item: Document) -> None:
        indexes = await _cursor(lanes, {"listIndexes": item["name"], "cursor": {}})
        validator = item.get("options", {}).get("validator")
        collections[item["name"]] = CollectionState(
            {index["name"]: _index_state(index) for index in indexes}, validator
        )

    await asyncio.gather(*map(read, names))
    present = {item["name"] for item in listed}
    numbers = await _read_numbers(lanes) if "_tables" in present else {}
    found = await _find_all(lanes, "_schema", {"_id": _SCHEMA_ID}) if "_schema" in present else []
    return DatabaseState(collections, numbers, found[0]["fingerprint"] if found else None)


def _index_state(index: Document) -> IndexState:
    keys = tuple((name, int(direction)) for name, direction in index["key"].items() if direction in (1, -1))
    return IndexState(keys, index.get("unique", False), index.get("partialFilterExpression"))


async def _read_numbers(lanes: Lanes) -> dict[str, int]:
    return {item["_id"]: int(item["number"]) for item in await _find_all(lanes, "_tables", {})}


def _codec(catalog: Catalog, table: str) -> DocumentCodec:
    plan = catalog.table_plan(table)
    return DocumentCodec(plan.layout, resolve_docs(plan.document_type, catalog))


def _document_types(catalog: Catalog) -> dict[str, str]:
    return {
        name: orjson.dumps(resolve_docs(plan.document_type, catalog).json(), option=orjson.OPT_SORT_KEYS).decode()
        for name, plan in catalog.plan.tables.items()
    }


def _problem(stored: Document, codec: DocumentCodec, check: DocumentCheck) -> str | None:
    """What is wrong with a document as it was found, None if nothing is."""
    assert isinstance(stored, RawBSONDocument)
    if (problem := system_field_problem(stored)) is not None:
        return problem
    try:
        document = bson.decode(stored.raw, codec.options)
    except (InvalidBSON, ForeignTypeError) as error:
        return foreign_value(bson.decode(stored.raw, _AS_FOUND)) or str(error)
    return check.problem(codec.finish([document])[0])


async def _find_all(lanes: Lanes, collection: str, wanted: dict[str, Any]) -> list[Document]:
    """All documents of one of the engine's own, small collections."""
    command = {"find": collection, "filter": wanted, "batchSize": 20_000, "readConcern": {"level": "majority"}}
    return await _cursor(lanes, command)


async def _cursor(lanes: Lanes, command: dict[str, Any]) -> list[Document]:
    reply = await lanes.command(command)
    found: list[Document] = reply["cursor"]["firstBatch"]
    while reply["cursor"]["id"]:
        collection = reply["cursor"]["ns"].partition(".")[2]
        reply = await lanes.command({"getMore": reply["cursor"]["id"], "collection": collection})
        found += reply["cursor"]["nextBatch"]
    return found


async def _batches(
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
