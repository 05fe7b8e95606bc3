"""Order-preserving encoding: comparing these byte strings compares the values (`spec/data-model.md` 2.1).

Terms. A *column* is the encoding of one value in an index key; columns are self-delimiting, and none begins with `00`
or `ff`. An *index key* is the tuple of a document's columns in one index, always ending with `_creationTime` and `_id`
(`by_id` has `_id` only); its *key bytes* are the columns concatenated. A *prefix* is the concatenation of an index's
first columns. Read sets, cursors, caches and merges compare key bytes and nothing else.

Ranges are half open, and follow the warning in 2.1: a prefix `p` covers `[p, p ff)`.

| condition on the column after prefix `p` | low | high |
|---|---|---|
| none, or equality of all of `p` | `p` | `p ff` |
| `> v` | `p enc(v) ff` | `p ff` |
| `>= v` | `p enc(v)` | `p ff` |
| `< v` | `p` | `p enc(v)` |
| `<= v` | `p` | `p enc(v) ff` |
| after a full key `k` | `k 00` | `p ff` |

One departure from upstream, the same in the Mongo indexes (`docs/decisions`): as a *column*, -0.0 is 0.0, and every NaN
sorts before all other floats. Within arrays and objects the exact order holds.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final, TypeAlias

from concave.values.types import UNSET, Int64, Unset, Value

IndexKey: TypeAlias = tuple[bytes, ...]
"""The encoded columns of one document in one index, in index order."""

PREFIX_END: Final = b"\xff"
"""Appended to a prefix: the exclusive end of everything that begins with it."""

_UNSET: Final = b"\x01"
_NULL: Final = b"\x03"
_FALSE: Final = b"\x0e"
_TRUE: Final = b"\x0f"
_ARRAY: Final = b"\x12"
_OBJECT: Final = b"\x15"
_ZERO: Final = b"\x0d\x80" + bytes(7)
_NAN: Final = b"\x0d" + bytes(8)

_TAGGED_DOUBLE: Final = struct.Struct(">Bd")
_DOUBLE: Final = struct.Struct(">d")
_BITS: Final = struct.Struct(">Q")
_TAGGED_BITS: Final = struct.Struct(">BQ")
_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
# Tag byte and length of an Int64, by how many bytes its magnitude needs.
_INT64_STEPS: Final = ((1, 1), (2, 2), (3, 4), (4, 8))


def key_bytes(key: IndexKey) -> bytes:
    """The key as one byte string."""
    return b"".join(key)


def successor(full_key: bytes) -> bytes:
    """The smallest byte string above a full key: as a low bound it excludes the key, as a high bound it includes it."""
    return full_key + b"\x00"


def encode_column(value: Value) -> bytes:
    """The column of `value` in an index key. As `encode_value`, except that -0.0 counts as 0.0 and NaN comes first."""
    kind = type(value)
    if kind is str:
        # The commonest column, so nothing is called that need not be.
        raw = value.encode()
        return b"\x10" + (raw if b"\x00" not in raw else _escape(raw)) + b"\x00"
    if kind is float:
        if value > 0.0:
            # Positive numbers have their sign bit set in the encoding, which is what negation does.
            return _TAGGED_DOUBLE.pack(0x0D, -value)
        if value == 0.0:
            return _ZERO
        if value != value:
            return _NAN
    return encode_value(value)


def encode_value(value: Value) -> bytes:
    """The exact encoding of 2.1; byte order is `order.compare`. Raises `TypeError` for what is no value."""
    kind = type(value)
    if kind is str:
        return b"\x10" + _escape(value.encode()) + b"\x00"
    if kind is float:
        return _encode_float(value)
    if value is None:
        return _NULL
    if kind is bool:
        return _TRUE if value else _FALSE
    if kind is Unset:
        return _UNSET
    if kind is Int64:
        return _encode_int64(value)
    if kind is bytes:
        return b"\x11" + _escape(value) + b"\x00"
    if kind is list:
        return _ARRAY + b"".join(map(encode_value, value)) + b"\x00"
    if kind is dict:
        return _encode_object(value)
    if kind is int:
        return _encode_float(float(value))
    raise TypeError(f"{kind.__name__} is no Convex value; normalize it first")


def decode_columns(data: bytes) -> tuple[list[Value | Unset], bytes]:
    """The values of concatenated columns, and the tail that a bound may have: `b""`, `PREFIX_END` or `b"\\x00"`.

    A NaN column gives the usual NaN, its bits being lost. Raises `ValueError` for what no encoder wrote.
    """
    values: list[Value | Unset] = []
    position = 0
    end = len(data)
    try:
        while position < end:
            if position == end - 1 and data[position] in (0x00, 0xFF):
                return values, data[position:]
            if data[position : position + 9] == _NAN:
                value, position = math.nan, position + 9
            else:
                value, position = _decode(data, position)
            values.append(value)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"no concatenation of columns: {data.hex()} ({error})") from None
    return values, b""


def _escape(data: bytes) -> bytes:
    return data.replace(b"\x00", b"\x00\xff") if b"\x00" in data else data


def _encode_float(number: float) -> bytes:
    (bits,) = _BITS.unpack(_DOUBLE.pack(number))
    return _TAGGED_BITS.pack(0x0D, bits ^ _ALL if bits & _SIGN else bits | _SIGN)


def _encode_int64(number: int) -> bytes:
    if number == 0:
        return b"\x08"
    for step, length in _INT64_STEPS:
        if -(1 << (8 * length - 1)) <= number < 1 << (8 * length - 1):
            tag = 8 + step if number > 0 else 8 - step
            return bytes((tag,)) + int(number).to_bytes(length, "big", signed=True)
    raise TypeError(f"{number} does not fit in 64 bits")


def _encode_object(value: dict[str, Value]) -> bytes:
    parts = [_OBJECT]
    for name in sorted(value):
        parts.append(_escape(name.encode()) + b"\x00" if name else b"\x00\xff")
        parts.append(encode_value(value[name]))
    parts.append(b"\x00")
    return b"".join(parts)


def _decode(data: bytes, position: int) -> tuple[Any, int]:
    """The value whose encoding begins at `position`, and where it ends."""
    tag = data[position]
    position += 1
    if tag == 0x10 or tag == 0x11:
        raw, position = _unescape(data, position)
        return (raw.decode() if tag == 0x10 else raw), position
    if tag == 0x0D:
        return _decode_float(data, position)
    if 0x04 <= tag <= 0x0C:
        return _decode_int64(data, position, tag)
    if tag == 0x12:
        return _decode_array(data, position)
    if tag == 0x15:
        return _decode_object(data, position)
    if tag in _CONSTANTS:
        return _CONSTANTS[tag], position
    raise ValueError(f"no column begins with byte {tag:02x} (at {position - 1} of {data.hex()})")


_CONSTANTS: Final[dict[int, Value | Unset]] = {0x01: UNSET, 0x03: None, 0x0E: False, 0x0F: True}


def _unescape(data: bytes, position: int) -> tuple[bytes, int]:
    """The string that begins at `position`, and where its terminator ends.

    `00 ff` is an escaped zero, except at the very end of the data: there it is the terminator and a bound's tail, since
    a string cannot end without its terminator.
    """
    start = position
    while True:
        zero = data.find(b"\x00", position)
        if zero < 0:
            raise IndexError("a string without end")
        if data[zero + 1 : zero + 2] != b"\xff" or zero + 2 == len(data):
            return data[start:zero].replace(b"\x00\xff", b"\x00"), zero + 1
        position = zero + 2


def _decode_float(data: bytes, position: int) -> tuple[float, int]:
    (bits,) = _BITS.unpack(data[position : position + 8])
    (number,) = _DOUBLE.unpack(_BITS.pack(bits & ~_SIGN if bits & _SIGN else bits ^ _ALL))
    return number, position + 8


def _decode_int64(data: bytes, position: int, tag: int) -> tuple[Int64, int]:
    if tag == 0x08:
        return Int64(0), position
    length = _INT64_STEPS[abs(tag - 8) - 1][1]
    raw = data[position : position + length]
    if len(raw) != length:
        raise IndexError("cut short")
    return Int64(int.from_bytes(raw, "big", signed=True)), position + length


def _decode_array(data: bytes, position: int) -> tuple[list[Value], int]:
    items: list[Value] = []
    while data[position] != 0x00:
        item, position = _decode(data, position)
        items.append(item)
    return items, position + 1


def _decode_object(data: bytes, position: int) -> tuple[dict[str, Value], int]:
    fields: dict[str, Value] = {}
    while True:
        if data[position] == 0x00:
            # `00 ff` is the empty name, unless nothing follows: then it is the object's end and a bound's tail.
            if data[position + 1 : position + 2] != b"\xff" or position + 2 == len(data):
                return fields, position + 1
            name, position = "", position + 2
        else:
            raw, position = _unescape(data, position)
            name = raw.decode()
        fields[name], position = _decode(data, position)
