"""`ctx.db` of a query: `get`, `query`, `normalize_id`, and `system` for the tables that belong to the engine."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NoReturn, Self, overload

from concave.database.calls import CallTracker, DatabaseCall
from concave.database.policies import Policies
from concave.database.query import Query, new_query
from concave.database.transaction import Transaction
from concave.schema.catalog import Catalog
from concave.schema.definition import DELETED_AT
from concave.values.errors import DeveloperError, invalid_argument
from concave.values.ids import decode_id
from concave.values.types import Document

_VERIFIED_IDS_MAX: Final = 65_536
_WRITER_METHODS: Final = frozenset({"insert", "patch", "replace", "delete", "soft_delete", "restore"})


class SystemReader:
    """`ctx.db.system`: read access to `_storage` and `_scheduled_functions` (data-model.md 3.5)."""

    __slots__ = ("_calls", "_tx")

    def __init__(self, tx: Transaction, calls: CallTracker) -> None:
        self._tx = tx
        self._calls = calls

    @overload
    def get(self, id: str, /) -> DatabaseCall[Document | None]: ...
    @overload
    def get(self, table: str, id: str, /) -> DatabaseCall[Document | None]: ...
    def get(self, *arguments: str) -> DatabaseCall[Document | None]:
        """The system document, or None. Raises `SystemTableError` for an id of a user's table."""
        return DatabaseCall(self._calls, "db.system.get", _get_system, (self._tx, arguments))

    def query(self, table: str) -> Query:
        """A query over a system table; its indexes are `by_id` and `by_creation_time`."""
        if not self._tx.catalog.is_system_table(table):
            raise DeveloperError(
                "SystemTableError", f"{table!r} is no system table: read it with db.query({table!r}), without system"
            )
        return new_query(self._tx, self._calls, table)

    def normalize_id(self, table: str, id: str) -> str | None:
        """The id if it is one of that system table's, else None."""
        if not self._tx.catalog.is_system_table(table):
            raise DeveloperError(
                "SystemTableError", f"{table!r} is no system table: use db.normalize_id, without system"
            )
        return self._tx.catalog.normalize_id(table, _text(id, "id", "db.system.normalize_id"))


class DatabaseReader:
    """Reads of one execution of a function, over its transaction, as the tables' policies allow.

    `calls` collects the calls made; give each nested function a reader of its own with a tracker of its own. Without
    `policies` everything is allowed. `may_bypass` is true for internal functions.
    """

    __slots__ = ("_may_bypass", "_policies", "_tx", "calls", "system")

    def __init__(
        self,
        tx: Transaction,
        calls: CallTracker | None = None,
        policies: Policies | None = None,
        *,
        may_bypass: bool = False,
    ) -> None:
        self._tx = tx
        self._policies = policies
        self._may_bypass = may_bypass
        self.calls = CallTracker() if calls is None else calls
        self.system = SystemReader(tx, self.calls)

    @overload
    def get(self, id: str, /, *, include_deleted: bool = False) -> DatabaseCall[Document | None]: ...
    @overload
    def get(self, table: str, id: str, /, *, include_deleted: bool = False) -> DatabaseCall[Document | None]: ...
    def get(self, *arguments: str, include_deleted: bool = False) -> DatabaseCall[Document | None]:
        """`get(id)` or `get(table, id)`: the document, or None if it is gone, or its table is, or its read policy says
        no.

        A softly deleted document reads as None without `include_deleted`. Raises `DeveloperError`: `InvalidArgument`
        for what is no id or an id of another table, `SystemTableError` for ids of system tables.
        """
        return DatabaseCall(self.calls, "db.get", _get, (self._tx, self._policies, arguments, include_deleted))

    def query(self, table: str) -> Query:
        """A query over a table. Raises `DeveloperError`: `TableNotFound`, `SystemTableError`."""
        catalog = self._tx.catalog
        check_user_table(catalog, table, "db.query")
        rule = None if self._policies is None else self._policies.read_rule(table)
        return new_query(self._tx, self.calls, table, rule)

    def normalize_id(self, table: str, id: str) -> str | None:
        """The id if it is one of the table's, else None; reads no document (3.4). Returns at once, nothing to await."""
        if isinstance(table, str) and table.startswith("_"):
            raise DeveloperError(
                "SystemTableError", f"{table!r} is a system table: use db.system.normalize_id({table!r}, id)"
            )
        return self._tx.catalog.normalize_id(table, _text(id, "id", "db.normalize_id"))

    def without_policies(self) -> Self:
        """The same database with all documents in it: `ctx.db.without_policies().get(id)`.

        For internal functions only: raises `DeveloperError` (`PoliciesRequired`) in others.
        """
        if not self._may_bypass:
            raise DeveloperError(
                "PoliciesRequired",
                "db.without_policies() is for internal functions: move what needs it into an @internal_query or "
                "@internal_mutation, and call that",
            )
        return type(self)(self._tx, self.calls, may_bypass=True)

    def __getattr__(self, name: str) -> NoReturn:
        # Reached only for attributes that do not exist: a query that tries to write deserves more than that.
        if name in _WRITER_METHODS:
            raise AttributeError(f"db.{name} does not exist in a query: only mutations write; make this one a mutation")
        raise AttributeError(f"the database has no method {name!r}")


def check_user_table(catalog: Catalog, table: str, call: str) -> None:
    """Raise `DeveloperError` unless `table` is a table of the schema."""
    if not isinstance(table, str):
        raise invalid_argument("table", call, f"it must be the name of a table, not {table!r}")
    if table[:1] == "_":
        hint = f"read it with db.system.query({table!r})" if catalog.is_system_table(table) else "it cannot be read"
        raise DeveloperError("SystemTableError", f"{call}: {table!r} is a system table: {hint}")
    catalog.table_plan(table)


def table_and_id(arguments: tuple[Any, ...], call: str) -> tuple[str | None, str]:
    """The table, if it was given, and the id, of a call that takes `(id)` or `(table, id)`."""
    if len(arguments) == 2:
        return arguments[0], arguments[1]
    if len(arguments) == 1:
        return None, arguments[0]
    raise invalid_argument("id", call, f"it takes an id, or a table and an id, not {len(arguments)} arguments")


def table_of_id(catalog: Catalog, table: str | None, id: str, call: str) -> str | None:
    """The table that `id` belongs to, None if there is none (any more). `table` is what the caller says it is.

    Raises `DeveloperError` (`InvalidArgument`) for what is no id, and for an id of another table than `table`.
    """
    try:
        number = _number_of(id if type(id) is str else _text(id, "id", call))
    except ValueError as error:
        raise invalid_argument("id", call, str(error)) from None
    found = catalog.table_name(number)
    if table is not None and table != found:
        wanted = catalog.table_number(table)
        if found is not None or number != wanted:
            source = f"table `{found}`" if found is not None else "a table that does not exist"
            raise invalid_argument("id", call, f"{id} is an id of {source}, not of `{table}`")
    return found


def _text(value: object, parameter: str, call: str) -> str:
    if not isinstance(value, str):
        raise invalid_argument(parameter, call, f"it must be a string, not {value!r}")
    return str(value)


@lru_cache(maxsize=_VERIFIED_IDS_MAX)
def _number_of(id: str) -> int:
    return decode_id(id)[0]


async def _get(
    tx: Transaction, policies: Policies | None, arguments: tuple[str, ...], include_deleted: bool
) -> Document | None:
    catalog = tx.catalog
    given, document_id = table_and_id(arguments, "db.get")
    table = table_of_id(catalog, given, document_id, "db.get")
    if table is None:
        return None
    if table[0] == "_":
        if not catalog.is_system_table(table):
            return None
        raise DeveloperError(
            "SystemTableError", f"db.get: {document_id} is an id of the system table {table!r}: use db.system.get"
        )
    definition = catalog.schema.tables.get(table)
    if definition is None:
        return None
    document = await tx.get(table, document_id)
    if document is not None and policies is not None and not await policies.may_read(table, document):
        return None
    if definition.has_soft_deletes and not include_deleted and document is not None and DELETED_AT in document:
        return None
    return document


async def _get_system(tx: Transaction, arguments: tuple[str, ...]) -> Document | None:
    given, document_id = table_and_id(arguments, "db.system.get")
    table = table_of_id(tx.catalog, given, document_id, "db.system.get")
    if table is None:
        return None
    if table[0] != "_":
        raise DeveloperError(
            "SystemTableError",
            f"db.system.get: {document_id} is an id of table {table!r}, which is the user's: use db.get",
        )
    if not tx.catalog.is_system_table(table):
        return None
    return await tx.get(table, document_id)
