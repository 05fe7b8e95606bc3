"""What user code hands in, made into values (`spec/data-model.md` 1.2, the rules of the official Python client).

`normalize` copies nothing that is a value already: a document from the database comes back as the same object.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Final

from concave.values.encoding import check_text
from concave.values.errors import error_at
from concave.values.faults import ValueFaultError
from concave.values.limits import DEFAULT_LIMITS
from concave.values.names import KNOWN_FIELD_NAMES, field_name_problem
from concave.values.sizes import check_array_length, check_field_count, too_nested
from concave.values.types import INT64_MAX, INT64_MIN, UNSET, Int64, Value

_SAFE_INTEGER: Final = 2**53
_ROOM: Final = DEFAULT_LIMITS.value_nesting_max


def normalize(value: object, *, where: str = "Value") -> Value:
    """`value` as a Convex value; the same object wherever nothing had to change.

    * `int` becomes `float` and must lie within ±2^53; `bool`, `Int64`, `float`, `str`, `bytes`, `None` stay
    * subclasses of these (enumerations, numpy floats) become the plain type
    * tuples and other sequences become lists, mappings dicts, `bytearray` and `memoryview` bytes
    * fields that are `UNSET` are left out; `UNSET` itself becomes None, and is refused in arrays

    Raises `DeveloperError`: `InvalidValue`, `InvalidFieldName`, `ArrayTooLong`, `TooManyFieldsError`, `TooNestedError`.
    The total size is not looked at: `sizes.check_document` and `sizes.check_value` do that.
    """
    if value is UNSET:
        return None
    try:
        return _normalize(value, _ROOM)
    except ValueFaultError as fault:
        raise error_at(fault, where) from None


def _normalize(value: Any, room: int) -> Value:
    kind = type(value)
    if kind is str:
        if not value.isascii():
            check_text(value)
        return value
    if kind is float or value is None or kind is bool or kind is Int64 or kind is bytes:
        return value
    if kind is dict:
        return _normalize_object(value, room)
    if kind is list:
        return _normalize_array(value, room)
    return _convert(value, room)


def _normalize_object(value: dict[Any, Any], room: int) -> dict[str, Value]:
    if room == 0:
        raise too_nested()
    if len(value) > DEFAULT_LIMITS.object_fields_max:
        check_field_count(len(value))
    if not KNOWN_FIELD_NAMES.issuperset(value):
        value = _normalize_names(value)
    # Fields that differ from what was handed in; UNSET for those to be left out.
    changed: dict[str, Value] | None = None
    name = ""
    try:
        for name, item in value.items():
            if type(name) is not str:
                # A member of a string enumeration equals its text, so the set of known names let it pass.
                return _normalize_object(_normalize_names(value), room)
            kind = type(item)
            if kind is str:
                if item.isascii():
                    continue
                check_text(item)
                continue
            if kind is float or item is None or kind is bool:
                continue
            new = UNSET if item is UNSET else _normalize(item, room - 1)
            if new is not item or new is UNSET:
                if changed is None:
                    changed = {}
                changed[name] = new
    except ValueFaultError as fault:
        fault.inside_field(name)
        raise
    if changed is None:
        return value
    merged = {**value, **changed}
    return {name: item for name, item in merged.items() if item is not UNSET}


def _normalize_names(value: dict[Any, Any]) -> dict[str, Any]:
    """`value`, its names checked; a copy if a name is of a subclass of `str`."""
    exact = True
    for name in value:
        if type(name) is not str:
            if not isinstance(name, str):
                raise ValueFaultError(
                    "InvalidFieldName",
                    f"the field name {name!r} is of type {type(name).__name__}, not a string. Use strings as keys.",
                )
            exact = False
        problem = field_name_problem(str.__str__(name))
        if problem is not None:
            raise ValueFaultError("InvalidFieldName", problem)
    return value if exact else {str.__str__(name): item for name, item in value.items()}


def _normalize_array(value: list[Any], room: int) -> list[Value]:
    if room == 0:
        raise too_nested()
    if len(value) > DEFAULT_LIMITS.array_elements_max:
        check_array_length(len(value))
    changed: list[Value] | None = None
    position = 0
    try:
        for position, item in enumerate(value):
            new = _normalize(item, room - 1)
            if new is not item:
                if changed is None:
                    changed = value.copy()
                changed[position] = new
    except ValueFaultError as fault:
        fault.inside_element(position)
        raise
    return value if changed is None else changed


def _convert(value: Any, room: int) -> Value:
    """The uncommon types. `bool` and `Int64` have been taken out before, so an `int` here is a plain one."""
    if isinstance(value, str):
        return _normalize(str.__str__(value), room)
    if isinstance(value, Int64):
        return Int64(value)
    if isinstance(value, int):
        return _float_of(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, Mapping):
        return _normalize_object(dict(value), room)
    if isinstance(value, Sequence):
        return _normalize_array(list(value), room)
    raise ValueFaultError("InvalidValue", _refusal(value))


def _float_of(value: int) -> float:
    if not -_SAFE_INTEGER <= value <= _SAFE_INTEGER:
        fits = INT64_MIN <= value <= INT64_MAX
        advice = "Pass concave.Int64(...) to keep it exact" if fits else "It fits no Int64 either: pass a string"
        raise ValueFaultError(
            "InvalidValue",
            f"the integer {_shorten(value)} cannot be a Float64 without loss (the most is 2**53). "
            f"{advice}, or a float if rounding does not matter.",
        )
    return float(value)


def _shorten(value: int) -> str:
    # Python refuses to print integers of thousands of digits.
    return str(value) if value.bit_length() < 256 else f"of {value.bit_length()} bits"


# What to do instead, by the names of types in a value's ancestry; names, so that nothing need be imported.
_ADVICE: Final = {
    "datetime": "Store milliseconds since 1970, `.timestamp() * 1000`, or `.isoformat()`.",
    "date": "Store `.isoformat()`.",
    "timedelta": "Store `.total_seconds() * 1000`.",
    "Decimal": "Store `float(...)`, or `str(...)` to keep it exact.",
    "UUID": "Store `str(...)`.",
    "set": "Arrays are ordered: pass `sorted(...)`.",
    "frozenset": "Arrays are ordered: pass `sorted(...)`.",
    "BaseModel": "Pass `.model_dump()`.",
    "Enum": "Pass its `.value`.",
    "ObjectId": "Pass `str(...)`.",
    "complex": "Pass its parts in an array.",
    "ndarray": "Pass `.tolist()`.",
    "generic": "Pass `.item()`.",
}


def _refusal(value: Any) -> str:
    name = type(value).__name__
    if value is UNSET:
        return "UNSET cannot stand in an array. Leave the element out, or use None."
    if inspect.isawaitable(value):
        return f"a {name} that was never awaited is no value. Put `await` before the call."
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        return f"a {name} is no value. Collect its items in a list."
    if hasattr(type(value), "__dataclass_fields__"):
        return f"the dataclass {name} is no Convex value. Pass `dataclasses.asdict(...)`."
    for ancestor in type(value).__mro__:
        if ancestor.__name__ in _ADVICE:
            return f"{name} is no Convex value. {_ADVICE[ancestor.__name__]}"
    return f"{name} is no Convex value. Use None, bool, float, concave.Int64, str, bytes, a list or a dict."
