"""Document ids: table number, internal id and checksum in 31 to 37 characters (`spec/data-model.md` 3.1).

    id = varint(table number) ‖ internal id (16 bytes) ‖ checksum (2 bytes)      in lowercase Crockford base32

Text order is byte order, so within a table ids sort by internal id. An id does not name its table, only its number.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin

from concave.values.runtime import Runtime, SystemRuntime

__all__ = ["Id", "IdOf", "decode_id", "encode_id", "new_id", "table_of_annotation"]

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
# To the digits of `int(..., 32)`, everything else to what is no digit (`int` would take signs, blanks, underscores).
_TO_PYTHON_DIGITS: Final = bytes(
    b"0123456789abcdefghijklmnopqrstuv"[_ALPHABET.index(chr(byte))] if chr(byte) in _ALPHABET else ord("!")
    for byte in range(256)
)
# Two characters at a time: half the steps of one, and the table stays small.
_PAIRS: Final = [first + second for first in _ALPHABET for second in _ALPHABET]

_INTERNAL_BYTES: Final = 16
_CHARS_MIN: Final = 31
_CHARS_MAX: Final = 37
_TABLE_NUMBER_MAX: Final = 2**32 - 1
_MS_PER_DAY: Final = 86_400_000.0


def new_id(table_number: int, runtime: Runtime) -> str:
    """A fresh id: 14 random bytes, then the days since 1970. Random, so not in order of creation."""
    internal = runtime.random_bytes(14) + int(runtime.now_ms() // _MS_PER_DAY).to_bytes(2, "big")
    return _text(_varint(table_number) + internal)


def new_document_id(table_number: int) -> str:
    """A fresh id for a document that a script writes with another MongoDB client.

    `table_number` is the `number` of the table's entry in the collection `_tables`.
    """
    return new_id(table_number, SystemRuntime())


def encode_id(table_number: int, internal: bytes) -> str:
    """The text of an id. Raises `ValueError` unless the number is 1 to 2^32-1 and the internal id has 16 bytes."""
    if len(internal) != _INTERNAL_BYTES:
        raise ValueError(f"an internal id has {_INTERNAL_BYTES} bytes, not {len(internal)}")
    return _text(_varint(table_number) + internal)


def decode_id(text: str) -> tuple[int, bytes]:
    """`(table number, internal id)`. Raises `ValueError` for all but what `encode_id` writes, letter for letter."""
    if not _CHARS_MIN <= len(text) <= _CHARS_MAX:
        raise ValueError(
            f"{text[:64]!r} is no id: it has {len(text)} characters, ids have {_CHARS_MIN} to {_CHARS_MAX}"
        )
    try:
        number = int(text.encode("ascii").translate(_TO_PYTHON_DIGITS), 32)
    except ValueError:
        raise ValueError(f"{text!r} is no id: ids are written with {_ALPHABET}") from None
    length = len(text) * 5 // 8
    spare = len(text) * 5 - length * 8
    if spare > 4 or number & (1 << spare) - 1:
        raise ValueError(f"{text!r} is no id: it has bits to spare")
    data = (number >> spare).to_bytes(length, "big")
    table_number, start = _read_varint(data, text)
    if length - start != _INTERNAL_BYTES + 2:
        raise ValueError(f"{text!r} is no id: its length does not fit its table number")
    if _checksum(data[:-2]) != data[-2:]:
        raise ValueError(f"{text!r} is no id: its checksum is wrong")
    return table_number, data[start:-2]


class IdOf:
    """What `Id["channels"]` carries at run time: the name of a table."""

    __slots__ = ("table",)

    def __init__(self, table: str) -> None:
        self.table = table

    def __repr__(self) -> str:
        return f'Id["{self.table}"]'

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdOf) and other.table == self.table

    def __hash__(self) -> int:
        return hash((IdOf, self.table))


if TYPE_CHECKING:
    # The only typing form with a bare string between the brackets that a checker takes for a `str`.
    from typing import Literal as Id
else:

    class Id:
        """Annotation for an id of a table: `channelId: Id["channels"]`.

        At run time `Id["channels"]` is `Annotated[str, IdOf("channels")]`: it combines with `| None`, `list[...]` and
        `typing.get_type_hints(..., include_extras=True)`; `table_of_annotation` reads it. An id itself is a `str`.
        """

        def __class_getitem__(cls, table: str) -> Any:
            if not isinstance(table, str):
                raise TypeError(f'Id takes the name of a table, as in Id["channels"], not {table!r}')
            return Annotated[str, IdOf(table)]


def table_of_annotation(annotation: Any) -> str | None:
    """The table's name if `annotation` is an `Id[...]`, else None."""
    if get_origin(annotation) is Annotated:
        for extra in get_args(annotation)[1:]:
            if isinstance(extra, IdOf):
                return extra.table
    return None


@lru_cache(maxsize=4096)
def _varint(number: int) -> bytes:
    if not 1 <= number <= _TABLE_NUMBER_MAX:
        raise ValueError(f"a table number lies between 1 and {_TABLE_NUMBER_MAX}, not {number}")
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def _read_varint(data: bytes, text: str) -> tuple[int, int]:
    """The number, and where it ends. Five bytes at most, 32 bits at most, no zero at the end (nor number 0)."""
    number = 0
    for position in range(5):
        byte = data[position]
        number |= (byte & 0x7F) << 7 * position
        if byte < 0x80:
            if byte == 0 or number > _TABLE_NUMBER_MAX:
                break
            return number, position + 1
    raise ValueError(f"{text!r} is no id: its table number is not valid")


def _checksum(data: bytes) -> bytes:
    """Fletcher-16 with modulus 256: the sum of the bytes, and the sum of the running sums."""
    return bytes((sum(data) & 0xFF, sum(accumulate(data)) & 0xFF))


def _text(head: bytes) -> str:
    """Base32 of `head` and its checksum, the last character padded with zero bits."""
    data = head + _checksum(head)
    bits = len(data) * 8
    count = -(-bits // 5)
    # An even number of characters' worth of bits, so that pairs fit; the surplus character is cut off.
    padded = count + (count & 1)
    number = int.from_bytes(data, "big") << (padded * 5 - bits)
    pairs = _PAIRS
    text = "".join([pairs[number >> shift & 1023] for shift in range(padded * 5 - 10, -1, -10)])
    return text if padded == count else text[:count]
