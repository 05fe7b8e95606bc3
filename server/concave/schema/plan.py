"""The compiler: what a schema needs of the database, and how documents become index keys. Pure; knows no driver.

Columns. A natural column (see `natural.py`) is indexed in place. An encoded one is kept by the writer in the hidden
sub-document `_k`: key = the path with `/` for `.`, value = the order-preserving bytes of `keys.encode_column` as a
string of one code point a byte (UTF-8 keeps their order; BinData would sort by length). A column of several indexes
is kept once.

Indexes. Each declared index is one Mongo index of the same name on its columns, then `_creationTime`, `_id`.
`by_creation_time` is one, too; `by_id` is Mongo's own on `_id`.

Unique indexes. A second Mongo index, `<name>.unique`, on the declared columns alone does the work: with the tail of
`_creationTime, _id` every key would be unique, and without the tail scans would lose their order. Missing and null
differ: a document in which one of the columns is missing is not under the rule (as a partial index sees to), null is
a value like others and may stand once. `IndexLayout.unique_key` is the same rule in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

from concave.schema.definition import SearchIndexDefinition, TableDefinition, VectorIndexDefinition
from concave.schema.json_schema import HIDDEN_FIELD, JsonSchema, document_json_schema
from concave.schema.natural import natural_admitted, natural_admitted_at
from concave.schema.rules import BY_CREATION_TIME, BY_ID
from concave.schema.schema import Schema
from concave.schema.system_tables import SYSTEM_TABLES
from concave.schema.validators import Validator, v
from concave.values.keys import IndexKey, encode_column
from concave.values.names import value_at
from concave.values.types import UNSET, Document

__all__ = [
    "HIDDEN_FIELD",
    "ColumnPlan",
    "IndexLayout",
    "MongoIndex",
    "Plan",
    "TableLayout",
    "TablePlan",
    "compile_plan",
    "natural_admitted",
]

ColumnReader: TypeAlias = Callable[[Document], bytes]

_FORMAT: Final = 1
"""Part of the fingerprint: raise it when the same schema compiles to another plan."""
_UNDEFINED_KEY: Final = encode_column(UNSET)


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column of an index.

    `mongo_field` is what the Mongo index is on. `admitted` holds the tags (`natural.Tag`) that a natural column can
    have (undefined, null, int64, float64, boolean, string), and is empty for an encoded one.
    """

    path: str
    encoded: bool
    mongo_field: str
    admitted: frozenset[str] = frozenset()

    @property
    def hidden_key(self) -> str:
        """The column's key in `_k`."""
        return self.path.replace(".", "/")


@dataclass(frozen=True, slots=True)
class IndexLayout:
    """An index and its documents' keys. `columns` end with `_creationTime`, `_id`; `by_id` has `_id` alone.

    `key(document)` gives the encoded columns; the document needs `_id`, `_creationTime` and the indexed fields only.
    A staged index is built and maintained, but not queried.
    """

    name: str
    columns: tuple[ColumnPlan, ...]
    unique: bool = False
    staged: bool = False
    fields: tuple[str, ...] = field(init=False, compare=False)
    """The paths of all columns."""
    key: Callable[[Document], IndexKey] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", tuple(column.path for column in self.columns))
        object.__setattr__(self, "key", _key_of(self.fields))

    def unique_key(self, key: IndexKey) -> IndexKey | None:
        """What no two documents may share in a unique index, or None if the document lacks one of the columns."""
        columns = key[:-2]
        return None if _UNDEFINED_KEY in columns else columns


@dataclass(frozen=True, slots=True)
class TableLayout:
    """All indexes of a table, `by_id` and `by_creation_time` first.

    `keys(document)` gives the key in each index, by index name. `hidden(document)` gives the `_k` sub-document that
    has to be stored with the document, None if the table has no encoded columns.
    """

    table: str
    indexes: dict[str, IndexLayout]
    keys: Callable[[Document], dict[str, IndexKey]] = field(init=False, compare=False, repr=False)
    hidden: Callable[[Document], dict[str, str] | None] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", _keys_of(self.indexes))
        object.__setattr__(self, "hidden", _hidden_of(self.encoded_columns))

    @property
    def encoded_columns(self) -> tuple[ColumnPlan, ...]:
        """Each encoded column once, by path."""
        columns = {column.path: column for index in self.indexes.values() for column in index.columns}
        return tuple(columns[path] for path in sorted(columns) if columns[path].encoded)


class MongoIndex(NamedTuple):
    """One index to be created in Mongo, in plain data: `partial` is the partialFilterExpression, if any."""

    name: str
    keys: tuple[tuple[str, int], ...]
    unique: bool
    partial: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What one collection needs. Mongo's own index on `_id` is not listed.

    `document_type` is the documents' validator without system fields, `v.any()` where documents are not checked.
    `pre_images`: the collection's change stream is to have old versions.
    """

    layout: TableLayout
    mongo_indexes: tuple[MongoIndex, ...]
    json_schema: JsonSchema
    document_type: Validator
    search_indexes: tuple[SearchIndexDefinition, ...] = ()
    vector_indexes: tuple[VectorIndexDefinition, ...] = ()
    pre_images: bool = False

    @property
    def mongo_validator(self) -> dict[str, Any]:
        """The collection's `validator` option."""
        return {"$jsonSchema": self.json_schema}


@dataclass(frozen=True, slots=True)
class Plan:
    """The compiled schema. `tables` holds the user tables by name, then the system tables (`_storage` ...)."""

    schema: Schema
    tables: dict[str, TablePlan]

    @property
    def user_tables(self) -> tuple[str, ...]:
        return tuple(self.schema.tables)

    def fingerprint(self) -> str:
        """A hash that is equal for plans that ask the same of the database, on every machine and in every run."""
        parts = {
            "format": _FORMAT,
            "schema": self.schema.to_json(),
            "tables": {name: (table.mongo_indexes, table.json_schema) for name, table in self.tables.items()},
            "pre_images": [name for name, table in self.tables.items() if table.pre_images],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def compile_plan(schema: Schema) -> Plan:
    """The plan of a schema and of the system tables that every deployment has."""
    tables = {name: _compile_table(name, t, checked=schema.schema_validation) for name, t in schema.tables.items()}
    tables |= {name: _compile_table(name, table, checked=True) for name, table in SYSTEM_TABLES.items()}
    return Plan(schema, tables)


def _compile_table(name: str, table: TableDefinition, *, checked: bool) -> TablePlan:
    document = table.document_type if checked else v.any()
    indexes = {
        BY_ID: IndexLayout(BY_ID, (_ID,)),
        BY_CREATION_TIME: IndexLayout(BY_CREATION_TIME, (_CREATION_TIME, _ID)),
    }
    for index in table.indexes:
        columns = (*(_column(document, path) for path in index.fields), _CREATION_TIME, _ID)
        indexes[index.name] = IndexLayout(index.name, columns, index.unique, index.staged)
    return TablePlan(
        layout=TableLayout(name, indexes),
        mongo_indexes=tuple(_mongo_indexes(indexes.values())),
        json_schema=document_json_schema(document),
        document_type=document,
        search_indexes=tuple(table.search_indexes),
        vector_indexes=tuple(table.vector_indexes),
        pre_images=table.has_pre_images,
    )


def _column(document: Validator, path: str) -> ColumnPlan:
    admitted = natural_admitted_at(document, tuple(path.split(".")))
    if admitted is None:
        return ColumnPlan(path, encoded=True, mongo_field=f"{HIDDEN_FIELD}.{path.replace('.', '/')}")
    return ColumnPlan(path, encoded=False, mongo_field=path, admitted=admitted)


_ID: Final = ColumnPlan("_id", encoded=False, mongo_field="_id", admitted=frozenset(("string",)))
_CREATION_TIME: Final = ColumnPlan(
    "_creationTime", encoded=False, mongo_field="_creationTime", admitted=frozenset(("float64",))
)


def _mongo_indexes(indexes: Iterable[IndexLayout]) -> Iterable[MongoIndex]:
    for index in indexes:
        if index.name == BY_ID:
            continue
        keys = tuple((column.mongo_field, 1) for column in index.columns)
        yield MongoIndex(index.name, keys, unique=False, partial=None)
        if index.unique:
            yield MongoIndex(f"{index.name}.unique", keys[:-2], unique=True, partial=_present(index.columns[:-2]))


def _present(columns: Iterable[ColumnPlan]) -> dict[str, Any] | None:
    """The partial filter that leaves out documents in which one of the columns is missing."""
    conditions: dict[str, Any] = {}
    for column in columns:
        if column.encoded:
            conditions[column.mongo_field] = {"$gt": _UNDEFINED_KEY.decode("latin-1")}
        elif "undefined" in column.admitted:
            conditions[column.mongo_field] = {"$exists": True}
    return conditions or None


def _reader(path: str) -> ColumnReader:
    segments = tuple(path.split("."))
    if len(segments) > 1:
        return lambda document: encode_column(value_at(document, segments))
    return lambda document: encode_column(document.get(path, UNSET))


def _key_of(fields: tuple[str, ...]) -> Callable[[Document], IndexKey]:
    readers = tuple(map(_reader, fields))
    return lambda document: tuple([read(document) for read in readers])


def _keys_of(indexes: Mapping[str, IndexLayout]) -> Callable[[Document], dict[str, IndexKey]]:
    """Encodes each column once, however many indexes it is in."""
    paths = list(dict.fromkeys(path for index in indexes.values() for path in index.fields))
    readers = tuple(map(_reader, paths))
    picks = tuple((name, _pick([paths.index(path) for path in index.fields])) for name, index in indexes.items())

    def keys(document: Document) -> dict[str, IndexKey]:
        columns = [read(document) for read in readers]
        return {name: pick(columns) for name, pick in picks}

    return keys


def _pick(positions: list[int]) -> Callable[[list[bytes]], IndexKey]:
    if len(positions) == 1:
        only = positions[0]
        return lambda columns: (columns[only],)
    return itemgetter(*positions)


def _hidden_of(columns: tuple[ColumnPlan, ...]) -> Callable[[Document], dict[str, str] | None]:
    if not columns:
        return lambda document: None
    readers = tuple((column.hidden_key, _reader(column.path)) for column in columns)
    return lambda document: {key: read(document).decode("latin-1") for key, read in readers}
