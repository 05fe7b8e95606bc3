"""Admin keys: `<name>|<token>` (http-and-admin.md section 4).

There is one key with all rights; the read-only key is derived from it, so every node knows both and nothing is stored.
Whoever makes a new admin key makes both anew.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

import orjson

from concave.auth.caller import Caller, not_permitted
from concave.auth.claims import acting_identity
from concave.values.errors import ClientError, unauthenticated

_PREFIXES: Final = ("prod:", "dev:")


def read_only_key(admin_key: str) -> str:
    """The key that may look at everything and change nothing."""
    name = admin_key.partition("|")[0]
    return f"{name}|ro{hmac.digest(admin_key.encode(), b'read-only admin key', hashlib.sha256).hex()}"


class AdminKeys:
    """Knows the deployment's keys; without an admin key, no key opens anything."""

    __slots__ = ("_full", "_read_only")

    def __init__(self, admin_key: str | None) -> None:
        self._full = admin_key.encode() if admin_key else None
        self._read_only = read_only_key(admin_key).encode() if admin_key else None

    def caller(self, key: str, acting_as: dict[str, Any] | None = None) -> Caller:
        """The holder of the key, acting as a user if attributes of one are given.

        Raises `ClientError`: 401 `BadAdminKey`, 403 `OperationNotPermitted`, 400 `HeaderParseFailure`. Takes the same
        time however much of a wrong key is right.
        """
        for prefix in _PREFIXES:
            key = key.removeprefix(prefix)
        given = key.encode("utf-8", "surrogatepass")
        is_full = self._full is not None and hmac.compare_digest(given, self._full)
        is_read_only = self._read_only is not None and hmac.compare_digest(given, self._read_only)
        if not (is_full or is_read_only):
            raise unauthenticated("BadAdminKey", "The provided admin key is invalid for this deployment.")
        if acting_as is None:
            return Caller(is_admin=True, is_read_only=is_read_only)
        if is_read_only:
            raise not_permitted("deployment:functions:actAsUser")
        return Caller(acting_identity(acting_as), is_admin=True)

    def caller_by_header(self, credentials: str) -> Caller:
        """As `caller`, from what follows `Convex` in a header: `<key>`, or `<key>:<base64 of JSON attributes>`."""
        for prefix in _PREFIXES:
            credentials = credentials.removeprefix(prefix)
        key, colon, attributes = credentials.partition(":")
        return self.caller(key, _attributes(attributes) if colon else None)


def _attributes(text: str) -> dict[str, Any]:
    try:
        attributes = orjson.loads(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        attributes = None
    if not isinstance(attributes, dict):
        raise ClientError("HeaderParseFailure", "After the admin key's colon belongs the base64 of a JSON object.")
    return attributes
