"""What is wrong with a database, seen from a plan: what `concave doctor` prints. Only reads.

Foreign programs can drop what the engine rests on, and go past validators. Everything that hinders the engine is a
`problem`; what is merely there besides is a `note`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from concave.schema.catalog import Catalog
from concave.schema.diff import Change, DatabaseState, diff
from concave.schema.plan import Plan
from concave.schema.validators import Json
from concave.storage.commit_log import COMMITS
from concave.storage.database_state import (
    codec_of,
    document_batches,
    read_cursor,
    read_database_state,
    read_numbers,
)
from concave.storage.document_check import DocumentCheck
from concave.storage.lane import Lanes
from concave.storage.push import REQUESTS_INDEX
from concave.storage.store import PushProgress
from concave.storage.stored_documents import UNDECODED, decoded, stored_columns
from concave.storage.table_numbers import missing_numbers
from concave.values.ids import decode_id
from concave.values.types import Document

SHOWN_MAX: Final = 20
"""Bad documents of one table that a report names; the rest are counted."""

FindingKind = Literal["table", "index", "validator", "pre-images", "schema", "number", "document", "columns"]


@dataclass(slots=True, frozen=True)
class Finding:
    """Something about one table. `subject` is the index or the document's id; `mend` says what to do about it."""

    kind: FindingKind
    table: str
    subject: str | None
    message: str
    mend: str = ""

    def __str__(self) -> str:
        name = self.table + ("" if self.subject is None else ("." if self.kind == "index" else "/") + self.subject)
        return f"{self.kind} {name}: {self.message}" + (f" -- {self.mend}" if self.mend else "")


@dataclass(slots=True)
class LogState:
    """The commit log. `bytes` are of the entries as stored; `oldest` and `newest` are numbers, 0 for an empty log;
    `whole_from` is the oldest entry that still has its writes."""

    entries: int = 0
    bytes: int = 0
    index_bytes: int = 0
    oldest: int = 0
    newest: int = 0
    whole_from: int = 0


@dataclass(slots=True)
class Report:
    """`checked` and `documents` count the documents that were looked at and that there are, by table."""

    problems: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    log: LogState = field(default_factory=LogState)
    documents: dict[str, int] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)

    @property
    def is_healthy(self) -> bool:
        return not self.problems

    def to_json(self) -> Json:
        return {
            "healthy": self.is_healthy,
            "problems": [asdict(finding) for finding in self.problems],
            "notes": [asdict(finding) for finding in self.notes],
            "log": asdict(self.log),
            "documents": {
                table: {"count": count, "checked": self.checked.get(table, 0)}
                for table, count in self.documents.items()
            },
        }


_NEEDED_COLLECTIONS: Final = (COMMITS, "_tables", "_schema")
_NAMESPACE_NOT_FOUND: Final = 26
_PUSH: Final = "run `concave schema push`"


class Checkup:
    """One look at a database. Of each table `sample` documents are checked, all if it is None."""

    def __init__(self, lanes: Lanes, plan: Plan, sample: int | None, progress: PushProgress | None) -> None:
        self._lanes = lanes
        self._plan = plan
        self._sample = sample
        self._progress = progress
        self._report = Report()

    async def run(self) -> Report:
        report = self._report
        state = await read_database_state(self._lanes)
        if state.schema_hash is None:
            self._problem("schema", "", None, "no schema was ever pushed to this database", _PUSH)
        self._compare(state)
        self._numbers(state)
        await self._engine_collections()
        await self._log()
        catalog = Catalog(self._plan, state.tables | missing_numbers(state.tables, self._plan.user_tables))
        tables = sorted(self._plan.tables.keys() & state.collections.keys())
        for done, name in enumerate(tables):
            if self._progress is not None:
                self._progress(f"checking documents of {name}", done, len(tables))
            await self._documents(catalog, name)
        return report

    def _compare(self, state: DatabaseState) -> None:
        difference = diff(self._plan, state)
        for change in difference.creates:
            if change.kind == "table" or change.table in state.collections:
                self._add(change, "is missing")
        for change in difference.changes:
            self._add(change, "is different" if change.kind == "index" else "")
        for change in difference.extras:
            message = _joined("is only in the database", change.detail)
            self._report.notes.append(Finding(change.kind, change.table, change.name, message))
        if difference.fingerprint_changed and state.schema_hash is not None:
            self._problem("schema", "", None, "the database has another version of the schema", _PUSH)

    def _add(self, change: Change, what: str) -> None:
        self._problem(change.kind, change.table, change.name, _joined(what, change.detail), _PUSH)

    def _numbers(self, state: DatabaseState) -> None:
        for name in sorted(state.tables.keys() - state.collections.keys() - self._plan.tables.keys()):
            message = f"has the number {state.tables[name]} and no collection: its ids are still recognised"
            self._report.notes.append(Finding("number", name, None, message))
        for name in sorted(missing_numbers(state.tables, self._plan.user_tables)):
            self._problem("number", name, None, "has no number, so it can have no ids", _PUSH)

    async def _engine_collections(self) -> None:
        listed = await read_cursor(self._lanes, {"listCollections": 1, "cursor": {"batchSize": 10_000}})
        present = {item["name"] for item in listed}
        for name in _NEEDED_COLLECTIONS:
            if name not in present:
                self._problem("table", name, None, "the engine's own collection is missing", _PUSH)
        if COMMITS in present:
            indexes = {
                index["name"] for index in await read_cursor(self._lanes, {"listIndexes": COMMITS, "cursor": {}})
            }
            if REQUESTS_INDEX.name not in indexes:
                message = "is missing: mutations that are sent again would be applied again"
                self._problem("index", COMMITS, REQUESTS_INDEX.name, message, _PUSH)
        numbers = await read_numbers(self._lanes) if "_tables" in present else {}
        if len(set(numbers.values())) != len(numbers):
            self._problem("number", "_tables", None, "two tables share one number", "restore `_tables` from a backup")

    async def _log(self) -> None:
        log = self._report.log
        figures = await self._statistics(COMMITS)
        if figures is None:
            return
        log.entries, log.bytes, log.index_bytes = figures
        log.oldest = await self._log_number({}, 1)
        log.newest = await self._log_number({}, -1)
        log.whole_from = await self._log_number({"writes": {"$exists": True}}, 1)

    async def _log_number(self, wanted: dict[str, Any], direction: int) -> int:
        command = {"find": COMMITS, "filter": wanted, "sort": {"_id": direction}, "limit": 1, "projection": {"_id": 1}}
        found = await read_cursor(self._lanes, command)
        return int(found[0]["_id"]) if found else 0

    async def _statistics(self, collection: str) -> tuple[int, int, int] | None:
        """Documents, bytes and index bytes; None if there is no such collection."""
        pipeline: list[dict[str, Any]] = [{"$collStats": {"storageStats": {}}}]
        try:
            reply = await self._lanes.command({"aggregate": collection, "pipeline": pipeline, "cursor": {}})
        except OperationFailure as error:
            if error.code == _NAMESPACE_NOT_FOUND:
                return None
            raise
        found = [shard["storageStats"] for shard in reply["cursor"]["firstBatch"]]
        return (
            sum(int(shard["count"]) for shard in found),
            sum(int(shard["size"]) for shard in found),
            sum(int(shard["totalIndexSize"]) for shard in found),
        )

    async def _documents(self, catalog: Catalog, name: str) -> None:
        report = self._report
        figures = await self._statistics(name)
        report.documents[name] = 0 if figures is None else figures[0]
        check, codec = DocumentCheck(catalog, name), codec_of(catalog, name)
        number, layout = catalog.table_number(name), catalog.layout(name)
        bad = checked = 0
        async for documents in self._batches(name):
            for raw in documents:
                assert isinstance(raw, RawBSONDocument)
                checked += 1
                found = decoded(raw, codec)
                kind: FindingKind = "document"
                if isinstance(found, str):
                    message: str | None = found
                else:
                    message = _id_problem(found["_id"], number) or check.problem(found)
                    if message is None and codec.has_hidden and stored_columns(raw) != layout.hidden(found):
                        kind, message = "columns", "its encoded index columns are missing or out of date"
                if message is not None:
                    bad += 1
                    if bad <= SHOWN_MAX:
                        mend = _COLUMNS_MEND if kind == "columns" else _DOCUMENT_MEND
                        self._problem(kind, name, str(raw["_id"]), message, mend)
        report.checked[name] = checked
        if bad > SHOWN_MAX:
            self._problem("document", name, None, f"{bad - SHOWN_MAX} more documents like these", _DOCUMENT_MEND)

    async def _batches(self, name: str) -> AsyncIterator[list[Document]]:
        if self._sample is None:
            async for documents in document_batches(self._lanes, name, {}, UNDECODED):
                yield documents
            return
        pipeline: list[dict[str, Any]] = [{"$sample": {"size": self._sample}}]
        command = {"aggregate": name, "pipeline": pipeline, "cursor": {"batchSize": self._sample}}
        reply = await self._lanes.command(command, codec=UNDECODED)
        while True:
            yield reply["cursor"].get("firstBatch") or reply["cursor"].get("nextBatch") or []
            if not reply["cursor"]["id"]:
                return
            more = {"getMore": reply["cursor"]["id"], "collection": name}
            reply = await self._lanes.command(more, codec=UNDECODED)

    def _problem(self, kind: FindingKind, table: str, subject: str | None, message: str, mend: str) -> None:
        self._report.problems.append(Finding(kind, table, subject, message, mend))


_DOCUMENT_MEND: Final = "correct or delete it"
_COLUMNS_MEND: Final = "write it again while a server runs, or run `concave schema push --repair`"


def _id_problem(id: str, number: int) -> str | None:
    try:
        found, _ = decode_id(id)
    except ValueError as error:
        return f"its _id is none: {error}; concave.new_document_id makes ids"
    return None if found == number else f"its _id has the table number {found}, and this table has {number}"


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
