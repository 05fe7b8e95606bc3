"""Timestamps: MongoDB's cluster times as one integer, and the form they have on the wire.

`seconds * 10**9 + increment` grows as cluster time grows, because an increment never reaches a thousand million within
one second, and reads as nanoseconds since 1970, which is what clients take a `ts` for (`spec/sync-protocol.md` 2).
"""

from __future__ import annotations

import binascii
import struct
from typing import Final

from concave.values.types import Timestamp

_INCREMENTS: Final = 10**9
_WIRE: Final = struct.Struct("<Q")


def from_cluster(seconds: int, increment: int) -> Timestamp:
    """The timestamp of a cluster time. `seconds` since 1970, `increment` the operation's number within the second."""
    return Timestamp(seconds * _INCREMENTS + increment)


def to_cluster(ts: Timestamp) -> tuple[int, int]:
    """`(seconds, increment)`, the arguments of a BSON timestamp. Inverse of `from_cluster`."""
    return divmod(ts, _INCREMENTS)


def ts_to_wire(ts: Timestamp) -> str:
    """Base64 of the eight little-endian bytes: how the sync protocol writes a u64."""
    return binascii.b2a_base64(_WIRE.pack(ts), newline=False).decode()


def ts_from_wire(text: str) -> Timestamp:
    """Inverse of `ts_to_wire`. Raises `ValueError` for anything that is not base64 of exactly eight bytes."""
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{text!r} is no timestamp: it must be base64 of eight bytes ({error})") from None
    if len(data) != _WIRE.size:
        raise ValueError(f"{text!r} is no timestamp: it holds {len(data)} bytes instead of eight")
    number: int = _WIRE.unpack(data)[0]
    return Timestamp(number)
