"""Which values a field path can hold, and whether a Mongo index on the field itself sorts them as Convex does.

Terms: a *tag* names the type of a value at a path: `undefined`, `null`, `int64`, `float64`, `boolean`, `string`,
`bytes`, `array`, `object`. A column is *natural* if all values that the validator admits sort the same in BSON and in
the engine's key order (`data-model.md` 8.2, with the departure for -0.0 and NaN of `design.md` section 4); otherwise
it is *encoded*.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

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

Tag: TypeAlias = Literal["undefined", "null", "int64", "float64", "boolean", "string", "bytes", "array", "object"]
Tags: TypeAlias = frozenset[Tag]
Path: TypeAlias = tuple[str, ...]

_UNDEFINED: Final[Tags] = frozenset(("undefined",))
_ANYTHING: Final[Tags] = frozenset(
    ("undefined", "null", "int64", "float64", "boolean", "string", "bytes", "array", "object")
)
_TAG_OF_SCALAR: Final[dict[str, Tag]] = {
    "null": "null",
    "boolean": "boolean",
    "string": "string",
    "float64": "float64",
    "int64": "int64",
    "commitTs": "int64",
    "bytes": "bytes",
}
_TAG_OF_LITERAL: Final[dict[type, Tag]] = {str: "string", float: "float64", Int64: "int64", bool: "boolean"}

# By length first, a key per element, or by type before name: never in Convex's order.
_NEVER_NATURAL: Final[Tags] = frozenset(("bytes", "array", "object"))
# Pairs that BSON merges (one key, or one number line) or orders the other way round.
_CLASHES: Final[tuple[Tags, ...]] = (
    frozenset(("undefined", "null")),
    frozenset(("int64", "float64")),
    frozenset(("boolean", "string")),
)


def natural_admitted(validator: Validator) -> frozenset[str] | None:
    """The tags of the values of a column with this validator if the column is natural, else None.

    An optional validator may be missing, which is the tag `undefined`.
    """
    return _natural(_tags(validator))


def natural_admitted_at(document: Validator, path: Path) -> frozenset[str] | None:
    """As `natural_admitted`, for the column at a field path of documents with the given validator."""
    return _natural(tags_at(document, path))


def tags_at(validator: Validator, path: Path) -> Tags | None:
    """The tags of what a path can give, None if it may step into an array: there Mongo makes a key per element, while
    the path is undefined."""
    if not path:
        return _tags(validator)
    match validator:
        case ObjectValidator(fields=fields):
            field = fields.get(path[0])
            if field is None:
                return _UNDEFINED
            found = tags_at(field, path[1:])
            return found if found is None or not field.is_optional else found | _UNDEFINED
        case RecordValidator(values=values):
            found = tags_at(values, path[1:])
            return None if found is None else found | _UNDEFINED
        case UnionValidator(members=members):
            found = frozenset()
            for member in members:
                tags = tags_at(member, path)
                if tags is None:
                    return None
                found |= tags
            return found
        case ArrayValidator() | ScalarValidator(scalar="any"):
            return None
        case _:
            return _UNDEFINED


def can_contain(validator: Validator, path: Path) -> bool:
    """Whether some admitted document has something at the path; never below a record (5.2)."""
    if not path:
        return True
    match validator:
        case ScalarValidator(scalar="any"):
            return True
        case UnionValidator(members=members):
            return any(can_contain(member, path) for member in members)
        case ObjectValidator(fields=fields):
            return path[0] in fields and can_contain(fields[path[0]], path[1:])
        case _:
            return False


def can_be_vector(validator: Validator, path: Path) -> bool:
    """Whether some admitted document has an array of float64 at the path."""
    match validator:
        case ScalarValidator(scalar="any"):
            return True
        case UnionValidator(members=members):
            return any(can_be_vector(member, path) for member in members)
        case ObjectValidator(fields=fields) if path:
            return path[0] in fields and can_be_vector(fields[path[0]], path[1:])
        case ArrayValidator(element=element) if not path:
            return "float64" in _tags(element)
        case _:
            return False


def _tags(validator: Validator) -> Tags:
    found: Tags
    match validator:
        case ScalarValidator(scalar="any"):
            found = _ANYTHING
        case ScalarValidator(scalar=scalar):
            found = frozenset((_TAG_OF_SCALAR[scalar],))
        case LiteralValidator(value=value):
            found = frozenset((_TAG_OF_LITERAL[type(value)],))
        case IdValidator():
            found = frozenset(("string",))
        case ArrayValidator():
            found = frozenset(("array",))
        case UnionValidator(members=members):
            found = frozenset().union(*map(_tags, members))
        case _:
            found = frozenset(("object",))
    return found | _UNDEFINED if validator.is_optional else found


def _natural(tags: Tags | None) -> frozenset[str] | None:
    # No tags at all: a column that nothing can be in. Nothing would be gained by a rule for it.
    if not tags or tags & _NEVER_NATURAL or any(clash <= tags for clash in _CLASHES):
        return None
    return frozenset(tags)
