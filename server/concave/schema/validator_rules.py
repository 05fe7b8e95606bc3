"""What `data-model.md` 4.1 refuses in a validator at push, although it can be built."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from concave.schema.kinds import (
    ArrayValidator,
    IdValidator,
    LiteralValidator,
    ObjectValidator,
    RecordValidator,
    ScalarValidator,
    UnionValidator,
    Validator,
)
from concave.values.names import is_identifier

IDENTIFIER_MEND: Final = (
    "Use 1 to 64 letters, digits and underscores, beginning with a letter or an underscore, and not underscores only."
)


@dataclass(frozen=True, slots=True)
class ValidatorProblem:
    """One thing in a validator that can be built but not pushed. `path` leads to it, empty at the root."""

    code: str
    path: str
    message: str
    mend: str


def validator_problems(validator: Validator) -> list[ValidatorProblem]:
    """What 4.1 refuses at push, in table documents as well as in functions' `args` and `returns`."""
    problems = []
    for path, child in walk(validator):
        match child:
            case RecordValidator(keys=keys) if not _are_record_keys(keys):
                problems.append(
                    ValidatorProblem(
                        "InvalidRecordType",
                        path,
                        f"the keys of a record cannot be {keys.describe()}",
                        "Keys may be v.string(), v.id(...) or a union of those; for fixed names use v.object(...).",
                    )
                )
            case LiteralValidator(value=float(number)) if not math.isfinite(number):
                problems.append(
                    ValidatorProblem(
                        "UnsupportedFloatLiteral",
                        path,
                        f"{number!r} cannot be a literal",
                        "Use v.number().",
                    )
                )
            case ObjectValidator(fields=fields):
                problems += [
                    ValidatorProblem(
                        "InvalidIdentifier", path, f"{name!r} is no valid field name for v.object", IDENTIFIER_MEND
                    )
                    for name in fields
                    if not is_identifier(name)
                ]
    return problems


def walk(validator: Validator, path: str = "") -> Iterator[tuple[str, Validator]]:
    """The validator and all validators inside it, each with the path that leads to it, outermost first."""
    yield path, validator
    match validator:
        case ArrayValidator(element=element):
            yield from walk(element, f"{path}[]")
        case ObjectValidator(fields=fields):
            for name, field in fields.items():
                yield from walk(field, f"{path}.{name}")
        case RecordValidator(keys=keys, values=values):
            yield from walk(keys, f"{path}.keys()")
            yield from walk(values, f"{path}.values()")
        case UnionValidator(members=members):
            for member in members:
                yield from walk(member, path)


def _are_record_keys(keys: Validator) -> bool:
    match keys:
        case ScalarValidator(scalar="string") | IdValidator():
            return True
        case UnionValidator(members=members):
            return bool(members) and all(map(_are_record_keys, members))
        case _:
            return False
