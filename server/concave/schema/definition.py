"""What an app writes to define its tables: `define_table` and `define_app`.

A definition is only recorded here; `schema.Schema` judges all of them together, so that every mistake is reported at
once. Traits (`.workspace_scoped()`, `.soft_deletes()`, `.timestamps()`) add fields and indexes; `document_type` and
`indexes` give the sum of what was written and what the traits add. Each definition remembers its file and line.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from concave.schema.validators import Fields, ObjectValidator, UnionValidator, Validator, as_validator, v
from concave.values.errors import ConfigurationError, DeveloperError

WORKSPACES: Final = "workspaces"
WORKSPACE_FIELD: Final = "workspaceId"
WORKSPACE_INDEX: Final = "by_workspaceId"
DELETED_AT: Final = "deletedAt"
CREATED_AT: Final = "createdAt"
UPDATED_AT: Final = "updatedAt"

Rule = Callable[..., Any]
"""A policy's rule: called with a context and a document, returns True or False, or a coroutine of one of them."""


@dataclass(frozen=True, slots=True)
class Location:
    """A line of the app's source."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """A database index as declared: `fields` without the implicit `_creationTime` and `_id`."""

    name: str
    fields: tuple[str, ...]
    unique: bool
    staged: bool
    location: Location


@dataclass(frozen=True, slots=True)
class SearchIndexDefinition:
    name: str
    search_field: str
    filter_fields: tuple[str, ...]
    staged: bool
    location: Location


@dataclass(frozen=True, slots=True)
class VectorIndexDefinition:
    name: str
    vector_field: str
    dimensions: int
    filter_fields: tuple[str, ...]
    staged: bool
    location: Location


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may do what with a table's documents; None: no rule, everything is allowed."""

    read: Rule | None = None
    insert: Rule | None = None
    modify: Rule | None = None


class TableDefinition:
    """One table. Made by `define_table`; all methods that add something return the table itself.

    Life: `name` is None until the loader finds the module-level variable that holds the table and calls `bind`.
    Nothing may be added after a `Schema` was made of it.
    """

    def __init__(self, document: Validator, location: Location) -> None:
        self.name: str | None = None
        self.declared_document = document
        self.declared_indexes: list[IndexDefinition] = []
        self.search_indexes: list[SearchIndexDefinition] = []
        self.vector_indexes: list[VectorIndexDefinition] = []
        self.access_policy: Policy | None = None
        self.is_workspace_scoped = False
        self.has_soft_deletes = False
        self.has_timestamps = False
        self.has_pre_images = False
        self.location = location

    def __repr__(self) -> str:
        return f"<table {self.name or '(unnamed)'} at {self.location}>"

    def bind(self, name: str) -> None:
        """Give the table its name. Again with the same name is no harm; raises `ConfigurationError` for another."""
        if self.name is not None and self.name != name:
            raise ConfigurationError(
                f"{self.location}: one table is bound to two names, `{self.name}` and `{name}`. "
                "Keep one variable, or call define_table(...) a second time.",
                code="TableBoundTwice",
            )
        self.name = name

    def index(self, name: str, fields: Sequence[str], *, unique: bool = False, staged: bool = False) -> TableDefinition:
        """An index on `fields`, in this order; `_creationTime` and `_id` are appended.

        With `unique` no two documents may agree in all fields; a document that lacks one of them is not under the rule.
        With `staged` the index is built but cannot be queried yet.
        """
        location = _caller()
        self.declared_indexes.append(IndexDefinition(name, _names(fields, name, location), unique, staged, location))
        return self

    def search_index(
        self, name: str, *, search_field: str, filter_fields: Sequence[str] = (), staged: bool = False
    ) -> TableDefinition:
        """A text search index (`data-model.md` 6.5)."""
        location = _caller()
        filters = _names(filter_fields, name, location)
        self.search_indexes.append(SearchIndexDefinition(name, search_field, filters, staged, location))
        return self

    def vector_index(
        self, name: str, *, vector_field: str, dimensions: int, filter_fields: Sequence[str] = (), staged: bool = False
    ) -> TableDefinition:
        """A vector index (`data-model.md` 6.6) over arrays of exactly `dimensions` numbers."""
        location = _caller()
        filters = _names(filter_fields, name, location)
        self.vector_indexes.append(VectorIndexDefinition(name, vector_field, dimensions, filters, staged, location))
        return self

    def workspace_scoped(self) -> TableDefinition:
        """The documents belong to a workspace: adds `workspaceId` and an index on it, where they are not declared."""
        self.is_workspace_scoped = True
        return self

    def soft_deletes(self) -> TableDefinition:
        """Deleting a document marks it: adds `deletedAt`, an optional number (ms since 1970)."""
        self.has_soft_deletes = True
        return self

    def timestamps(self) -> TableDefinition:
        """The engine keeps `createdAt` and, from the first change on, `updatedAt` (ms since 1970)."""
        self.has_timestamps = True
        return self

    def pre_images(self) -> TableDefinition:
        """MongoDB keeps the old version of each document that is changed, for change streams.

        Then foreign updates and deletes (by mongosh, another driver) run only those live queries again that they touch,
        instead of all on this table; tables with encoded index columns excepted. It costs a second write for every
        update and delete, the engine's own included: for tables that other programs write to.
        """
        self.has_pre_images = True
        return self

    def policy(
        self, *, read: Rule | None = None, insert: Rule | None = None, modify: Rule | None = None
    ) -> TableDefinition:
        """Rules that are asked before a document is read, inserted or modified, by whatever function.

        Each is a function or async function `(ctx, document) -> bool`, where `ctx` has `db` (reads, without policies),
        `auth`, `now` and `env`. What `read` refuses looks absent; the others refuse with a `ConvexError` of code
        `policy`. `modify` is asked for the document as it is, and for what a patch or replace makes of it. The rest is
        told in `database/policies.py`. Raises `DeveloperError("InvalidPolicy")` for what is no function.
        """
        for name, rule in (("read", read), ("insert", insert), ("modify", modify)):
            if rule is not None and not callable(rule):
                raise DeveloperError(
                    "InvalidPolicy",
                    f"{_caller()}: the `{name}` policy must be a function (ctx, document) -> bool, not {rule!r}",
                )
        self.access_policy = Policy(read, insert, modify)
        return self

    @property
    def document_type(self) -> Validator:
        """The documents without system fields: what was declared and what the traits add.

        Top-level fields that start with `_` are dropped, as upstream does.
        """
        return _with_fields(self.declared_document, self._trait_fields())

    @property
    def indexes(self) -> list[IndexDefinition]:
        """The declared indexes and those of the traits."""
        indexes = list(self.declared_indexes)
        fields = (WORKSPACE_FIELD,)
        if self.is_workspace_scoped and not any(i.name == WORKSPACE_INDEX or i.fields == fields for i in indexes):
            indexes.append(IndexDefinition(WORKSPACE_INDEX, fields, unique=False, staged=False, location=self.location))
        return indexes

    def _trait_fields(self) -> Fields:
        fields: dict[str, Validator] = {}
        if self.is_workspace_scoped:
            fields[WORKSPACE_FIELD] = v.id(WORKSPACES)
        if self.has_soft_deletes:
            fields[DELETED_AT] = v.optional(v.number())
        if self.has_timestamps:
            fields[CREATED_AT] = v.number()
            fields[UPDATED_AT] = v.optional(v.number())
        return fields


@dataclass(frozen=True, slots=True)
class AppOptions:
    """Options of a whole app.

    `require_index`: a read that names no index is refused unless it says `.full_table_scan()`.
    `schema_validation`: documents are checked against their tables' validators.
    """

    require_index: bool = False
    schema_validation: bool = True


def define_app(*, require_index: bool = False, schema_validation: bool = True) -> AppOptions:
    """The app's options; stands in the app's `__init__.py` as `app = define_app(...)`."""
    return AppOptions(require_index, schema_validation)


def define_table(*args: Validator | Fields, **fields: Validator) -> TableDefinition:
    """A table; the module-level variable that holds it gives it its name.

    The documents are described by keyword arguments, or by one argument: a validator (an object, a union of objects, or
    any) or a dict of validators. Raises `DeveloperError("InvalidValidator")` if something is no validator.
    """
    location = _caller()
    where = f"define_table at {location}"
    if len(args) > 1 or (args and fields):
        raise DeveloperError(
            "InvalidValidator", f"{where}: give either one validator or the fields as keyword arguments, not both"
        )
    return TableDefinition(as_validator(args[0] if args else fields, where=where), location)


def _with_fields(document: Validator, added: Fields) -> Validator:
    match document:
        case ObjectValidator(fields=fields):
            declared = {name: field for name, field in fields.items() if not name.startswith("_")}
            return replace(document, fields={**added, **declared})
        case UnionValidator(members=members):
            return replace(document, members=tuple(_with_fields(member, added) for member in members))
        case _:
            return document


def _names(fields: Iterable[str], index: str, location: Location) -> tuple[str, ...]:
    """The fields as a tuple; dots at either end of a path are ignored, as upstream does."""
    names = () if isinstance(fields, str) else tuple(fields)
    if isinstance(fields, str) or not all(isinstance(name, str) for name in names):
        raise DeveloperError("InvalidFieldPath", f"{location}: the fields of index `{index}` must be a list of strings")
    return tuple(name.strip(".") for name in names)


def _caller() -> Location:
    """The line that called the function that calls this."""
    frame = sys._getframe(2)
    return Location(frame.f_code.co_filename, frame.f_lineno)
