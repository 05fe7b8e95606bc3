"""Validators as MongoDB's `$jsonSchema`, so that writers who do not come through the engine are checked, too.

Coarser than `checking` where Mongo cannot say more: an id's table, 0.0 against -0.0, and an int where a number is
wanted, which mongosh and other drivers write for whole numbers (the engine reads it as a float).
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from concave.schema.validators import (
    ArrayValidator,
    IdValidator,
    LiteralValidator,
    ObjectValidator,
    RecordValidator,
    ScalarValidator,
    UnionValidator,
    Validator,
)
from concave.values.types import Int64

JsonSchema: TypeAlias = dict[str, Any]

HIDDEN_FIELD: Final = "_k"
"""The sub-document with the encoded index columns."""

# Crockford's alphabet in lower case, and the lengths of ids for table numbers of 1 to 5 bytes (3.1).
_ID: Final[JsonSchema] = {"bsonType": "string", "pattern": "^[0-9abcdefghjkmnpqrstvwxyz]{31,37}$"}
_NUMBER: Final[JsonSchema] = {"bsonType": ["double", "int", "long"]}
_SCALARS: Final[dict[str, JsonSchema]] = {
    "null": {"bsonType": "null"},
    "boolean": {"bsonType": "bool"},
    "string": {"bsonType": "string"},
    "float64": _NUMBER,
    "int64": {"bsonType": ["long", "int"]},
    "commitTs": {"bsonType": ["long", "int"]},
    "bytes": {"bsonType": "binData"},
    "any": {},
}
_SYSTEM_PROPERTIES: Final[JsonSchema] = {
    "_id": _ID,
    "_creationTime": _NUMBER,
    HIDDEN_FIELD: {"bsonType": "object"},
}


def document_json_schema(document: Validator) -> JsonSchema:
    """The `$jsonSchema` of a collection whose documents, without system fields, have the given validator."""
    match document:
        case ObjectValidator():
            return _object(document, {**_SYSTEM_PROPERTIES})
        case UnionValidator(members=members):
            return _any_of([document_json_schema(member) for member in members])
        case _:
            return {
                "bsonType": "object",
                "required": ["_creationTime", "_id"],
                "properties": {**_SYSTEM_PROPERTIES},
            }


def value_json_schema(validator: Validator) -> JsonSchema:
    """The `$jsonSchema` of one value."""
    match validator:
        case ScalarValidator(scalar=scalar):
            return dict(_SCALARS[scalar])
        case LiteralValidator(value=value):
            return _literal(value)
        case IdValidator():
            return dict(_ID)
        case ArrayValidator(element=element):
            return {"bsonType": "array", "items": value_json_schema(element)}
        case RecordValidator(keys=keys, values=values):
            return _record(keys, value_json_schema(values))
        case ObjectValidator():
            return _object(validator, {})
        case UnionValidator(members=members):
            return _any_of([value_json_schema(member) for member in members])
        case _:
            raise AssertionError(f"{validator!r} has no $jsonSchema")


def _object(validator: ObjectValidator, system: JsonSchema) -> JsonSchema:
    schema: JsonSchema = {
        "bsonType": "object",
        "properties": system | {name: value_json_schema(field) for name, field in sorted(validator.fields.items())},
        "additionalProperties": False,
    }
    required = [name for name, field in validator.fields.items() if not field.is_optional]
    if system:
        required += ["_creationTime", "_id"]
    if required:  # Mongo refuses an empty list
        schema["required"] = sorted(required)
    return schema


def _record(keys: Validator, values: JsonSchema) -> JsonSchema:
    # Keys are strings or ids; only if ids are all there is, the names can be held to a pattern.
    members = keys.members if isinstance(keys, UnionValidator) else (keys,)
    if all(isinstance(member, IdValidator) for member in members):
        return {"bsonType": "object", "patternProperties": {_ID["pattern"]: values}, "additionalProperties": False}
    return {"bsonType": "object", "additionalProperties": values}


def _literal(value: str | float | Int64 | bool) -> JsonSchema:
    # The type is said, too, because Mongo compares enum values across numeric types.
    if isinstance(value, Int64):
        return {"bsonType": ["long", "int"], "enum": [int(value)]}
    if isinstance(value, float):
        return {**_NUMBER, "enum": [value]}
    return {"bsonType": "bool" if isinstance(value, bool) else "string", "enum": [value]}


def _any_of(schemas: list[JsonSchema]) -> JsonSchema:
    if {} in schemas:
        return {}
    if not schemas:
        return {"not": {}}  # an empty union admits nothing
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
