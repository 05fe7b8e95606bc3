"""A whole schema: all tables of an app, judged together.

A `Schema` that exists keeps all rules of `data-model.md` 5.2. One that breaks some cannot be made: the constructor
raises `SchemaDefinitionError` with every problem, each with code, table, index, line and how to mend it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from concave.schema.definition import (
    IndexDefinition,
    Location,
    SearchIndexDefinition,
    TableDefinition,
    VectorIndexDefinition,
)
from concave.schema.rules import Problem, schema_problems
from concave.schema.validators import Json
from concave.values.errors import ConfigurationError
from concave.values.limits import DEFAULT_LIMITS, Limits


class SchemaDefinitionError(ConfigurationError):
    """A schema breaks rules; `problems` lists all of them, by table."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problems" if len(self.problems) != 1 else "1 problem"
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"the schema has {count}:\n{lines}", code="SchemaDefinitionError")


@dataclass(frozen=True, slots=True, init=False)
class Schema:
    """The tables of an app by name. Immutable: do not add to a table's definition once it is in a schema.

    With `schema_validation` off nothing is known of the documents: no checks, and every index column is encoded.
    """

    tables: Mapping[str, TableDefinition]
    schema_validation: bool

    def __init__(
        self,
        tables: Mapping[str, TableDefinition],
        schema_validation: bool = True,
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Binds each table to its name; raises `SchemaDefinitionError`."""
        for name, table in tables.items():
            table.bind(name)
        object.__setattr__(self, "tables", {name: tables[name] for name in sorted(tables)})
        object.__setattr__(self, "schema_validation", schema_validation)
        problems = schema_problems(self.tables, schema_validation=schema_validation, limits=limits)
        if problems:
            raise SchemaDefinitionError(problems)

    @classmethod
    def of(
        cls,
        definitions: Iterable[TableDefinition],
        schema_validation: bool = True,
        *,
        limits: Limits = DEFAULT_LIMITS,
    ) -> Schema:
        """The schema of tables that are bound to their names already, as a loader collects them.

        Two tables of one name are a `SchemaDefinitionError` that names both lines; the same table twice is not.
        """
        tables: dict[str, TableDefinition] = {}
        problems: list[Problem] = []
        for definition in definitions:
            assert definition.name is not None, f"{definition!r} was never bound to a name"
            first = tables.setdefault(definition.name, definition)
            if first is not definition:
                problems.append(_duplicate(definition.name, first.location, definition.location))
        if problems:
            raise SchemaDefinitionError(
                problems + schema_problems(tables, schema_validation=schema_validation, limits=limits)
            )
        return cls(tables, schema_validation, limits=limits)

    def to_json(self) -> Json:
        """The wire form of 5.1, tables by name. Traits appear as the fields and indexes they add; `unique`,
        `on_delete`, policies and pre-images are not part of it."""
        return {
            "tables": [_table_json(name, table) for name, table in self.tables.items()],
            "schemaValidation": self.schema_validation,
        }


def _duplicate(name: str, first: Location, second: Location) -> Problem:
    return Problem(
        code="DuplicateTable",
        table=name,
        index=None,
        location=second,
        message=f"the table is defined twice, at {first} and at {second}",
        mend="Rename one of the two variables, or remove one.",
    )


def _table_json(name: str, table: TableDefinition) -> Json:
    indexes, searches, vectors = table.indexes, table.search_indexes, table.vector_indexes
    return {
        "tableName": name,
        "indexes": [_index_json(i) for i in indexes if not i.staged],
        "stagedDbIndexes": [_index_json(i) for i in indexes if i.staged],
        "searchIndexes": [_search_json(i) for i in searches if not i.staged],
        "stagedSearchIndexes": [_search_json(i) for i in searches if i.staged],
        "vectorIndexes": [_vector_json(i) for i in vectors if not i.staged],
        "stagedVectorIndexes": [_vector_json(i) for i in vectors if i.staged],
        "documentType": table.document_type.json(),
    }


def _index_json(index: IndexDefinition) -> Json:
    return {"indexDescriptor": index.name, "fields": list(index.fields)}


def _search_json(index: SearchIndexDefinition) -> Json:
    return {
        "indexDescriptor": index.name,
        "searchField": index.search_field,
        "filterFields": list(index.filter_fields),
    }


def _vector_json(index: VectorIndexDefinition) -> Json:
    return {
        "indexDescriptor": index.name,
        "vectorField": index.vector_field,
        "dimensions": index.dimensions,
        "filterFields": list(index.filter_fields),
    }
