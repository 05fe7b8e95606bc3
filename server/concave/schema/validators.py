"""Validators: immutable descriptions of which values a place may hold, and `v`, the namespace that builds them.

Mirrors `data-model.md` 4.1: kinds, JSON form, printing (1.7). A validator does not test values;
`checking.compile_check` makes a fast function of one. `v.doc("table")` is the one kind without JSON: it stands for
the documents of a table and has to be replaced first (`resolve_docs`), because the table may be defined later than
the function that names it.

Building fails at once, with `DeveloperError("InvalidValidator")`, on what can never be right (a child that is no
validator); what depends on the schema is left to `rules.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, TypeAlias, TypeVar, cast

from concave.values import codec
from concave.values.errors import DeveloperError
from concave.values.keys import encode_value
from concave.values.types import Int64

Json: TypeAlias = Any
"""What `orjson.dumps` takes."""

OnDelete = Literal["restrict", "cascade", "set_null"]
Fields: TypeAlias = "Mapping[str, Validator]"

_WIRE_TYPES: Final = {
    "null": "null",
    "boolean": "boolean",
    "string": "string",
    "float64": "number",
    "int64": "bigint",
    "bytes": "bytes",
    "any": "any",
    "commitTs": "commitTs",
}
_KINDS: Final = {wire: kind for kind, wire in _WIRE_TYPES.items()} | {"map": "any", "set": "any"}

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
        return {"type": _WIRE_TYPES[self.scalar]}

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
        return replace(self, fields={**self.fields, **_checked_fields({**(fields or {}), **named}, "extend")})

    def _must_have(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.fields:
                raise _invalid(f"`{name}` is no field of {self.describe()}")


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


def with_system_fields(validator: Validator, table: str) -> Validator:
    """What the documents of `table` look like with `_id` and `_creationTime` (upstream's `docValidator`)."""
    match validator:
        case ObjectValidator():
            return replace(validator, fields={**validator.fields, "_id": _id(table), "_creationTime": _NUMBER})
        case UnionValidator(members=members):
            return replace(validator, members=tuple(with_system_fields(member, table) for member in members))
        case _:
            return validator


def validator_from_json(obj: Json) -> Validator:
    """The inverse of `Validator.json`, for stored schemas and for those that other tools send.

    Raises `DeveloperError("InvalidValidator")` that names the path to what it does not understand.
    """
    return _parse(obj, "")


def as_validator(given: object, *, where: str) -> Validator:
    """A validator, or a plain dict of validators, which means `v.object`. `where` is for the error's text."""
    if isinstance(given, Mapping):
        return ObjectValidator(_checked_fields(given, where))
    return _checked(given, where)


def _parse(obj: Json, path: str) -> Validator:
    if not isinstance(obj, dict) or not isinstance(obj.get("type"), str):
        raise _invalid(f"the validator JSON at `{path or '.'}` is no object with a `type`")
    kind: str = obj["type"]
    if kind in _KINDS:
        return ScalarValidator(_KINDS[kind])
    try:
        match kind:
            case "literal":
                return _literal(codec.decode(obj["value"]))
            case "id":
                return _id(obj["tableName"])
            case "array":
                return ArrayValidator(_parse(obj["value"], f"{path}.value"))
            case "object":
                return ObjectValidator(
                    {name: _parse_field(field, f"{path}.value.{name}") for name, field in obj["value"].items()}
                )
            case "record":
                values = _parse_field(obj["values"], f"{path}.values")
                return _record(_parse(obj["keys"], f"{path}.keys"), values)
            case "union":
                members = obj["value"]
                return UnionValidator(tuple(_parse(m, f"{path}.value[{i}]") for i, m in enumerate(members)))
            case _:
                raise _invalid(f"the validator JSON at `{path or '.'}` has the unknown type `{kind}`")
    except (KeyError, TypeError, AttributeError) as error:
        raise _invalid(f"the validator JSON at `{path or '.'}` of type `{kind}` is malformed: {error!r}") from error


def _parse_field(obj: Json, path: str) -> Validator:
    validator = _parse(obj["fieldType"], f"{path}.fieldType")
    return validator.optional() if obj.get("optional") else validator


def _invalid(message: str) -> DeveloperError:
    return DeveloperError("InvalidValidator", message)


def _checked(child: object, where: str) -> Validator:
    if isinstance(child, Validator):
        return child
    if child is None:
        raise _invalid(
            f"{where}: the validator is None. Does it come from a module that is still being loaded, "
            "by a circular import?"
        )
    raise _invalid(f"{where}: {child!r} is no validator; build one with `v`, for example v.string()")


def _checked_fields(fields: Mapping[str, object], where: str) -> Fields:
    for name in fields:
        if not isinstance(name, str):
            raise _invalid(f"{where}: the field name {name!r} is no string")
    return {name: _checked(field, f"{where}, field `{name}`") for name, field in fields.items()}


def _null() -> ScalarValidator:
    return ScalarValidator("null")


def _boolean() -> ScalarValidator:
    return ScalarValidator("boolean")


def _string() -> ScalarValidator:
    return ScalarValidator("string")


def _number() -> ScalarValidator:
    return ScalarValidator("float64")


def _int64() -> ScalarValidator:
    return ScalarValidator("int64")


def _bytes() -> ScalarValidator:
    return ScalarValidator("bytes")


def _any() -> ScalarValidator:
    return ScalarValidator("any")


def _commit_ts() -> ScalarValidator:
    """The commit timestamp: an Int64 (`data-model.md` 7.6)."""
    return ScalarValidator("commitTs")


def _literal(value: str | float | Int64 | bool) -> LiteralValidator:
    """Exactly `value`: a string, a number (a plain int is one), an Int64 or a boolean."""
    if type(value) is int:
        value = float(value)
    if type(value) not in (str, float, Int64, bool):
        raise _invalid(f"v.literal: {value!r} is no string, number, Int64 or boolean")
    return LiteralValidator(value)


def _id(table: str, *, on_delete: OnDelete | None = None) -> IdValidator:
    """The id of a document of `table`. With `on_delete`: restrict, cascade or set_null."""
    if not isinstance(table, str):
        raise _invalid(f'v.id: {table!r} is no table name; write v.id("messages")')
    if on_delete not in (None, "restrict", "cascade", "set_null"):
        raise _invalid(f"v.id({table!r}): on_delete is {on_delete!r}; it may be restrict, cascade or set_null")
    return IdValidator(table, on_delete)


def _array(element: Validator) -> ArrayValidator:
    return ArrayValidator(_checked(element, "v.array").required())


def _object(fields: Fields | None = None, /, **named: Validator) -> ObjectValidator:
    """An object: `v.object({"a": v.string()})` or `v.object(a=v.string())`."""
    if fields is not None and not isinstance(fields, Mapping):
        raise _invalid(f"v.object: {fields!r} is no dict of validators")
    return ObjectValidator(_checked_fields({**(fields or {}), **named}, "v.object"))


def _record(keys: Validator, values: Validator) -> RecordValidator:
    """An object used as a map. Keys: v.string(), v.id(...) or a union of these; neither may be optional."""
    for child, name in ((keys, "keys"), (values, "values")):
        if _checked(child, f"v.record, {name}").is_optional:
            raise _invalid(f"v.record: the {name} cannot be optional; leave out v.optional(...)")
    return RecordValidator(keys, values)


def _union(*members: Validator) -> UnionValidator:
    return UnionValidator(tuple(_checked(m, f"v.union, member {i}").required() for i, m in enumerate(members)))


def _optional(validator: V) -> V:
    """A field that may be missing (never null: that is `v.nullable`)."""
    return cast(V, _checked(validator, "v.optional").optional())


def _nullable(validator: Validator) -> UnionValidator:
    return _union(validator, _null())


def _doc(table: str) -> DocValidator:
    """The documents of `table`, with `_id` and `_creationTime`."""
    if not isinstance(table, str):
        raise _invalid(f'v.doc: {table!r} is no table name; write v.doc("messages")')
    return DocValidator(table)


class _Builders:
    """The namespace `v`; see `data-model.md` 4.1. The names hide builtins, so the functions live outside."""

    null = staticmethod(_null)
    boolean = staticmethod(_boolean)
    string = staticmethod(_string)
    number = staticmethod(_number)
    float64 = staticmethod(_number)
    int64 = staticmethod(_int64)
    bigint = staticmethod(_int64)
    bytes = staticmethod(_bytes)
    any = staticmethod(_any)
    commit_ts = staticmethod(_commit_ts)
    literal = staticmethod(_literal)
    id = staticmethod(_id)
    array = staticmethod(_array)
    object = staticmethod(_object)
    record = staticmethod(_record)
    union = staticmethod(_union)
    optional = staticmethod(_optional)
    nullable = staticmethod(_nullable)
    doc = staticmethod(_doc)


v: Final = _Builders()

_NUMBER: Final = _number()

pagination_opts_validator: Final = _object(
    {
        "numItems": _number(),
        "cursor": _nullable(_string()),
        "endCursor": _optional(_nullable(_string())),
        "id": _optional(_number()),
        "maximumRowsRead": _optional(_number()),
        "maximumBytesRead": _optional(_number()),
    }
)
"""What the official clients' `usePaginatedQuery` sends as `paginationOpts`."""


def pagination_result_validator(item: Validator) -> ObjectValidator:
    """What `.paginate` returns, for pages of `item`."""
    status = _union(_literal("SplitRecommended"), _literal("SplitRequired"), _null())
    return _object(
        {
            "page": _array(item),
            "isDone": _boolean(),
            "continueCursor": _string(),
            "splitCursor": _optional(_nullable(_string())),
            "pageStatus": _optional(status),
        }
    )
