"""Values to Convex's encoded JSON (`spec/data-model.md` 1.1, 1.2). The half of `codec` that errors need, too.

`encode_json` is on the path of every result. orjson writes everything but five kinds of values as the wire wants it;
Int64 and Bytes it hands back to us (`default`), while NaN, the infinities, -0.0 and plain ints it would write wrongly
(`null`, `-0.0`, `17`). So the value is scanned first, and converted only if the scan finds one of those.
Measured alternatives: converting always costs three times as much; searching the output for traces of special floats
cannot tell them from text.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Iterable
from typing import Any, Final

import orjson

from concave.values.faults import ValueFaultError
from concave.values.types import Int64, Value

_INT64: Final = struct.Struct("<q")
_DOUBLE: Final = struct.Struct("<d")
_FLOAT_MAX: Final = 1.7976931348623157e308

_OPTIONS: Final = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_SUBCLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_DATACLASS
)


# How far a value is from what orjson writes by itself. Plain numbers: reading an enumeration's members is slow.
PLAIN: Final = 0
WRAPPED: Final = 1
"""Holds Int64 or Bytes: orjson calls `_wrap` for them."""
SPECIAL: Final = 2
"""Holds what orjson would write wrongly or not at all: convert first."""


def encode_json(value: Value) -> bytes:
    """The encoded JSON of a value: keys sorted, floats with a fraction or exponent, equal values byte for byte equal.

    A plain `int` is written as the Float64 it stands for. What is no value raises `ValueFaultError`.
    """
    if shape((value,)) != SPECIAL:
        try:
            return orjson.dumps(value, _wrap, _OPTIONS)
        except TypeError:
            # Something odd below, a lone surrogate say: the conversion finds out where.
            pass
    return orjson.dumps(encode(value), option=orjson.OPT_SORT_KEYS)


def encode(value: Value) -> Any:
    """The value as what `orjson.dumps` writes rightly. Shares no container with `value`. Raises `ValueFaultError`."""
    kind = type(value)
    if kind is str:
        check_text(value)
        return value
    if value is None or kind is bool:
        return value
    if kind is float:
        return encode_float(value)
    if kind is dict:
        return _encode_object(value)
    if kind is list:
        return _encode_array(value)
    if kind is Int64:
        return encode_int64(value)
    if kind is bytes:
        return {"$bytes": base64(value)}
    if kind is int:
        return encode_float(float(value))
    raise ValueFaultError(
        "InvalidValue", f"{kind.__name__} is no Convex value. Convert it to one before it is returned or stored."
    )


def shape(values: Iterable[Value]) -> int:
    """The farthest shape among `values` and everything within them. Stops at the first `SPECIAL`."""
    found = PLAIN
    for value in values:
        kind = type(value)
        if kind is str:
            continue
        if kind is float:
            # Only ordinary numbers pass: a comparison with NaN is false, and zero needs its sign looked at.
            if 0.0 < value <= _FLOAT_MAX or -_FLOAT_MAX <= value < 0.0 or (value == 0.0 and str(value) == "0.0"):
                continue
            return SPECIAL
        if value is None or kind is bool:
            continue
        if kind is dict:
            inner = shape(value.values())
        elif kind is list:
            inner = shape(value)
        elif kind is Int64 or kind is bytes:
            inner = WRAPPED
        else:
            return SPECIAL
        if inner:
            if inner == SPECIAL:
                return SPECIAL
            found = WRAPPED
    return found


def is_special(number: float) -> bool:
    """Whether a float has no JSON number of its own: NaN, infinite or -0.0."""
    return not (number - number == 0.0 and (number != 0.0 or str(number) == "0.0"))


def encode_float(number: float) -> Any:
    """A JSON number, or `{"$float": ...}` for special floats."""
    return {"$float": base64(_DOUBLE.pack(number))} if is_special(number) else number


def encode_int64(number: int) -> dict[str, str]:
    """`{"$integer": ...}`."""
    return {"$integer": base64(_INT64.pack(number))}


def base64(data: bytes) -> str:
    """The standard alphabet, with padding."""
    return binascii.b2a_base64(data, newline=False).decode()


def check_text(text: str) -> None:
    """Raise `ValueFaultError` if a string holds a lone surrogate. Free for ASCII."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueFaultError(
                "InvalidValue",
                f"the string has a lone surrogate ({text[error.start]!r} at character {error.start}), which is no "
                "Unicode character. Decode the text with errors='replace', or pass it as bytes.",
            ) from None


def _wrap(value: Value) -> Any:
    """orjson's hook for what it does not know."""
    kind = type(value)
    if kind is Int64:
        return encode_int64(value)
    if kind is bytes:
        return {"$bytes": base64(value)}
    raise TypeError


def _encode_object(value: dict[str, Value]) -> dict[str, Any]:
    name: Any = None
    try:
        encoded = {}
        for name, item in value.items():
            if type(name) is not str:
                raise ValueFaultError("InvalidValue", f"the field name {name!r} is no string.")
            encoded[name] = encode(item)
        return encoded
    except ValueFaultError as fault:
        fault.inside_field(name)
        raise


def _encode_array(value: list[Value]) -> list[Any]:
    encoded = value.copy()
    position = 0
    try:
        for position, item in enumerate(value):
            encoded[position] = encode(item)
        return encoded
    except ValueFaultError as fault:
        fault.inside_element(position)
        raise
