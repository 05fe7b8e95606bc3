"""The interpreter that finds what is wrong with a value, in the order of `data-model.md` 4.3, with the texts of 4.4.

It is slow; `checking` runs it only after a compiled check has refused a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, Literal, Protocol

from concave.schema.kinds import (
    ArrayValidator,
    DocumentLookup,
    IdValidator,
    LiteralValidator,
    ObjectValidator,
    RecordValidator,
    ScalarValidator,
    UnionValidator,
    Validator,
)
from concave.values import codec
from concave.values.ids import decode_id
from concave.values.keys import encode_value
from concave.values.types import Int64, Value

FailureKind = Literal["mismatch", "missing", "extra", "literal", "id_table", "id_system"]

_INT_AS_FLOAT_MAX: Final = 2**53
_VERIFIED_IDS_MAX: Final = 65_536

SCALAR_TYPES: Final[Mapping[str, type]] = {
    "null": type(None),
    "boolean": bool,
    "string": str,
    "float64": float,
    "int64": Int64,
    "commitTs": Int64,
    "bytes": bytes,
}
"""The Python type of each scalar kind but `any`."""


class SchemaLookup(DocumentLookup, Protocol):
    """What checks need to know about the deployment: numbers of tables, both ways, and documents for `v.doc`."""

    def find_table_number(self, table: str) -> int | None:
        """The table's number, None if there is no such table (then no id passes)."""

    def table_name(self, number: int) -> str | None: ...


class ValidationFailure(Exception):
    """A value is not what its validator admits. The caller says what the value was for, and wraps it.

    `path` is the place, such as `.tags[3]`, empty at the root; `text` the whole message of `data-model.md` 4.4.
    """

    def __init__(self, kind: FailureKind, path: str, text: str) -> None:
        super().__init__(text)
        self.kind: FailureKind = kind
        self.path = path
        self.text = text


def explain(validator: Validator, value: Value, lookup: SchemaLookup, path: str = "") -> ValidationFailure | None:
    """The first failure in the order of 4.3, None if the validator admits the value. `validator` holds no `v.doc`."""
    match validator:
        case ScalarValidator(scalar=scalar):
            admitted = scalar == "any" or type(value) is SCALAR_TYPES[scalar]
            if admitted or (scalar == "float64" and is_float_like(value)):
                return None
        case LiteralValidator(value=literal):
            given = float(value) if is_float_like(value) else value
            if encode_value(given) != encode_value(literal):
                text = f"`{codec.describe(given)}` does not match literal validator `{validator.describe()}`."
                return ValidationFailure("literal", path, text + _path(path))
            return None
        case IdValidator(table=table):
            if type(value) is str and (number := table_number_of(value)) is not None:
                found = lookup.table_name(number)
                if found == table:
                    return None
                if found is not None:
                    return _wrong_table(validator, value, found, path)
        case ArrayValidator(element=element):
            if type(value) is list:
                return _first(explain(element, item, lookup, f"{path}[{i}]") for i, item in enumerate(value))
        case RecordValidator(keys=keys, values=values):
            if type(value) is dict:
                return _first(
                    explain(keys, name, lookup, f"{path}.keys()")
                    or explain(values, value[name], lookup, f"{path}.values()")
                    for name in sorted(value)
                )
        case ObjectValidator():
            if type(value) is dict:
                return _explain_object(validator, value, lookup, path)
        case UnionValidator(members=members):
            if len(members) == 1:
                return explain(members[0], value, lookup, path)
            if any(explain(member, value, lookup, path) is None for member in members):
                return None
        case _:
            raise AssertionError(f"{validator!r} is not resolved")
    lines = ("Value does not match validator.", _path(path), f"Value: {codec.describe(value)}", _validator(validator))
    return ValidationFailure("mismatch", path, "\n".join(lines))


def _explain_object(
    validator: ObjectValidator, value: dict[str, Value], lookup: SchemaLookup, path: str
) -> ValidationFailure | None:
    fields = validator.fields
    tail = (_path(path), f"Object: {codec.describe(value)}", _validator(validator))
    for name in sorted(fields):
        if name in value:
            failure = explain(fields[name], value[name], lookup, f"{path}.{name}")
            if failure is not None:
                return failure
        elif not fields[name].is_optional:
            text = (
                f"Object is missing the required field `{name}`. Consider wrapping the field validator in "
                "`v.optional(...)` if this is expected."
            )
            return ValidationFailure("missing", path, "\n".join((text, *tail)))
    for name in sorted(value):
        if name not in fields:
            text = f"Object contains extra field `{name}` that is not in the validator."
            return ValidationFailure("extra", path, "\n".join((text, *tail)))
    return None


def _wrong_table(validator: IdValidator, id: str, found: str, path: str) -> ValidationFailure:
    rest = f"which does not match the table name in validator `{validator.describe()}`.{_path(path)}"
    if found.startswith("_"):
        return ValidationFailure("id_system", path, f'Found ID "{id}" from a system table, {rest}')
    return ValidationFailure("id_table", path, f'Found ID "{id}" from table `{found}`, {rest}')


def _first(failures: Iterable[ValidationFailure | None]) -> ValidationFailure | None:
    return next((failure for failure in failures if failure is not None), None)


def _path(path: str) -> str:
    return f"Path: {path}" if path else ""


def _validator(validator: Validator) -> str:
    return f"Validator: {validator.describe()}"


@lru_cache(maxsize=_VERIFIED_IDS_MAX)
def table_number_of(text: str) -> int | None:
    """The table number in an id, None if it is no id. Cached, because the same ids are checked over and over."""
    try:
        return decode_id(text)[0]
    except ValueError:
        return None


def is_float_like(value: Value) -> bool:
    """Whether the value is a plain int that a float can stand for."""
    return type(value) is int and -_INT_AS_FLOAT_MAX <= value <= _INT_AS_FLOAT_MAX
