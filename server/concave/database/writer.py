"""`ctx.db` of a mutation: the reader's methods, and insert, patch, replace, delete, soft_delete, restore.

Documents are checked when they are written, in their final form: names and limits of data-model.md 1.4, then the
schema (5.4). Values handed in are copied, so what the function does with them later changes nothing. Traits are seen to
here: `createdAt` and `updatedAt` are stamped with the run's time where the function does not give them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

from concave.database.calls import DatabaseCall
from concave.database.policies import Policies
from concave.database.reader import DatabaseReader, check_user_table, table_and_id, table_of_id
from concave.database.transaction import Transaction, copy_document
from concave.schema.catalog import Catalog
from concave.schema.definition import CREATED_AT, DELETED_AT, UPDATED_AT, TableDefinition
from concave.values.codec import normalize
from concave.values.errors import DeveloperError, invalid_argument
from concave.values.names import SYSTEM_FIELDS
from concave.values.types import UNSET, Document, Value

Fields = Mapping[str, Value]


class DatabaseWriter(DatabaseReader):
    """Reads and writes of one execution of a mutation. Every write must be awaited."""

    __slots__ = ()

    def insert(self, table: str, document: Fields) -> DatabaseCall[str]:
        """Add a document to a table; returns its id. `_id` and `_creationTime` are the engine's to give.

        Raises `DeveloperError`: `TableNotFound`, `InvalidArgument`, `SchemaEnforcementError`, codes of 1.4, limits;
        `ConvexError` (code `policy`), as all writes do.
        """
        return DatabaseCall(self.calls, "db.insert", _insert, (self._tx, self._policies, table, document))

    @overload
    def patch(self, id: str, fields: Fields, /) -> DatabaseCall[None]: ...
    @overload
    def patch(self, table: str, id: str, fields: Fields, /) -> DatabaseCall[None]: ...
    def patch(self, *arguments: Any) -> DatabaseCall[None]:
        """`patch(id, fields)` or `patch(table, id, fields)`: set top-level fields; `UNSET` removes one.

        Raises `DeveloperError`: `NonexistentDocument`, `InvalidIdError`, `InvalidCreationTimeError`, and as `insert`.
        """
        return DatabaseCall(self.calls, "db.patch", _patch, (self._tx, self._policies, arguments))

    @overload
    def replace(self, id: str, document: Fields, /) -> DatabaseCall[None]: ...
    @overload
    def replace(self, table: str, id: str, document: Fields, /) -> DatabaseCall[None]: ...
    def replace(self, *arguments: Any) -> DatabaseCall[None]:
        """`replace(id, document)` or `replace(table, id, document)`: all fields anew. Raises as `patch`."""
        return DatabaseCall(self.calls, "db.replace", _replace, (self._tx, self._policies, arguments))

    @overload
    def delete(self, id: str, /) -> DatabaseCall[None]: ...
    @overload
    def delete(self, table: str, id: str, /) -> DatabaseCall[None]: ...
    def delete(self, *arguments: str) -> DatabaseCall[None]:
        """`delete(id)` or `delete(table, id)`: remove the document for good, and see to those that refer to it as their
        `on_delete` says. Raises `NonexistentDocument`, `ConvexError` (code `restrict`)."""
        return DatabaseCall(self.calls, "db.delete", _delete, (self._tx, self._policies, arguments))

    @overload
    def soft_delete(self, id: str, /) -> DatabaseCall[None]: ...
    @overload
    def soft_delete(self, table: str, id: str, /) -> DatabaseCall[None]: ...
    def soft_delete(self, *arguments: str) -> DatabaseCall[None]:
        """Mark the document as deleted: stamp `deletedAt`. A second time changes nothing.

        Raises `DeveloperError`: `NonexistentDocument`, `InvalidArgument` if the table has no soft deletes.
        """
        return DatabaseCall(self.calls, "db.soft_delete", _soft_delete, (self._tx, self._policies, arguments))

    @overload
    def restore(self, id: str, /) -> DatabaseCall[None]: ...
    @overload
    def restore(self, table: str, id: str, /) -> DatabaseCall[None]: ...
    def restore(self, *arguments: str) -> DatabaseCall[None]:
        """Undo `soft_delete`. Raises as it does."""
        return DatabaseCall(self.calls, "db.restore", _restore, (self._tx, self._policies, arguments))


async def _insert(tx: Transaction, policies: Policies | None, table: str, document: Fields) -> str:
    check_writable_table(tx.catalog, table, "db.insert")
    fields = _fields(document, "document", "db.insert", table)
    for name in SYSTEM_FIELDS & fields.keys():
        raise invalid_argument(
            "document", "db.insert", f"a new document of table `{table}` cannot be given `{name}`: the engine sets it"
        )
    if _definition(tx, table).has_timestamps and CREATED_AT not in fields:
        fields[CREATED_AT] = tx.now_ms
    return await tx.insert(table, fields, guard=policies)


async def _patch(tx: Transaction, policies: Policies | None, arguments: tuple[Any, ...]) -> None:
    table, document_id, given = _target(tx, arguments, "db.patch", "fields")
    removed = [name for name, value in given.items() if value is UNSET] if isinstance(given, Mapping) else []
    fields = _fields(given, "fields", "db.patch", table)
    for name in removed:
        fields[name] = UNSET
    await tx.patch(table, document_id, fields, touch=_touched(tx, table), guard=policies)


async def _replace(tx: Transaction, policies: Policies | None, arguments: tuple[Any, ...]) -> None:
    table, document_id, given = _target(tx, arguments, "db.replace", "document")
    fields = _fields(given, "document", "db.replace", table)
    keep = (CREATED_AT,) if _definition(tx, table).has_timestamps else ()
    await tx.replace(table, document_id, fields, touch=_touched(tx, table), keep=keep, guard=policies)


async def _delete(tx: Transaction, policies: Policies | None, arguments: tuple[Any, ...]) -> None:
    table, document_id = _document_named(tx, arguments, "db.delete")
    await tx.delete(table, document_id, guard=policies)


async def _soft_delete(tx: Transaction, policies: Policies | None, arguments: tuple[Any, ...]) -> None:
    table, document_id = _softly_deletable(tx, arguments, "db.soft_delete")
    document = await tx.get(table, document_id)
    if document is not None and policies is not None and not await policies.may_read(table, document):
        document = None
    # Of what is not there, or not to be seen, the patch says so.
    if document is None or DELETED_AT not in document:
        await tx.patch(table, document_id, {DELETED_AT: tx.now_ms}, touch=_touched(tx, table), guard=policies)


async def _restore(tx: Transaction, policies: Policies | None, arguments: tuple[Any, ...]) -> None:
    table, document_id = _softly_deletable(tx, arguments, "db.restore")
    await tx.patch(table, document_id, {DELETED_AT: UNSET}, touch=_touched(tx, table), guard=policies)


def check_writable_table(catalog: Catalog, table: str, call: str) -> None:
    """Raise `DeveloperError` unless functions may write to the table."""
    if isinstance(table, str) and table.startswith("_"):
        raise DeveloperError("SystemTableError", f"{call}: {table!r} is a system table: functions cannot write to it")
    check_user_table(catalog, table, call)


def _target(tx: Transaction, arguments: tuple[Any, ...], call: str, value: str) -> tuple[str, str, Any]:
    """Table, id and fields of a call that takes `(id, fields)` or `(table, id, fields)`."""
    if len(arguments) not in (2, 3):
        raise invalid_argument(value, call, f"it takes an id and {value}, or a table, an id and {value}")
    table, document_id = _document_named(tx, arguments[:-1], call)
    return table, document_id, arguments[-1]


def _document_named(tx: Transaction, arguments: tuple[Any, ...], call: str) -> tuple[str, str]:
    given, document_id = table_and_id(arguments, call)
    table = table_of_id(tx.catalog, given, document_id, call)
    if table is not None and table.startswith("_"):
        raise DeveloperError(
            "SystemTableError",
            f"{call}: {document_id} is an id of the system table {table!r}: functions cannot write to it",
        )
    if table is None or table not in tx.catalog.schema.tables:
        raise DeveloperError(
            "NonexistentDocument", f"{call}: there is no document {document_id}: its table does not exist (any more)"
        )
    return table, document_id


def _softly_deletable(tx: Transaction, arguments: tuple[Any, ...], call: str) -> tuple[str, str]:
    table, document_id = _document_named(tx, arguments, call)
    if not _definition(tx, table).has_soft_deletes:
        raise invalid_argument(
            "id", call, f"table `{table}` has no soft deletes: declare .soft_deletes() on it, or use db.delete"
        )
    return table, document_id


def _definition(tx: Transaction, table: str) -> TableDefinition:
    return tx.catalog.schema.tables[table]


def _touched(tx: Transaction, table: str) -> str | None:
    return UPDATED_AT if _definition(tx, table).has_timestamps else None


def _fields(given: Any, parameter: str, call: str, table: str) -> Document:
    """A copy of the fields as values. Fields that are `UNSET` are left out."""
    if not isinstance(given, Mapping):
        raise invalid_argument(parameter, call, f"it must be an object, not {given!r}")
    return copy_document(normalize(given, where=f'Document for table "{table}"'))
