"""Who calls: the `Authorization` header (http-and-admin.md 1.4, 4.1, 4.2).

Served now: nobody in particular, and the holder of the admin key. No provider of user tokens is configured, so
every bearer token is refused, for the whole request.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from concave.values.errors import ClientError, forbidden, unauthenticated

_HEADER_LENGTH_MIN = 7
_KEY_PREFIXES = ("prod:", "dev:")


@dataclass(slots=True, frozen=True)
class Caller:
    """`is_admin` opens internal functions and admin endpoints."""

    is_admin: bool


ANONYMOUS: Final = Caller(is_admin=False)
ADMIN: Final = Caller(is_admin=True)


class Authorizer:
    """Knows the deployment's admin key, `<name>|<token>`; without one, no key opens anything."""

    def __init__(self, admin_key: str | None) -> None:
        self._admin_key = admin_key.encode() if admin_key else None

    def caller(self, header: bytes | None, key_parameter: str | None = None) -> Caller:
        """The caller by `Authorization`, or by the query parameter `adminKey` where there is no header.

        Raises `ClientError` with status 400 for a header that is none, 401 for one that proves nothing.
        """
        if header is None:
            return ANONYMOUS if key_parameter is None else self.check_admin_key(key_parameter)
        if len(header) < _HEADER_LENGTH_MIN:
            raise ClientError("InvalidHeaderFailure", "The Authorization header is too short to hold a scheme.")
        scheme, _, credentials = header.decode("latin-1").partition(" ")
        match scheme.lower():
            case "convex":
                return self.check_admin_key(credentials.strip())
            case "bearer":
                raise _refused_token(credentials.strip())
            case _:
                raise ClientError(
                    "InvalidAdminKey", "The Authorization header must begin with `Convex` (admin key) or `Bearer`."
                )

    def check_admin_key(self, key: str) -> Caller:
        """`ADMIN`, or `ClientError` 401 `BadAdminKey`. Takes the same time however much of the key is right."""
        for prefix in _KEY_PREFIXES:
            key = key.removeprefix(prefix)
        if self._admin_key is None or not hmac.compare_digest(key.encode(), self._admin_key):
            raise unauthenticated("BadAdminKey", "The provided admin key is invalid for this deployment.")
        return ADMIN

    def require_admin(self, caller: Caller) -> None:
        """`ClientError` 403 `BadDeployKey` unless the caller holds the admin key."""
        if not caller.is_admin:
            raise forbidden(
                "BadDeployKey", "This endpoint needs the deployment's admin key: `Authorization: Convex <key>`."
            )


def _refused_token(token: str) -> ClientError:
    if token.count(".") != 2:
        return unauthenticated("InvalidAuthHeader", "The bearer token is not a JWT.")
    return unauthenticated(
        "NoAuthProvider", "No auth provider found matching the given token; none is configured here."
    )
