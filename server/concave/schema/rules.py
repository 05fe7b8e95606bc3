"""The rules of `data-model.md` 5.2 (and of 4.1 at push): functions from a schema to a list of problems.

Nothing stops at the first problem. Codes are upstream's where upstream has the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, TypeAlias, TypeVar

from concave.schema.definition import (
    IndexDefinition,
    Location,
    SearchIndexDefinition,
    TableDefinition,
    VectorIndexDefinition,
)
from concave.schema.kinds import (
    DocValidator,
    IdValidator,
    ObjectValidator,
    ScalarValidator,
    UnionValidator,
    Validator,
)
from concave.schema.natural import can_be_vector, can_contain
from concave.schema.references import Occurrence, index_for, occurrences
from concave.schema.validator_rules import IDENTIFIER_MEND, ValidatorProblem, validator_problems, walk
from concave.values.errors import DeveloperError
from concave.values.limits import Limits
from concave.values.names import is_identifier, is_system_name, split_path

__all__ = [
    "BY_CREATION_TIME",
    "BY_ID",
    "ID_TABLES_OF_SYSTEM",
    "Problem",
    "ValidatorProblem",
    "near",
    "schema_problems",
    "validator_problems",
    "walk",
]

BY_ID: Final = "by_id"
BY_CREATION_TIME: Final = "by_creation_time"
ID_TABLES_OF_SYSTEM: Final = frozenset(("_storage", "_scheduled_functions"))
"""System tables whose ids users hold (3.5)."""

VECTOR_DIMENSIONS_MIN: Final = 2
VECTOR_DIMENSIONS_MAX: Final = 4096
MONGO_INDEXES_MAX: Final = 64
"""Indexes of one collection, the one on `_id` included (8.4)."""

AnyIndex: TypeAlias = IndexDefinition | SearchIndexDefinition | VectorIndexDefinition
_I = TypeVar("_I", IndexDefinition, SearchIndexDefinition, VectorIndexDefinition)


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule. `mend` is a sentence that says what to do about it."""

    code: str
    table: str
    index: str | None
    location: Location
    message: str
    mend: str

    @property
    def subject(self) -> str:
        """What breaks the rule."""
        return f"table `{self.table}`" + (f", index `{self.index}`" if self.index is not None else "")

    def __str__(self) -> str:
        return f"{self.location}: {self.subject}: {self.message}. {self.mend} [{self.code}]"


def schema_problems(tables: Mapping[str, TableDefinition], *, schema_validation: bool, limits: Limits) -> list[Problem]:
    """Everything that is wrong with these tables, table by table in name order."""
    problems: list[Problem] = []
    for position, name in enumerate(sorted(tables)):
        table = tables[name]
        if position == limits.tables_max:
            problems.append(
                Problem(
                    "TooManyTables",
                    name,
                    None,
                    table.location,
                    f"the schema has {len(tables)} tables, {limits.tables_max} are allowed",
                    "Merge tables of the same shape into one with a field that tells them apart.",
                )
            )
        problems += _TableRules(name, table, tables, schema_validation, limits).check()
    return problems


def near(name: str, known: Sequence[str]) -> str:
    """Which of the known names may have been meant, as a sentence; all of them if none is near and they are few."""
    matches = get_close_matches(name, known, n=3)
    if matches:
        return "Did you mean " + " or ".join(f"`{match}`" for match in matches) + "?"
    if not known:
        return "There is none."
    return "There are " + ", ".join(f"`{each}`" for each in known[:20]) + (", ..." if len(known) > 20 else "") + "."


class _TableRules:
    """The rules of one table. Each method adds the problems of one group of rules."""

    def __init__(
        self,
        name: str,
        table: TableDefinition,
        tables: Mapping[str, TableDefinition],
        schema_validation: bool,
        limits: Limits,
    ) -> None:
        self.name = name
        self.table = table
        self.tables = tables
        self.schema_validation = schema_validation
        self.limits = limits
        self.document = table.document_type
        self.indexes = table.indexes
        self.all_indexes: list[AnyIndex] = [*self.indexes, *table.search_indexes, *table.vector_indexes]
        self.problems: list[Problem] = []

    def check(self) -> list[Problem]:
        self._table_name()
        self._document()
        self._index_names()
        self._index_counts()
        for index in self.indexes:
            self._database_index(index)
        for search in self.table.search_indexes:
            self._path(search, "search field", search.search_field)
            self._filter_fields(search, search.filter_fields)
        for vector in self.table.vector_indexes:
            self._vector_index(vector)
        self._references()
        self._equal_indexes()
        return self.problems

    def _add(self, code: str, message: str, mend: str, index: AnyIndex | None = None) -> None:
        location = self.table.location if index is None else index.location
        name = None if index is None else index.name
        self.problems.append(Problem(code, self.name, name, location, message, mend))

    def _table_name(self) -> None:
        if is_system_name(self.name):
            self._add(
                "TableNameReserved", "names that start with `_` belong to the system", "Rename the table's variable."
            )
        elif not is_identifier(self.name):
            self._add("InvalidTableName", f"{self.name!r} is no valid table name", IDENTIFIER_MEND)

    def _document(self) -> None:
        if not _is_document_type(self.document):
            self._add(
                "InvalidTopLevelTypeInSchemaError",
                f"documents cannot be {self.document.describe()}",
                "A table holds objects: use an object, a union of objects, or v.any().",
            )
        elif self._has_traits() and not _is_objects(self.document):
            self._add(
                "TraitNeedsFields",
                "a trait adds fields, but the documents are v.any()",
                "Describe the documents with an object, or leave out the traits.",
            )
        for problem in validator_problems(self.document):
            self._add(problem.code, f"at `{problem.path or '.'}`: {problem.message}", problem.mend)
        for path, child in walk(self.document):
            if isinstance(child, DocValidator):
                self._add(
                    "DocInTable",
                    f"at `{path}`: {child.describe()} describes whole documents of another table",
                    f"Refer to the document with v.id({child.table!r}), or write out the fields to be copied.",
                )
            elif isinstance(child, IdValidator):
                self._id(path, child)

    def _id(self, path: str, child: IdValidator) -> None:
        known = sorted({*self.tables, *ID_TABLES_OF_SYSTEM})
        if child.table not in known:
            self._add(
                "UnknownTableInId",
                f"at `{path}`: {child.describe()} names a table that the schema lacks",
                near(child.table, known),
            )

    def _references(self) -> None:
        """The rules of `on_delete` (`references.py`)."""
        by_path: dict[tuple[str, ...], list[Occurrence]] = {}
        for occurrence in occurrences(self.document):
            by_path.setdefault(occurrence.path, []).append(occurrence)
        for path, found in by_path.items():
            if all(occurrence.findable for occurrence in found):
                self._reference(".".join(path), found)
            else:
                self._add(
                    "OnDeleteNotFindable",
                    f"at `.{'.'.join(path)}`: on_delete in an array or a record, where no index can find the reference",
                    "Keep such references in a table of their own, one document each, or leave out on_delete.",
                )

    def _reference(self, field: str, found: list[Occurrence]) -> None:
        nulled = [occurrence for occurrence in found if occurrence.validator.on_delete == "set_null"]
        can_be_null = all(occurrence.nullable for occurrence in nulled)
        if not can_be_null and not all(occurrence.optional and not occurrence.nullable for occurrence in nulled):
            self._add(
                "OnDeleteNeedsNull",
                f"at `.{field}`: on_delete is set_null, but the field must hold an id",
                "Make the field v.nullable(...) or v.optional(...), or choose restrict or cascade.",
            )
        ways: dict[str, str] = {}
        for occurrence in found:
            target, way = occurrence.validator.table, str(occurrence.validator.on_delete)
            if ways.setdefault(target, way) != way:
                self._add(
                    "OnDeleteAmbiguous",
                    f"at `.{field}`: on_delete is {ways[target]} and {way} for the same table `{target}`",
                    "Say the same at all places that describe this field.",
                )
        if index_for(found[0].path, self.indexes) is None:
            name = field.replace(".", "_")
            self._add(
                "OnDeleteNeedsIndex",
                f"at `.{field}`: on_delete needs an index that begins with `{field}`, to find what refers to a "
                "document that is deleted",
                f'Add .index("by_{name}", ["{field}"]) to the table.',
            )

    def _index_names(self) -> None:
        seen: dict[str, AnyIndex] = {}
        for index in self.all_indexes:
            if index.name in (BY_ID, BY_CREATION_TIME) or is_system_name(index.name):
                self._add(
                    "IndexNameReserved",
                    f"the name `{index.name}` belongs to the system",
                    "Rename the index; `by_id` and `by_creation_time` exist in every table.",
                    index,
                )
            elif not is_identifier(index.name):
                self._add("InvalidIndexName", f"{index.name!r} is no valid index name", IDENTIFIER_MEND, index)
            first = seen.setdefault(index.name, index)
            if first is not index:
                self._add(
                    "IndexNamesNotUnique",
                    f"another index of this name is defined at {first.location}",
                    "Rename one; database, search and vector indexes share one set of names.",
                    index,
                )

    def _index_counts(self) -> None:
        count, most = len(self.all_indexes), self.limits.indexes_per_table_max
        if count > most:
            self._add(
                "TooManyIndexes",
                f"{count} indexes, {most} are allowed",
                "Remove some: an index on (a, b) also serves queries on a alone.",
                self.all_indexes[most],
            )
        # Besides each declared index: the one on `_id`, `by_creation_time`, and a second one per unique index.
        in_mongo = 2 + len(self.indexes) + sum(index.unique for index in self.indexes)
        if in_mongo > MONGO_INDEXES_MAX:
            self._add(
                "TooManyIndexes",
                f"{in_mongo} indexes in MongoDB, which allows {MONGO_INDEXES_MAX}; a unique index counts twice",
                "Remove some indexes, or leave out unique=True where nothing depends on it.",
            )

    def _database_index(self, index: IndexDefinition) -> None:
        if not index.fields:
            self._add("EmptyIndex", "the index has no fields", "Name at least one field.", index)
        # `_creationTime` is a column, too.
        if len(index.fields) + 1 > self.limits.index_columns_max:
            self._add(
                "IndexTooManyFields",
                f"{len(index.fields)} fields, {self.limits.index_columns_max - 1} are allowed",
                "Leave out the last ones: `_creationTime` is added to every index.",
                index,
            )
        for position, field in enumerate(index.fields):
            if field in index.fields[:position]:
                self._add("FieldsNotUniqueWithinIndex", f"`{field}` is there twice", "Name it once.", index)
            elif field == "_id":
                self._add("IndexFieldsContainId", "`_id` cannot be indexed", "To load by id use `ctx.db.get`.", index)
            elif field == "_creationTime":
                self._add(
                    "IndexFieldsContainCreationTime",
                    "`_creationTime` cannot be named",
                    "Leave it out: it is added to the end of every index.",
                    index,
                )
            elif any(segment.startswith("_") for segment in field.split(".")):
                self._add(
                    "IndexFieldNameReserved",
                    f"`{field}`: fields that start with `_` cannot be indexed",
                    "Rename the field.",
                    index,
                )
            else:
                self._path(index, "field", field)

    def _vector_index(self, index: VectorIndexDefinition) -> None:
        if not VECTOR_DIMENSIONS_MIN <= index.dimensions <= VECTOR_DIMENSIONS_MAX:
            self._add(
                "InvalidVectorDimensionError",
                f"{index.dimensions} dimensions",
                f"Give the length of the vectors, {VECTOR_DIMENSIONS_MIN} to {VECTOR_DIMENSIONS_MAX}.",
                index,
            )
        exists = self._path(index, "vector field", index.vector_field)
        if exists and self.schema_validation and not can_be_vector(self.document, split_path(index.vector_field)):
            self._add(
                "SchemaDefinitionError",
                f"the vector field `{index.vector_field}` cannot be an array of numbers",
                "Declare it as v.array(v.number()).",
                index,
            )
        self._filter_fields(index, index.filter_fields)

    def _filter_fields(self, index: AnyIndex, fields: tuple[str, ...]) -> None:
        most = self.limits.index_filter_fields_max
        if len(fields) > most:
            self._add(
                "IndexTooManyFilterFields",
                f"{len(fields)} filter fields, {most} are allowed",
                "Keep those that searches filter by.",
                index,
            )
        for field in fields:
            self._path(index, "filter field", field)

    def _path(self, index: AnyIndex, role: str, path: str) -> bool:
        """Whether the path is well-formed and can exist in the documents; a problem is added if not."""
        try:
            segments = split_path(path)
        except DeveloperError as error:
            self._add(
                error.code, f"{role}: {error.message.rstrip('.')}", "Name a field, or a.b for a nested one.", index
            )
            return False
        if not self.schema_validation or can_contain(self.document, segments):
            return True
        depth = next(n for n in range(len(segments)) if not can_contain(self.document, segments[: n + 1]))
        within = "the documents" if depth == 0 else f"`{'.'.join(segments[:depth])}`"
        fields = sorted(_fields_at(self.document, segments[:depth]))
        self._add(
            "SchemaDefinitionError",
            f"the {role} `{path}` can never exist: {within} cannot have a field `{segments[depth]}`",
            near(segments[depth], fields) if fields else "Only objects have fields that can be indexed.",
            index,
        )
        return False

    def _equal_indexes(self) -> None:
        self._distinct(self.indexes, lambda index: index.fields, "IndexNotUnique", "the same fields")
        self._distinct(
            self.table.search_indexes,
            lambda index: (index.search_field, frozenset(index.filter_fields)),
            "SearchIndexFieldNotUnique",
            "the same search and filter fields",
        )
        self._distinct(
            self.table.vector_indexes,
            lambda index: (index.vector_field, index.dimensions),
            "VectorIndexFieldNotUnique",
            "the same vector field and dimensions",
        )

    def _distinct(self, indexes: Sequence[_I], identity: Callable[[_I], object], code: str, sameness: str) -> None:
        seen: dict[object, _I] = {}
        for index in indexes:
            first = seen.setdefault(identity(index), index)
            if first is not index:
                self._add(code, f"index `{first.name}` at {first.location} has {sameness}", "Keep one of them.", index)

    def _has_traits(self) -> bool:
        return self.table.is_workspace_scoped or self.table.has_soft_deletes or self.table.has_timestamps


def _is_document_type(document: Validator) -> bool:
    return (isinstance(document, ScalarValidator) and document.scalar == "any") or _is_objects(document)


def _is_objects(document: Validator) -> bool:
    if isinstance(document, UnionValidator):
        return all(map(_is_objects, document.members))
    return isinstance(document, ObjectValidator)


def _fields_at(validator: Validator, path: tuple[str, ...]) -> set[str]:
    """The field names that objects at the path may have."""
    match validator:
        case UnionValidator(members=members):
            return set().union(*(_fields_at(member, path) for member in members))
        case ObjectValidator(fields=fields) if path:
            return _fields_at(fields[path[0]], path[1:]) if path[0] in fields else set()
        case ObjectValidator(fields=fields):
            return set(fields)
        case _:
            return set()
