"""References between tables that say what becomes of them: `v.id("t", on_delete=...)`.

| `on_delete` | when the document that is referred to is deleted |
|---|---|
| `restrict` | it is not, as long as the reference is there |
| `cascade` | the referring document is deleted, too |
| `set_null` | the reference becomes null where the field is nullable; else the field is removed |

A reference stands at a field path of objects. Inside arrays and records it could not be found by an index, so it is
refused there; and each needs an index whose first field it is. Whether a document exists is not checked when a
reference to it is written, as everywhere (`data-model.md` 4.3).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from concave.schema.definition import IndexDefinition, TableDefinition
from concave.schema.kinds import (
    ArrayValidator,
    IdValidator,
    ObjectValidator,
    OnDelete,
    RecordValidator,
    ScalarValidator,
    UnionValidator,
    Validator,
)


@dataclass(frozen=True, slots=True)
class Reference:
    """Field `path` of `table` may refer to documents of `target`; `index` is an index of `table` that begins with it.

    `removes_field` is for `set_null`: the field is removed, instead of becoming null.
    """

    table: str
    path: tuple[str, ...]
    target: str
    on_delete: OnDelete
    index: str
    removes_field: bool

    @property
    def field(self) -> str:
        return ".".join(self.path)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A `v.id` with `on_delete` within a document type. `path` has `[]`, `.keys()` and `.values()` for what is no
    object; then `findable` is false. `nullable` and `optional`: the place may hold null, or nothing."""

    path: tuple[str, ...]
    validator: IdValidator
    findable: bool
    nullable: bool
    optional: bool


def occurrences(document: Validator) -> list[Occurrence]:
    """Every `v.id` with `on_delete` in a document type."""
    return list(_walk(document, (), findable=True, nullable=False, optional=False))


def index_for(path: Sequence[str], indexes: Sequence[IndexDefinition]) -> IndexDefinition | None:
    """The index by which documents that refer by this path are found: the shortest that begins with it."""
    field = ".".join(path)
    fitting = [index for index in indexes if index.fields[:1] == (field,) and not index.staged]
    return min(fitting, key=lambda index: len(index.fields), default=None)


def references_by_target(tables: Mapping[str, TableDefinition]) -> dict[str, tuple[Reference, ...]]:
    """The references to each table that is referred to with `on_delete`. The tables keep the rules of `rules.py`."""
    found: dict[str, dict[Reference, None]] = {}
    for name, table in tables.items():
        for occurrence in occurrences(table.document_type):
            index = index_for(occurrence.path, table.indexes)
            on_delete = occurrence.validator.on_delete
            assert index is not None, f"{name}: {occurrence}"
            assert on_delete is not None
            removes_field = on_delete == "set_null" and not occurrence.nullable
            reference = Reference(
                name, occurrence.path, occurrence.validator.table, on_delete, index.name, removes_field
            )
            found.setdefault(reference.target, {})[reference] = None
    return {target: tuple(references) for target, references in found.items()}


def _walk(
    validator: Validator, path: tuple[str, ...], *, findable: bool, nullable: bool, optional: bool
) -> Iterator[Occurrence]:
    match validator:
        case IdValidator(on_delete=on_delete):
            if on_delete is not None:
                yield Occurrence(path, validator, findable, nullable, optional)
        case UnionValidator(members=members):
            null = nullable or any(_is_null(member) for member in members)
            for member in members:
                yield from _walk(member, path, findable=findable, nullable=null, optional=optional)
        case ObjectValidator(fields=fields):
            for name, field in fields.items():
                yield from _walk(field, (*path, name), findable=findable, nullable=False, optional=field.is_optional)
        case ArrayValidator(element=element):
            yield from _walk(element, (*path, "[]"), findable=False, nullable=False, optional=False)
        case RecordValidator(keys=keys, values=values):
            yield from _walk(keys, (*path, "keys()"), findable=False, nullable=False, optional=False)
            yield from _walk(values, (*path, "values()"), findable=False, nullable=False, optional=False)


def _is_null(validator: Validator) -> bool:
    if isinstance(validator, UnionValidator):
        return any(_is_null(member) for member in validator.members)
    return isinstance(validator, ScalarValidator) and validator.scalar == "null"
