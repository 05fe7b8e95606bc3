"""Making a database fit a plan (`data-model.md` 5.3), and reading what a database has.

Order of a push: look; check the documents that are there; number the new tables; create collections; set validators;
give documents their encoded index columns; build indexes; remember the plan. Up to and including the check nothing is
changed. Each step may be repeated, and two nodes may push at once: what the other one did already is no error.

* Nothing is removed, but an index whose columns changed is dropped and built anew under its name.
* A plan that the database has already costs a few reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

import orjson
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from pymongo.errors import DuplicateKeyError, OperationFailure

from concave.schema.catalog import Catalog
from concave.schema.diff import Change, DatabaseState, diff
from concave.schema.json_schema import HIDDEN_FIELD
from concave.schema.plan import MongoIndex, Plan, TableLayout
from concave.schema.validators import resolve_docs
from concave.storage.bson_documents import DocumentCodec
from concave.storage.commit_log import COMMITS, REQUEST_KEY
from concave.storage.database_state import (
    PRE_IMAGES,
    SCHEMA_ID,
    codec_of,
    document_batches,
    find_all,
    read_database_state,
    read_numbers,
)
from concave.storage.document_check import BAD_DOCUMENTS_MAX, DocumentCheck
from concave.storage.lane import Lanes
from concave.storage.mongo_tables import SYSTEM_COLLECTIONS
from concave.storage.store import BadDocument, PushProgress, PushRefused, StoreError
from concave.storage.stored_documents import UNDECODED, decoded, stored_columns
from concave.storage.table_numbers import missing_numbers
from concave.values.runtime import Runtime
from concave.values.types import Document

T = TypeVar("T")

PARALLEL_MAX: Final = 8
"""Collections that are worked on at a time."""

INDEX_BUILD_TIMEOUT_S: Final = 6 * 3600.0
NUMBERING_ATTEMPTS: Final = 5

_MAJORITY: Final = {"w": "majority"}
_NAMESPACE_EXISTS: Final = 48
_NAMESPACE_NOT_FOUND: Final = 26
_INDEX_NOT_FOUND: Final = 27


class SchemaPush:
    """One push. `progress` is called after each step of the long parts."""

    def __init__(
        self, lanes: Lanes, runtime: Runtime, plan: Plan, progress: PushProgress | None, *, repair: bool = False
    ) -> None:
        """With `repair`, encoded index columns of all documents are compared and corrected: a walk over each table that
        has such columns."""
        self._lanes = lanes
        self._repair = repair
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
            await self._create_indexes(COMMITS, [REQUESTS_INDEX])
            await self._fill_hidden_columns(tentative, await self._tables_lacking_columns(tentative, state))
            return tentative
        stored = await self._stored_types()
        types = _document_types(tentative)
        changed = [name for name in plan.tables if name in state.collections and types[name] != stored.get(name)]
        unique = {change.table for change in difference.creates if change.index is not None and change.index.unique}
        await self._check_documents(tentative, sorted({*changed, *(unique & state.collections.keys())}))
        await self._create_system_collections(state)
        catalog = Catalog(plan, await self._number_tables(state))
        await self._each("creating tables", difference.creates, "table", self._create_collection)
        await self._each("setting validators", difference.changes, "validator", self._set_options)
        await self._each("keeping old versions", difference.changes, "pre-images", self._set_options)
        lacking = await self._tables_lacking_columns(catalog, state)
        await self._fill_hidden_columns(catalog, sorted({*changed, *lacking}))
        await self._build_indexes(state, (*difference.creates, *difference.changes))
        await self._remember(types)
        return catalog

    async def _stored_types(self) -> dict[str, str]:
        """The document types of the tables as they were pushed last, as JSON texts."""
        found = await find_all(self._lanes, "_schema", {"_id": SCHEMA_ID})
        return dict(found[0].get("types", {})) if found else {}

    async def _check_documents(self, catalog: Catalog, tables: Sequence[str]) -> None:
        bad: list[BadDocument] = []
        for done, name in enumerate(tables):
            self._report("checking documents", done, len(tables))
            check = DocumentCheck(catalog, name)
            codec = codec_of(catalog, name)
            async for documents in document_batches(self._lanes, name, {}, UNDECODED):
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
        await self._create_indexes(COMMITS, [REQUESTS_INDEX])
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
            numbers = await read_numbers(self._lanes)
        raise StoreError("the tables could not be numbered: another program takes numbers all the time")

    async def _create_collection(self, change: Change) -> None:
        await self._create(change.table, self._options(change.table))

    async def _create(self, name: str, options: dict[str, Any]) -> None:
        try:
            await self._lanes.command({"create": name, **options, "writeConcern": _MAJORITY})
        except OperationFailure as error:
            if error.code != _NAMESPACE_EXISTS:
                raise
            if options:
                await self._lanes.command({"collMod": name, **options, "writeConcern": _MAJORITY})

    async def _set_options(self, change: Change) -> None:
        await self._lanes.command({"collMod": change.table, **self._options(change.table), "writeConcern": _MAJORITY})

    def _options(self, table: str) -> dict[str, Any]:
        plan = self._plan.tables[table]
        options = {"validator": plan.mongo_validator, "validationLevel": "strict", "validationAction": "error"}
        # Never switched off: another program may have asked for it.
        return options | ({PRE_IMAGES: {"enabled": True}} if plan.pre_images else {})

    async def _tables_lacking_columns(self, catalog: Catalog, state: DatabaseState) -> list[str]:
        """Tables with documents without encoded index columns: another program wrote them while no node looked on.

        Asks the indexes, so it costs a look-up for each table with encoded columns; columns that are there and wrong
        are for `concave doctor` to find. A table that lost an index is taken for one.
        """
        held = sorted(catalog.plan.tables.keys() & state.collections.keys())
        if self._repair:
            return held
        found: list[str] = []

        async def look(name: str) -> None:
            layout = catalog.layout(name)
            by_column = {index.columns[0].mongo_field: index.name for index in layout.indexes.values()}
            for column in layout.encoded_columns:
                index = by_column.get(column.mongo_field)
                if index is None:
                    continue
                if index in state.collections[name].indexes:
                    command = {"find": name, "filter": {column.mongo_field: {"$exists": False}}, "hint": index}
                    reply = await self._lanes.command(
                        command | {"limit": 1, "projection": {"_id": 1}, "readConcern": {"level": "majority"}}
                    )
                    if not reply["cursor"]["firstBatch"]:
                        continue
                found.append(name)
                return

        await asyncio.gather(*map(look, held))
        return found

    async def _fill_hidden_columns(self, catalog: Catalog, tables: Sequence[str]) -> None:
        """Write the encoded index columns of documents that lack some of them."""
        for name in tables:
            layout = catalog.layout(name)
            lacking = [{f"{HIDDEN_FIELD}.{column.hidden_key}": {"$exists": False}} for column in layout.encoded_columns]
            if not lacking:
                continue
            wanted: dict[str, Any] = {} if self._repair else {"$or": lacking}
            codec = codec_of(catalog, name)
            async for documents in document_batches(self._lanes, name, wanted, UNDECODED):
                updates = [update for raw in documents if (update := _columns_update(raw, codec, layout)) is not None]
                if not updates:
                    continue
                # Documents that break the schema get their columns, too: readers find them and say what is wrong.
                command = {"update": name, "updates": updates, "bypassDocumentValidation": True}
                reply = await self._lanes.command(command | {"writeConcern": _MAJORITY})
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
            "_id": SCHEMA_ID,
            "fingerprint": self._plan.fingerprint(),
            "schema": orjson.dumps(self._plan.schema.to_json()).decode(),
            "types": types,
        }
        update = {"q": {"_id": SCHEMA_ID}, "u": document, "upsert": True}
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


REQUESTS_INDEX: Final = MongoIndex(
    "requests", ((REQUEST_KEY, 1),), unique=True, partial={REQUEST_KEY: {"$exists": True}}
)


def _document_types(catalog: Catalog) -> dict[str, str]:
    return {
        name: orjson.dumps(resolve_docs(plan.document_type, catalog).json(), option=orjson.OPT_SORT_KEYS).decode()
        for name, plan in catalog.plan.tables.items()
    }


def _problem(stored: Document, codec: DocumentCodec, check: DocumentCheck) -> str | None:
    """What is wrong with a document as it was found, None if nothing is."""
    assert isinstance(stored, RawBSONDocument)
    found = decoded(stored, codec)
    return found if isinstance(found, str) else check.problem(found)


def _columns_update(stored: Document, codec: DocumentCodec, layout: TableLayout) -> dict[str, Any] | None:
    """The update that corrects the encoded columns of a document; None if they are right, or it cannot be read."""
    assert isinstance(stored, RawBSONDocument)
    document = decoded(stored, codec)
    if isinstance(document, str):
        return None
    found, hidden = stored_columns(stored), layout.hidden(document)
    if found == hidden:
        return None
    # Whoever writes the document meanwhile writes its columns, too.
    return {"q": {"_id": document["_id"], HIDDEN_FIELD: found}, "u": {"$set": {HIDDEN_FIELD: hidden}}}
