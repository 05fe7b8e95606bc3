"""Compression of responses, where the client asks for it and it pays (http-and-admin.md 1.1).

Only from `COMPRESSED_FROM` bytes: what fits into a connection's first flight of packets is not there sooner for being
smaller, while compressing it costs several times what answering a cached query does (10 kB: about 150 us). Level 1 of
gzip, because on JSON the higher ones cost twice as much for a tenth less.
"""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache
from typing import Final

COMPRESSED_FROM: Final = 16 * 1024
_IN_THREAD_FROM: Final = 256 * 1024
"""Compressing so much would hold the event loop up for milliseconds; zlib lets go of the interpreter meanwhile."""

_GZIP_WINDOW: Final = 31


async def gzipped(body: bytes) -> bytes:
    return await asyncio.to_thread(_gzip, body) if len(body) >= _IN_THREAD_FROM else _gzip(body)


@lru_cache(maxsize=256)
def accepts_gzip(header: bytes) -> bool:
    """Whether `Accept-Encoding: header` allows gzip."""
    wildcard = False
    for part in header.decode("latin-1").lower().split(","):
        coding, *parameters = (piece.strip() for piece in part.split(";"))
        is_refused = any(_is_zero(parameter) for parameter in parameters)
        if coding in ("gzip", "x-gzip"):
            return not is_refused
        if coding == "*":
            wildcard = not is_refused
    return wildcard


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    try:
        return name.strip() == "q" and float(value) == 0
    except ValueError:
        return False


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, _GZIP_WINDOW)
    return compressor.compress(body) + compressor.flush()
