"""From a token's claims, or an admin's attributes, to what `ctx.auth.get_user_identity()` shows (http-and-admin 9.4).

Absent claims are absent keys. Numbers are floats, as everywhere in functions. Claims that differ from one token of a
user to the next (`iat`, `exp`, `jti` ...) are left out: a refreshed token is the same identity, and no query that
looked at it runs again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from concave.functions.frames import Identity
from concave.values.errors import ClientError

_STANDARD: Final = {
    "name": "name",
    "given_name": "givenName",
    "family_name": "familyName",
    "nickname": "nickname",
    "preferred_username": "preferredUsername",
    "profile": "profileUrl",
    "picture": "pictureUrl",
    "website": "websiteUrl",
    "email": "email",
    "email_verified": "emailVerified",
    "gender": "gender",
    "birthdate": "birthday",
    "zoneinfo": "timezone",
    "locale": "language",
    "phone_number": "phoneNumber",
    "phone_number_verified": "phoneNumberVerified",
    "address": "address",
    "updated_at": "updatedAt",
}
_OF_THE_TOKEN: Final = frozenset(("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "fva"))
_OF_THE_LOGIN: Final = frozenset(("nonce", "at_hash", "c_hash", "auth_time", "acr", "amr", "azp"))
_RESERVED: Final = frozenset(("tokenIdentifier", "subject", "issuer"))
"""What a claim of the same name must never replace."""


def oidc_identity(claims: Mapping[str, Any]) -> Identity:
    """Standard claims under their names in functions; all others as they are."""
    identity: dict[str, Any] = {}
    for name, value in claims.items():
        if name in _OF_THE_TOKEN or name in _OF_THE_LOGIN or name in _RESERVED or value is None:
            continue
        if name == "address":
            value = value.get("formatted") if isinstance(value, Mapping) else value
            if value is None:
                continue
        elif name == "updated_at" and isinstance(value, int | float) and not isinstance(value, bool):
            value = _rfc3339(value)
        identity[_STANDARD.get(name, name)] = _as_value(value)
    return identity | _who(claims["iss"], claims["sub"])


def custom_identity(claims: Mapping[str, Any]) -> Identity:
    """No claim is renamed; nested objects become dotted keys."""
    identity: dict[str, Any] = {}
    for name, value in claims.items():
        if name not in _OF_THE_TOKEN and name not in _RESERVED:
            _flatten(name, value, identity)
    return identity | _who(claims["iss"], claims["sub"])


def acting_identity(attributes: Mapping[str, Any]) -> Identity:
    """Whom an admin acts as (4.4). Raises `ClientError` (`HeaderParseFailure`)."""
    identifier, issuer, subject = (attributes.get(name) for name in ("tokenIdentifier", "issuer", "subject"))
    for name, value in (("tokenIdentifier", identifier), ("issuer", issuer), ("subject", subject)):
        if value is not None and not isinstance(value, str):
            raise ClientError("HeaderParseFailure", f"`{name}` of the user to act as must be a string.")
    if identifier is None:
        if issuer is None or subject is None:
            raise ClientError(
                "HeaderParseFailure", "The user to act as needs a `tokenIdentifier`, or an `issuer` and a `subject`."
            )
        identifier = f"{issuer}|{subject}"
    identity = {name: _as_value(value) for name, value in attributes.items() if value is not None}
    return identity | {"tokenIdentifier": identifier}


def _who(issuer: str, subject: str) -> dict[str, Any]:
    return {"tokenIdentifier": f"{issuer}|{subject}", "subject": subject, "issuer": issuer}


def _flatten(name: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for inner, nested in value.items():
            _flatten(f"{name}.{inner}", nested, into)
    elif value is not None:
        into[name] = _as_value(value)


def _as_value(claim: Any) -> Any:
    if isinstance(claim, int) and not isinstance(claim, bool):
        return float(claim)
    if isinstance(claim, list):
        return [_as_value(item) for item in claim]
    if isinstance(claim, Mapping):
        return {name: _as_value(item) for name, item in claim.items()}
    return claim


def _rfc3339(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return str(seconds)
