"""CORS headers of `/api` and the health routes (http-and-admin.md 1.6): any origin, with credentials.

That is safe since nothing here is authorised by cookies: a caller must know a token and put it in a header.
HTTP actions get none of this: their CORS is the app's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

Header = tuple[bytes, bytes]

MAX_AGE_S = 86400
_METHODS = b"GET, POST, OPTIONS, PATCH, DELETE, PUT"
# Browsers send these; named for a preflight that asks for none by name.
_USUAL_HEADERS = b"authorization, convex-client, content-type, digest"
_EXPOSED = b"x-convex-deprecation-state, x-convex-deprecation-message"


@lru_cache(maxsize=256)
def response_headers(origin: bytes) -> tuple[Header, ...]:
    """Headers to add to the response to a request that carried `Origin: origin`."""
    return (
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    )


def preflight_headers(request_headers: Sequence[Header]) -> list[Header]:
    """Headers of the answer to an OPTIONS request; without an `Origin` it says nothing about origins."""
    asked = dict(request_headers)
    origin = asked.get(b"origin")
    return [
        *(response_headers(origin) if origin is not None else ()),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", asked.get(b"access-control-request-headers", _USUAL_HEADERS)),
        (b"access-control-max-age", b"%d" % MAX_AGE_S),
        (b"content-length", b"0"),
    ]
