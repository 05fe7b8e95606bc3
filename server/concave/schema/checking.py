"""Testing values against validators: one fast closure per validator, and one slow interpreter for the message.

The closures only tell yes or no (with plain ints turned into floats on the way), so that the way to "yes", which each
mutation takes several times, is a handful of exact type tests. Only after a "no" does `explain` walk value and
validator again, in the order of `data-model.md` 4.3, to find the first error and its text (4.4). pydantic-core was
measured, too: 0.35 us against 0.45 us on an object of five fields. The difference did not pay for a copy of every
value, a second form of each validator, and error texts that would have had to be found by walking again all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from concave.schema.explaining import (
    SCALAR_TYPES,
    FailureKind,
    SchemaLookup,
    ValidationFailure,
    explain,
    is_float_like,
    table_number_of,
)
from concave.schema.kinds import (
    ArrayValidator,
    IdValidator,
    LiteralValidator,
    ObjectValidator,
    RecordValidator,
    ScalarValidator,
    UnionValidator,
    Validator,
    resolve_docs,
)
from concave.values.keys import encode_value
from concave.values.types import Int64, Value

__all__ = [
    "SYSTEM_FIELDS",
    "Check",
    "FailureKind",
    "SchemaLookup",
    "ValidationFailure",
    "compile_check",
    "compile_document_check",
    "explain",
]

Check: TypeAlias = Callable[[Value], Value]

SYSTEM_FIELDS: Final = ("_id", "_creationTime")

_Accept: TypeAlias = Callable[[Value], Value]
"""Returns the value, perhaps with ints turned into floats, or `_REJECTED`."""


class _Rejected:
    __slots__ = ()


_REJECTED: Final = _Rejected()
_MISSING: Final = _Rejected()
_ALL_TYPES: Final = frozenset((type(None), bool, str, float, int, Int64, bytes, list, dict))


def compile_check(validator: Validator, lookup: SchemaLookup) -> Check:
    """A function that returns the value if the validator admits it, and raises `ValidationFailure` if not.

    The value comes back as it is, or, where plain ints stood for numbers, as a copy with floats; the given value is
    never changed. Values must be Convex values (`codec.decode`, `codec.normalize`) but for such ints.
    Table numbers are looked up now: compile again when the tables change.
    """
    resolved = resolve_docs(validator, lookup)
    accept = _compile(resolved, lookup, system_fields=False)

    def check(value: Value) -> Value:
        checked = accept(value)
        if checked is _REJECTED:
            raise _failure(resolved, value, lookup)
        return checked

    return check


def compile_document_check(validator: Validator, lookup: SchemaLookup) -> Check:
    """As `compile_check` for whole documents of a table: `_id` and `_creationTime` may be there and are not checked."""
    resolved = resolve_docs(validator, lookup)
    accept = _compile(resolved, lookup, system_fields=True)

    def check(document: Value) -> Value:
        checked = accept(document)
        if checked is _REJECTED:
            fields = {name: value for name, value in document.items() if name not in SYSTEM_FIELDS}
            raise _failure(resolved, fields, lookup)
        return checked

    return check


def _failure(validator: Validator, value: Value, lookup: SchemaLookup) -> ValidationFailure:
    failure = explain(validator, value, lookup)
    assert failure is not None, f"the closure of {validator!r} refused what the interpreter admits: {value!r}"
    return failure


def _exact_type(validator: Validator) -> type | None:
    """The Python type whose every value the validator admits unchanged, if one such test says enough."""
    return SCALAR_TYPES.get(validator.scalar) if isinstance(validator, ScalarValidator) else None


def _python_types(validator: Validator) -> frozenset[type]:
    """The Python types among which everything lies that the validator admits (a plain int where a float is)."""
    match validator:
        case ScalarValidator(scalar="any"):
            return _ALL_TYPES
        case ScalarValidator(scalar="float64"):
            return frozenset((float, int))
        case ScalarValidator(scalar=scalar):
            return frozenset((SCALAR_TYPES[scalar],))
        case LiteralValidator(value=value):
            return frozenset((float, int)) if type(value) is float else frozenset((type(value),))
        case IdValidator():
            return frozenset((str,))
        case ArrayValidator():
            return frozenset((list,))
        case UnionValidator(members=members):
            return frozenset().union(*map(_python_types, members))
        case _:
            return frozenset((dict,))


def _compile(validator: Validator, lookup: SchemaLookup, *, system_fields: bool) -> _Accept:
    match validator:
        case ScalarValidator(scalar="any"):
            return _identity
        case ScalarValidator(scalar="float64"):
            return _number
        case ScalarValidator(scalar=scalar):
            return _scalar(SCALAR_TYPES[scalar])
        case LiteralValidator(value=value):
            return _literal(value)
        case IdValidator(table=table):
            return _id(lookup.find_table_number(table))
        case ArrayValidator(element=element):
            return _array(_exact_type(element), _compile(element, lookup, system_fields=False))
        case RecordValidator(keys=keys, values=values):
            accept_key = _compile(keys, lookup, system_fields=False)
            return _record(accept_key, _compile(values, lookup, system_fields=False))
        case ObjectValidator():
            return _object(validator, lookup, system_fields=system_fields)
        case UnionValidator():
            return _union(validator, lookup, system_fields=system_fields)
        case _:
            raise AssertionError(f"{validator!r} is not resolved")


def _identity(value: Value) -> Value:
    return value


def _number(value: Value) -> Value:
    if type(value) is float:
        return value
    return float(value) if is_float_like(value) else _REJECTED


def _scalar(expected: type) -> _Accept:
    return lambda value: value if type(value) is expected else _REJECTED


def _literal(literal: str | float | Int64 | bool) -> _Accept:
    expected = type(literal)
    if expected is not float:
        return lambda value: value if type(value) is expected and value == literal else _REJECTED
    key = encode_value(literal)  # tells 0.0 from -0.0, and NaN equals itself

    def accept(value: Value) -> Value:
        given = _number(value)
        return given if given is not _REJECTED and encode_value(given) == key else _REJECTED

    return accept


def _id(number: int | None) -> _Accept:
    if number is None:
        return lambda value: _REJECTED
    return lambda value: value if type(value) is str and table_number_of(value) == number else _REJECTED


def _array(exact: type | None, accept_element: _Accept) -> _Accept:
    only = {exact}

    def accept(value: Value) -> Value:
        if type(value) is not list:
            return _REJECTED
        if not value or (exact is not None and set(map(type, value)) == only):
            return value
        changed: list[Value] | None = None
        for position, element in enumerate(value):
            checked = accept_element(element)
            if checked is not element:
                if checked is _REJECTED:
                    return _REJECTED
                if changed is None:
                    changed = list(value)
                changed[position] = checked
        return value if changed is None else changed

    return accept


def _record(accept_key: _Accept, accept_value: _Accept) -> _Accept:
    def accept(value: Value) -> Value:
        if type(value) is not dict:
            return _REJECTED
        changed: dict[str, Value] | None = None
        for name, field in value.items():
            if accept_key(name) is _REJECTED:
                return _REJECTED
            checked = accept_value(field)
            if checked is not field:
                if checked is _REJECTED:
                    return _REJECTED
                if changed is None:
                    changed = dict(value)
                changed[name] = checked
        return value if changed is None else changed

    return accept


def _object(validator: ObjectValidator, lookup: SchemaLookup, *, system_fields: bool) -> _Accept:
    entries = tuple(
        (name, _exact_type(field), _compile(field, lookup, system_fields=False), field.is_optional)
        for name, field in validator.fields.items()
        if not (system_fields and name in SYSTEM_FIELDS)
    )

    def accept(value: Value) -> Value:
        if type(value) is not dict:
            return _REJECTED
        changed: dict[str, Value] | None = None
        extra = len(value)
        for name, exact, accept_field, is_optional in entries:
            field = value.get(name, _MISSING)
            if type(field) is exact:
                extra -= 1
                continue
            if field is _MISSING:
                if is_optional:
                    continue
                return _REJECTED
            extra -= 1
            checked = accept_field(field)
            if checked is not field:
                if checked is _REJECTED:
                    return _REJECTED
                if changed is None:
                    changed = dict(value)
                changed[name] = checked
        if extra and not (system_fields and extra == ("_id" in value) + ("_creationTime" in value)):
            return _REJECTED
        return value if changed is None else changed

    return accept


def _union(validator: UnionValidator, lookup: SchemaLookup, *, system_fields: bool) -> _Accept:
    """One look-up by the value's type leaves the few members that may admit it, in their order."""
    choices = [(member, _compile(member, lookup, system_fields=system_fields)) for member in _flat(validator)]
    accept_of_type = {
        python_type: _alternatives([c for c in choices if python_type in _python_types(c[0])], python_type)
        for python_type in _python_types(validator)
    }

    def accept(value: Value) -> Value:
        accept_member = accept_of_type.get(type(value))
        return _REJECTED if accept_member is None else accept_member(value)

    return accept


def _flat(union: UnionValidator) -> list[Validator]:
    """The members, with those of unions among them in their place: the same values, the same order."""
    flat: list[Validator] = []
    for member in union.members:
        flat += _flat(member) if isinstance(member, UnionValidator) else [member]
    return flat


def _alternatives(choices: list[tuple[Validator, _Accept]], python_type: type) -> _Accept:
    """The test of values of one Python type; each choice may admit some of them."""
    members = [member for member, _ in choices]
    accepts = [accept for _, accept in choices]
    if any(_exact_type(member) is python_type for member in members):
        return _identity
    if python_type is str and all(isinstance(member, LiteralValidator) for member in members):
        texts = frozenset(member.value for member in members if isinstance(member, LiteralValidator))
        return lambda value: value if value in texts else _REJECTED
    if len(accepts) == 1:
        return accepts[0]
    if python_type is dict and (name := _discriminator(members)) is not None:
        return _tagged(name, members, accepts)

    def accept(value: Value) -> Value:
        for accept_member in accepts:
            checked = accept_member(value)
            if checked is not _REJECTED:
                return checked
        return _REJECTED

    return accept


def _discriminator(members: list[Validator]) -> str | None:
    """A field that every member requires to be a string literal, each another one."""
    first = members[0]
    for name in first.fields if isinstance(first, ObjectValidator) else ():
        tags = {_tag(member, name) for member in members}
        if None not in tags and len(tags) == len(members):
            return name
    return None


def _tag(member: Validator, name: str) -> str | None:
    field = member.fields.get(name) if isinstance(member, ObjectValidator) else None
    if isinstance(field, LiteralValidator) and type(field.value) is str and not field.is_optional:
        return field.value
    return None


def _tagged(name: str, members: list[Validator], accepts: list[_Accept]) -> _Accept:
    accept_of_tag = {_tag(member, name): accept for member, accept in zip(members, accepts, strict=True)}

    def accept(value: Value) -> Value:
        tag = value.get(name)
        accept_member = accept_of_tag.get(tag) if type(tag) is str else None
        return _REJECTED if accept_member is None else accept_member(value)

    return accept
