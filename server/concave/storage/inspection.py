"""Looking into a database without an app: for `concave data`, which must work when the app does not load.

Reads what is there, whoever wrote it; promises no snapshot. Without a schema nobody knows which integers of foreign
writers are meant as numbers: integers are shown as such, and BSON types that no Convex value has as text.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self

from bson.int64 import Int64 as BsonLong
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient
from pymongo.errors import ConfigurationError as BadUri
from pymongo.errors import InvalidURI, PyMongoError

from concave.schema.json_schema import HIDDEN_FIELD
from concave.values.errors import ConfigurationError
from concave.values.types import Document, Int64, Value

CONNECT_TIMEOUT_MS: Final = 5_000


@dataclass(slots=True, frozen=True)
class TableSummary:
    """`documents` is MongoDB's own count, which may be off after a crash."""

    name: str
    documents: int


class Inspection:
    """A read-only look at the database that `uri` names. An async context manager; raises `ConfigurationError`."""

    def __init__(self, uri: str) -> None:
        try:
            self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
                uri, serverSelectionTimeoutMS=CONNECT_TIMEOUT_MS
            )
            self._database = self._client.get_default_database()
        except (InvalidURI, BadUri) as exc:
            raise ConfigurationError(
                f"the database URI cannot be used: {exc}. It is mongodb://host:port/name"
            ) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()
        if isinstance(exc, PyMongoError):
            raise ConfigurationError(f"the database does not answer: {exc}") from None

    async def tables(self) -> list[TableSummary]:
        """All tables, by name; the engine's own collections are none."""
        names = sorted(await self._database.list_collection_names())
        return [
            TableSummary(name, await self._database[name].estimated_document_count())
            for name in names
            if not name.startswith(("_", "system."))
        ]

    async def documents(self, table: str, *, limit: int, order: Literal["asc", "desc"]) -> list[Document]:
        """Up to `limit` documents in order of creation."""
        direction = ASCENDING if order == "asc" else DESCENDING
        found = self._database[table].find({}, {HIDDEN_FIELD: False}, limit=limit)
        found = found.sort([("_creationTime", direction), ("_id", direction)])
        return [_as_value(document) async for document in found]


def _as_value(value: Any) -> Value:
    kind = type(value)
    if kind is dict:
        return {name: _as_value(inner) for name, inner in value.items()}
    if kind is list:
        return [_as_value(inner) for inner in value]
    if kind is BsonLong or kind is int:
        return Int64(value)
    if value is None or kind in (bool, float, str, bytes):
        return value
    return str(value)
