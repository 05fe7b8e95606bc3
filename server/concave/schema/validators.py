"""`v`, the namespace that builds validators, and the ways to one from JSON and from plain dicts.

Building fails at once, with `DeveloperError("InvalidValidator")`, on what can never be right (a child that is no
validator); what depends on the schema is left to `rules.py`. The kinds themselves are in `kinds.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar, cast

from concave.schema.kinds import (
    WIRE_TYPES,
    ArrayValidator,
    DocumentLookup,
    DocValidator,
    Fields,
    IdValidator,
    Json,
    LiteralValidator,
    ObjectValidator,
    OnDelete,
    RecordValidator,
    ScalarValidator,
    UnionValidator,
    Validator,
    checked,
    checked_fields,
    invalid,
    resolve_docs,
)
from concave.values import codec
from concave.values.types import Int64

__all__ = [
    "ArrayValidator",
    "DocValidator",
    "DocumentLookup",
    "Fields",
    "IdValidator",
    "Json",
    "LiteralValidator",
    "ObjectValidator",
    "OnDelete",
    "RecordValidator",
    "ScalarValidator",
    "UnionValidator",
    "Validator",
    "as_validator",
    "pagination_opts_validator",
    "pagination_result_validator",
    "resolve_docs",
    "v",
    "validator_from_json",
    "with_system_fields",
]

_KINDS: Final = {wire: kind for kind, wire in WIRE_TYPES.items()} | {"map": "any", "set": "any"}

V = TypeVar("V", bound=Validator)


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
        return ObjectValidator(checked_fields(given, where))
    return checked(given, where)


def _parse(obj: Json, path: str) -> Validator:
    if not isinstance(obj, dict) or not isinstance(obj.get("type"), str):
        raise invalid(f"the validator JSON at `{path or '.'}` is no object with a `type`")
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
                raise invalid(f"the validator JSON at `{path or '.'}` has the unknown type `{kind}`")
    except (KeyError, TypeError, AttributeError) as error:
        raise invalid(f"the validator JSON at `{path or '.'}` of type `{kind}` is malformed: {error!r}") from error


def _parse_field(obj: Json, path: str) -> Validator:
    validator = _parse(obj["fieldType"], f"{path}.fieldType")
    return validator.optional() if obj.get("optional") else validator


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
        raise invalid(f"v.literal: {value!r} is no string, number, Int64 or boolean")
    return LiteralValidator(value)


def _id(table: str, *, on_delete: OnDelete | None = None) -> IdValidator:
    """The id of a document of `table`. With `on_delete`: restrict, cascade or set_null."""
    if not isinstance(table, str):
        raise invalid(f'v.id: {table!r} is no table name; write v.id("messages")')
    if on_delete not in (None, "restrict", "cascade", "set_null"):
        raise invalid(f"v.id({table!r}): on_delete is {on_delete!r}; it may be restrict, cascade or set_null")
    return IdValidator(table, on_delete)


def _array(element: Validator) -> ArrayValidator:
    return ArrayValidator(checked(element, "v.array").required())


def _object(fields: Fields | None = None, /, **named: Validator) -> ObjectValidator:
    """An object: `v.object({"a": v.string()})` or `v.object(a=v.string())`."""
    if fields is not None and not isinstance(fields, Mapping):
        raise invalid(f"v.object: {fields!r} is no dict of validators")
    return ObjectValidator(checked_fields({**(fields or {}), **named}, "v.object"))


def _record(keys: Validator, values: Validator) -> RecordValidator:
    """An object used as a map. Keys: v.string(), v.id(...) or a union of these; neither may be optional."""
    for child, name in ((keys, "keys"), (values, "values")):
        if checked(child, f"v.record, {name}").is_optional:
            raise invalid(f"v.record: the {name} cannot be optional; leave out v.optional(...)")
    return RecordValidator(keys, values)


def _union(*members: Validator) -> UnionValidator:
    return UnionValidator(tuple(checked(m, f"v.union, member {i}").required() for i, m in enumerate(members)))


def _optional(validator: V) -> V:
    """A field that may be missing (never null: that is `v.nullable`)."""
    return cast(V, checked(validator, "v.optional").optional())


def _nullable(validator: Validator) -> UnionValidator:
    return _union(validator, _null())


def _doc(table: str) -> DocValidator:
    """The documents of `table`, with `_id` and `_creationTime`."""
    if not isinstance(table, str):
        raise invalid(f'v.doc: {table!r} is no table name; write v.doc("messages")')
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
