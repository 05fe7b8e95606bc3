"""Page cursors: a position in a query's result, sealed (data-model.md 6.4).

A position is the key bytes of a row, or the end. It is bound to a fingerprint of the query (table, index and its
columns, range, order, filters), so that a cursor of another query is refused. Clients cannot read a cursor, since keys
may hold values that the function does not show, and cannot make one up. The same position gives the same text, which
the protocol needs: equal pages must be equal bytes.

Sealing is the SIV construction: the tag authenticates fingerprint and position and is the nonce of the cipher, here the
SHA-256 of key, tag and counter. Two positions share a nonce only if they are equal.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence

import orjson

from concave.database.ranges import KeyRange
from concave.schema.plan import IndexLayout
from concave.storage.store import Order
from concave.values.errors import ConvexError

END = None
"""The position behind the last row."""

_VERSION = b"\x01"
_TAG_BYTES = 16
_AT_END = b"\x00"
_AT_KEY = b"\x01"


class InvalidCursorError(ConvexError):
    """A cursor or journal that is unreadable or of another query. React's hook then starts again from page one."""

    def __init__(self) -> None:
        super().__init__({"isConvexSystemError": True, "paginationError": "InvalidCursor"})
        self.message = (
            "InvalidCursor: failed to parse cursor. It was made by another query, or for other arguments of this one, "
            "or by a deployment with another key: start again with cursor null"
        )


def fingerprint(
    table: str, index: IndexLayout, bounds: KeyRange, order: Order, filters_json: Sequence[object]
) -> bytes:
    """32 bytes that differ between queries whose positions mean different things."""
    described = [
        table,
        index.name,
        [column.path for column in index.columns],
        bounds.low.hex(),
        bounds.high.hex(),
        order,
        filters_json,
    ]
    return hashlib.sha256(orjson.dumps(described, option=orjson.OPT_SORT_KEYS)).digest()


def seal(position: bytes | None, query: bytes, key: bytes) -> str:
    """The cursor for a position of the query with this fingerprint."""
    plain = _AT_END if position is None else _AT_KEY + position
    tag = _tag(plain, query, key)
    return urlsafe_b64encode(_VERSION + tag + _crypt(plain, tag, key)).rstrip(b"=").decode("ascii")


def unseal(cursor: str, query: bytes, key: bytes) -> bytes | None:
    """The position: key bytes, or `END`. Raises `InvalidCursorError`."""
    try:
        data = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise InvalidCursorError from None
    tag, sealed = data[1 : 1 + _TAG_BYTES], data[1 + _TAG_BYTES :]
    if data[:1] != _VERSION or not sealed:
        raise InvalidCursorError
    plain = _crypt(sealed, tag, key)
    if not hmac.compare_digest(tag, _tag(plain, query, key)):
        raise InvalidCursorError
    return END if plain == _AT_END else plain[1:]


def _tag(plain: bytes, query: bytes, key: bytes) -> bytes:
    return hmac.digest(key, b"tag" + query + plain, "sha256")[:_TAG_BYTES]


def _crypt(data: bytes, tag: bytes, key: bytes) -> bytes:
    """Encrypt or decrypt: the same thing."""
    stream = b"".join(
        hmac.digest(key, b"stream" + tag + counter.to_bytes(4, "big"), "sha256")
        for counter in range((len(data) + 31) // 32)
    )
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream[: len(data)], "big")).to_bytes(len(data), "big")
