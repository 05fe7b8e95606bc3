"""Who calls: the `Authorization` header (http-and-admin.md 1.4, 4.2, 4.4)."""

from __future__ import annotations

from typing import Final, Protocol

from concave.auth.admin_keys import AdminKeys
from concave.auth.caller import ANONYMOUS, Caller
from concave.values.errors import ClientError, forbidden

_HEADER_LENGTH_MIN: Final = 7


class CallerVerifier(Protocol):
    """Finds out who a client is. `auth.authenticator.Authenticator` is one."""

    @property
    def admin_keys(self) -> AdminKeys: ...

    async def user(self, token: str) -> Caller: ...


class Authorizer:
    """Reads headers; what they hold is the verifier's to judge."""

    def __init__(self, verifier: CallerVerifier) -> None:
        self._verifier = verifier

    async def caller(self, header: bytes | None, key_parameter: str | None = None) -> Caller:
        """The caller by `Authorization`, or by the query parameter `adminKey` where there is no header.

        Raises `ClientError` with status 400 for a header that is none, 401 for one that proves nothing, and
        `OverloadError` where that cannot be told at the moment.
        """
        if header is None:
            return ANONYMOUS if key_parameter is None else self._verifier.admin_keys.caller_by_header(key_parameter)
        if len(header) < _HEADER_LENGTH_MIN:
            raise ClientError("InvalidHeaderFailure", "The Authorization header is too short to hold a scheme.")
        scheme, _, credentials = header.decode("latin-1").partition(" ")
        match scheme.lower():
            case "convex":
                return self._verifier.admin_keys.caller_by_header(credentials.strip())
            case "bearer":
                return await self._verifier.user(credentials.strip())
            case _:
                raise ClientError(
                    "InvalidAdminKey", "The Authorization header must begin with `Convex` (admin key) or `Bearer`."
                )


def require_admin(caller: Caller) -> None:
    """`ClientError` 403 `BadDeployKey` unless the caller holds an admin key."""
    if not caller.is_admin:
        raise forbidden(
            "BadDeployKey", "This endpoint needs the deployment's admin key: `Authorization: Convex <key>`."
        )


def require_writes(caller: Caller) -> None:
    """`ClientError` 403 `OperationNotPermitted` if the caller's key is read-only."""
    refusal = caller.write_refusal
    if refusal is not None:
        raise refusal
