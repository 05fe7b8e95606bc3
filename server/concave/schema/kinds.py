"""The kinds of validators: immutable descriptions of which values a place may hold.

Mirrors `data-model.md` 4.1: kind, JSON form, printing (1.7). They are built with `v` of `validators.py`, which also
re-exports them. `DocValidator` is the one kind without JSON: it stands for the documents of a table and has to be
replaced first (`resolve_docs`), because the table may be defined later than the function that names it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar

from concave.values import codec
from concave.values.errors import DeveloperError
from concave.values.keys import encode_value
from concave.values.types import Int64

Json: TypeAlias = Any
"""What `orjson.dumps` takes."""

OnDelete = Literal["restrict", "cascade", "set_null"]
Fields: TypeAlias = "Mapping[str, Validator]"

WIRE_TYPES: Final = {
    "null": "null",
    "boolean": "boolean",
    "string": "string",
    "float64": "number",
    "int64": "bigint",
    "bytes": "bytes",
    "any": "any",
    "commitTs": "commitTs",
}
"""The wire type of each scalar kind."""

V = TypeVar("V", bound="Validator")


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Validator:
    """Base of all validators. `is_optional`: as a field of an object it may be missing; elsewhere without meaning.

    Two validators are equal if they admit the same values by the same structure (and say the same `on_delete`).
    """

    is_optional: bool = False

    @property
    def kind(self) -> str:
        """Upstream's name of the kind: null, boolean, string, float64, int64, bytes, any, commitTs, literal, id,
        array, object, record, union; and `doc`."""
        return type(self).__name__.removesuffix("Validator").lower()

    def json(self) -> Json:
        """The wire form of 4.1. Raises `DeveloperError` if a `v.doc` inside is not resolved yet."""
        raise NotImplementedError

    def describe(self) -> str:
        """The text that error messages print (1.7), without the validator's own optionality."""
        raise NotImplementedError

    def _identity(self) -> object:
        return self.json()

    def required(self: V) -> V:
        return replace(self, is_optional=False) if self.is_optional else self

    def optional(self: V) -> V:
        return self if self.is_optional else replace(self, is_optional=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Validator):
            return NotImplemented
        return (
            type(self) is type(other)
            and self.is_optional == other.is_optional
            and self._identity() == other._identity()
        )

    def __hash__(self) -> int:
        return hash((self.is_optional, self.describe()))

    def __repr__(self) -> str:
        return f"v.optional({self.describe()})" if self.is_optional else self.describe()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ScalarValidator(Validator):
    """null, boolean, string, float64, int64, bytes, any, commitTs."""

    scalar: str

    @property
    def kind(self) -> str:
        return self.scalar

    def json(self) -> Json:
        return {"type": WIRE_TYPES[self.scalar]}

    def describe(self) -> str:
        return f"v.{self.scalar}()"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LiteralValidator(Validator):
    """Exactly one value, by the total order's equality: 0.0, -0.0 and Int64(0) are three."""

    value: str | float | Int64 | bool

    def json(self) -> Json:
        return {"type": "literal", "value": codec.encode(self.value)}

    def describe(self) -> str:
        # As upstream: what JSON cannot print is printed as its type.
        if isinstance(self.value, Int64):
            return "v.literal(<bigint>)"
        if isinstance(self.value, float) and not math.isfinite(self.value):
            return "v.literal(<number>)"
        return f"v.literal({json.dumps(self.value, ensure_ascii=False)})"

    def _identity(self) -> object:
        return encode_value(self.value)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class IdValidator(Validator):
    """The id of a document of `table`. `on_delete` says what the deletion of that document does to this one."""

    table: str
    on_delete: OnDelete | None = None

    def json(self) -> Json:
        return {"type": "id", "tableName": self.table}

    def describe(self) -> str:
        return f"v.id({json.dumps(self.table)})"

    def _identity(self) -> object:
        return self.table, self.on_delete


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ArrayValidator(Validator):
    element: Validator

    def json(self) -> Json:
        return {"type": "array", "value": self.element.json()}

    def describe(self) -> str:
        return f"v.array({self.element.describe()})"

    def _identity(self) -> object:
        return self.element


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ObjectValidator(Validator):
    """An object with exactly these fields, of which the optional ones may be missing."""

    fields: Fields

    def json(self) -> Json:
        fields = {
            name: {"fieldType": field.json(), "optional": field.is_optional} for name, field in self.fields.items()
        }
        return {"type": "object", "value": fields}

    def describe(self) -> str:
        return "v.object({" + ", ".join(f"{name}: {self.fields[name]!r}" for name in sorted(self.fields)) + "})"

    def _identity(self) -> object:
        return dict(self.fields)

    def pick(self, *names: str) -> ObjectValidator:
        self._must_have(names)
        return replace(self, fields={name: field for name, field in self.fields.items() if name in names})

    def omit(self, *names: str) -> ObjectValidator:
        self._must_have(names)
        return replace(self, fields={name: field for name, field in self.fields.items() if name not in names})

    def partial(self) -> ObjectValidator:
        """The same with every field optional."""
        return replace(self, fields={name: field.optional() for name, field in self.fields.items()})

    def extend(self, fields: Fields | None = None, /, **named: Validator) -> ObjectValidator:
        """The same with more fields; one of the same name takes the place of the old one."""
        return replace(self, fields={**self.fields, **checked_fields({**(fields or {}), **named}, "extend")})

    def _must_have(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.fields:
                raise invalid(f"`{name}` is no field of {self.describe()}")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RecordValidator(Validator):
    """An object with any number of fields: every name is admitted by `keys`, every value by `values`."""

    keys: Validator
    values: Validator

    def json(self) -> Json:
        return {
            "type": "record",
            "keys": self.keys.json(),
            "values": {"fieldType": self.values.json(), "optional": False},
        }

    def describe(self) -> str:
        return f"v.record({self.keys.describe()}, {self.values.describe()})"

    def _identity(self) -> object:
        return self.keys, self.values


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UnionValidator(Validator):
    """What any member admits; an empty union admits nothing."""

    members: tuple[Validator, ...]

    def json(self) -> Json:
        return {"type": "union", "value": [member.json() for member in self.members]}

    def describe(self) -> str:
        return "v.union(" + ", ".join(member.describe() for member in self.members) + ")"

    def _identity(self) -> object:
        return self.members


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class DocValidator(Validator):
    """The documents of a table, `_id` and `_creationTime` included; resolved when the whole schema is known."""

    table: str

    def json(self) -> Json:
        raise DeveloperError(
            "UnresolvedDocValidator",
            f"{self.describe()} has no JSON before the schema is known: replace it with `resolve_docs` first",
        )

    def describe(self) -> str:
        return f"v.doc({json.dumps(self.table)})"

    def _identity(self) -> object:
        return self.table


class DocumentLookup(Protocol):
    """Who knows what the documents of a table look like."""

    def document_validator(self, table: str) -> Validator:
        """The documents of `table` with their system fields; raises `DeveloperError` if there is no such table."""


def resolve_docs(validator: Validator, lookup: DocumentLookup) -> Validator:
    """The same validator with each `v.doc` replaced; the validator itself if there is none in it."""
    match validator:
        case DocValidator(table=table):
            return replace(lookup.document_validator(table), is_optional=validator.is_optional)
        case ArrayValidator(element=element):
            new = resolve_docs(element, lookup)
            return validator if new is element else replace(validator, element=new)
        case ObjectValidator(fields=fields):
            resolved = {name: resolve_docs(field, lookup) for name, field in fields.items()}
            same = all(resolved[name] is field for name, field in fields.items())
            return validator if same else replace(validator, fields=resolved)
        case RecordValidator(values=values):
            new = resolve_docs(values, lookup)
            return validator if new is values else replace(validator, values=new)
        case UnionValidator(members=members):
            new_members = tuple(resolve_docs(member, lookup) for member in members)
            same = all(new is old for new, old in zip(new_members, members, strict=True))
            return validator if same else replace(validator, members=new_members)
        case _:
            return validator


def invalid(message: str) -> DeveloperError:
    """The error of building something that can never be a validator."""
    return DeveloperError("InvalidValidator", message)


def checked(child: object, where: str) -> Validator:
    """`child` if it is a validator; `where` is for the text of the error that is raised if not."""
    if isinstance(child, Validator):
        return child
    if child is None:
        raise invalid(
            f"{where}: the validator is None. Does it come from a module that is still being loaded, "
            "by a circular import?"
        )
    raise invalid(f"{where}: {child!r} is no validator; build one with `v`, for example v.string()")


def checked_fields(fields: Mapping[str, object], where: str) -> Fields:
    """As `checked`, for the fields of an object."""
    for name in fields:
        if not isinstance(name, str):
            raise invalid(f"{where}: the field name {name!r} is no string")
    return {name: checked(field, f"{where}, field `{name}`") for name, field in fields.items()}
