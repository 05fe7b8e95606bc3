"""Values on the wire: decoding, encoding, the output formats (`spec/data-model.md` 1.1 to 1.4).

The subject is spread over four files, all importable from here: this one decodes and knows the formats; `encoding.py`
encodes; `coercion.py` takes in what user code returns; `printing.py` prints for messages.
"""

from __future__ import annotations

import binascii
import math
import struct
from typing import Any, Final

import orjson

from concave.values import encoding
from concave.values.coercion import normalize
from concave.values.encoding import PLAIN, base64, shape
from concave.values.errors import ClientError, DeveloperError, error_at
from concave.values.faults import ValueFaultError
from concave.values.limits import DEFAULT_LIMITS
from concave.values.names import field_name_problem
from concave.values.printing import describe
from concave.values.sizes import check_array_length, check_field_count, check_names, check_total, too_nested
from concave.values.types import Int64, Value

__all__ = [
    "FORMATS",
    "decode",
    "decode_json",
    "describe",
    "encode",
    "encode_json",
    "format_json",
    "normalize",
    "to_format",
]

_INT64: Final = struct.Struct("<q")
_DOUBLE: Final = struct.Struct("<d")
# No value is more than this many times its JSON text: `0,` stands for nine bytes.
_GROWTH: Final = 5
_ROOM: Final = DEFAULT_LIMITS.value_nesting_max

ENCODED: Final = "convex_encoded_json"
CLEAN: Final = "json"
EXPORT: Final = "export_json"

FORMATS: Final = {
    ENCODED: ENCODED,
    "convex_json": ENCODED,
    CLEAN: CLEAN,
    "convex_clean_json": CLEAN,
    EXPORT: EXPORT,
}
"""The names that a `format` may have, each with the one it means."""


def decode(obj: Any, *, where: str = "Value") -> Value:
    """The value that a piece of encoded JSON stands for; `obj` is what `orjson.loads` returned for it.

    Containers in which nothing had to be converted are returned as they are, not copied: give up `obj`.
    Raises `DeveloperError`: `InvalidValue`, `InvalidFieldName`, `ArrayTooLong`, `TooManyFieldsError`,
    `TooNestedError`, `ValueTooLargeError`; the message begins with `where` and the path.
    """
    return _decode_checked(obj, DEFAULT_LIMITS.value_bytes_max, where)


def _decode_checked(obj: Any, text_bytes: int, where: str) -> Value:
    """Decode what came from at most `text_bytes` of JSON."""
    try:
        value = _decode(obj, _ROOM)
        if text_bytes * _GROWTH > DEFAULT_LIMITS.value_bytes_max:
            check_total(value)
    except ValueFaultError as fault:
        raise error_at(fault, where) from None
    return value


def decode_json(text: bytes | str, *, where: str = "Value") -> Value:
    """The value that a text of encoded JSON stands for. As `decode`, and `InvalidJson` for what is no JSON:
    `NaN`, `Infinity`, numbers beyond Float64 such as `1e999`, lone surrogates and trailing commas among it."""
    try:
        obj = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise DeveloperError("InvalidJson", f"{where} is no valid JSON: {error}") from None
    return _decode_checked(obj, len(text) * 4 if isinstance(text, str) else len(text), where)


def encode(value: Value) -> Any:
    """The encoded JSON of a value as an object for `orjson.dumps`; for text use `encode_json`, which is faster."""
    try:
        return encoding.encode(value)
    except ValueFaultError as fault:
        raise error_at(fault, "Value") from None


def encode_json(value: Value) -> bytes:
    """The encoded JSON of a value, UTF-8: sorted keys, floats with a fraction, equal values byte for byte equal.

    A plain `int` is written as the Float64 it stands for. What is no value raises `DeveloperError` (`InvalidValue`).
    """
    try:
        return encoding.encode_json(value)
    except ValueFaultError as fault:
        raise error_at(fault, "Value") from None


def to_format(value: Value, format: str) -> Any:
    """The value as an object for `orjson.dumps` in one of `FORMATS`. Raises `ClientError` (`BadFormat`)."""
    canonical = _canonical(format)
    try:
        if canonical == ENCODED:
            return encoding.encode(value)
        return value if shape((value,)) == PLAIN else _FORMATTERS[canonical](value)
    except ValueFaultError as fault:
        raise error_at(fault, "Value") from None


def format_json(value: Value, format: str) -> bytes:
    """The JSON text of a value in one of `FORMATS`, UTF-8, keys sorted. Raises `ClientError` (`BadFormat`)."""
    if _canonical(format) == ENCODED:
        return encode_json(value)
    return orjson.dumps(to_format(value, format), option=orjson.OPT_SORT_KEYS)


def _canonical(format: str) -> str:
    canonical = FORMATS.get(format)
    if canonical is None:
        raise ClientError("BadFormat", f"Unknown format {format!r}: use one of {', '.join(sorted(FORMATS))}.")
    return canonical


def _decode(obj: Any, room: int) -> Value:
    kind = type(obj)
    if kind is str:
        if not obj.isascii():
            encoding.check_text(obj)
        return obj
    if kind is float:
        if obj - obj != 0.0:
            raise ValueFaultError(
                "InvalidValue", f'{obj} is no JSON number. Send NaN and infinities as {{"$float": ...}}.'
            )
        return obj
    if kind is int:
        return _decode_int(obj)
    if obj is None or kind is bool:
        return obj
    if kind is dict:
        return _decode_object(obj, room)
    if kind is list:
        return _decode_array(obj, room)
    raise ValueFaultError("InvalidValue", f"{kind.__name__} does not come from JSON.")


def _decode_int(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        raise ValueFaultError("InvalidValue", "the number is too large for a Float64.") from None


def _decode_object(obj: dict[str, Any], room: int) -> Value:
    if len(obj) == 1:
        (name,) = obj
        if name[:1] == "$":
            return _decode_wrapper(name, obj[name])
    if room == 0:
        raise too_nested()
    check_field_count(len(obj))
    check_names(obj)
    changed: dict[str, Value] | None = None
    name = ""
    try:
        for name, item in obj.items():
            if type(item) is str and item.isascii():
                continue
            new = _decode(item, room - 1)
            if new is not item:
                if changed is None:
                    changed = {}
                changed[name] = new
    except ValueFaultError as fault:
        fault.inside_field(name)
        raise
    return obj if changed is None else {**obj, **changed}


def _decode_array(obj: list[Any], room: int) -> list[Value]:
    if room == 0:
        raise too_nested()
    check_array_length(len(obj))
    changed: list[Value] | None = None
    position = 0
    try:
        for position, item in enumerate(obj):
            new = _decode(item, room - 1)
            if new is not item:
                if changed is None:
                    changed = obj.copy()
                changed[position] = new
    except ValueFaultError as fault:
        fault.inside_element(position)
        raise
    return obj if changed is None else changed


def _decode_wrapper(name: str, payload: Any) -> Value:
    """An object whose only key starts with `$`."""
    if name == "$integer":
        return Int64(_INT64.unpack(_payload(name, payload, 8))[0])
    if name == "$float":
        number: float = _DOUBLE.unpack(_payload(name, payload, 8))[0]
        # +0.0 is let through, as upstream's backend does.
        if number != 0.0 and math.isfinite(number):
            raise ValueFaultError(
                "InvalidValue", f"`$float` holds the ordinary number {number!r}. Send it as a JSON number."
            )
        return number
    if name == "$bytes":
        return _payload(name, payload, None)
    if name in ("$undefined", "$commitTs"):
        raise ValueFaultError("InvalidValue", f"`{name}` has no meaning here. Leave the field out.")
    problem = field_name_problem(name)
    raise ValueFaultError("InvalidFieldName", problem or f"the field name {name!r} is not allowed.")


def _payload(name: str, payload: Any, length: int | None) -> bytes:
    if type(payload) is not str:
        raise ValueFaultError("InvalidValue", f"`{name}` must hold a base64 string, not {describe(payload)}.")
    try:
        data = binascii.a2b_base64(payload, strict_mode=True)
    except ValueError as error:
        raise ValueFaultError("InvalidValue", f"`{name}` holds no valid base64: {error}.") from None
    if length is not None and len(data) != length:
        raise ValueFaultError("InvalidValue", f"`{name}` holds {len(data)} bytes, it must be {length}.")
    return data


def _clean(value: Value) -> Any:
    """The readable, lossy format. -0.0 stays a number."""
    kind = type(value)
    if kind is dict:
        return {name: _clean(item) for name, item in value.items()}
    if kind is list:
        return [_clean(item) for item in value]
    if kind is Int64:
        return str(int(value))
    if kind is bytes:
        return base64(value)
    if kind is float:
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return encoding.encode(value)


def _export(value: Value) -> Any:
    """The format of exports: Int64 as bare integers, -0.0 a number, the rest as encoded."""
    kind = type(value)
    if kind is dict:
        return {name: _export(item) for name, item in value.items()}
    if kind is list:
        return [_export(item) for item in value]
    if kind is Int64:
        return int(value)
    if kind is float and value == 0.0:
        return value
    return encoding.encode(value)


_FORMATTERS: Final = {CLEAN: _clean, EXPORT: _export}
