"""The eight Convex value types as Python types (`spec/data-model.md` 1.1).

| Convex  | Python             |
|---------|--------------------|
| Null    | `None`             |
| Int64   | `Int64`            |
| Float64 | `float`            |
| Boolean | `bool`             |
| String  | `str`              |
| Bytes   | `bytes`            |
| Array   | `list`             |
| Object  | `dict` with `str` keys |

A plain `int` is not a Convex value; at the engine's edges it is coerced to `float` (see `codec.normalize`).
A missing field is `UNSET` wherever a missing field has to be named: in patches, index ranges and filters.
"""

from __future__ import annotations

from typing import Any, Final, NewType, TypeAlias

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

Timestamp = NewType("Timestamp", int)
"""A MongoDB cluster time as one integer, `seconds * 10**9 + increment`: nanoseconds since 1970 to a client."""


class Int64(int):
    """A Convex Int64: an `int` that keeps its type through storage and the wire. Raises `ValueError` out of range."""

    __slots__ = ()

    # BSON's number for a 64-bit integer. The MongoDB driver's C encoder asks for it under this name, so that it need
    # not be handed a copy of each document; it means nothing to anybody else.
    _type_marker: Final = 18

    def __new__(cls, value: int | str = 0) -> Int64:
        number = super().__new__(cls, value)
        if not INT64_MIN <= number <= INT64_MAX:
            raise ValueError(f"{int(number)} does not fit in 64 bits")
        return number

    def __repr__(self) -> str:
        return f"Int64({int(self)})"


class Unset:
    """The type of `UNSET`, the one value that stands for a missing field (Convex's `undefined`)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> bool:
        return False

    def __copy__(self) -> Unset:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Unset:
        return self


UNSET: Final = Unset()

# Values are recursive and heterogeneous; `Any` is honest here, and nowhere else needed for them.
Value: TypeAlias = Any
"""One Convex value, in the representation above."""

Document: TypeAlias = dict[str, Any]
"""A stored document: an Object with `_id` (str) and `_creationTime` (float, ms since 1970)."""
