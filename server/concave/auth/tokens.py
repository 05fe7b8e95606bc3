"""Verification of users' tokens: which provider, which key, which claims (http-and-admin.md 9.2, 9.3).

| | OIDC | customJwt, password provider |
|---|---|---|
| algorithms | RS256, EdDSA | exactly the configured one |
| `kid` | may be absent if a single key fits | required |
| `aud` | the applicationID and nothing else | holds the applicationID, if one is configured |
| `exp` | required, no leeway | required, 5 s |
| `nbf` | ignored | 5 s |
| `iat` in the future | 5 s | 5 s |

The algorithm is chosen by the provider and the key, never by the token: `none` and HS* are in no list, and a key
verifies its own algorithm only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from concave.auth.caller import Caller, Voucher
from concave.auth.claims import custom_identity, oidc_identity
from concave.auth.key_source import Keys
from concave.functions.auth_config import CustomJwtProvider, OidcProvider
from concave.functions.frames import Identity
from concave.values.errors import ClientError, unauthenticated
from concave.values.runtime import Runtime

TOKEN_BYTES_MAX: Final = 32 * 1024
LEEWAY_S: Final = 5.0
_SIGNATURE_ONLY: Final = dict.fromkeys(
    ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False
)


@dataclass(slots=True, frozen=True)
class TrustedIssuer:
    """A provider as verification sees it. `application_id` None: any audience. `description` is for the message that
    lists the providers."""

    issuer: str
    application_id: str | None
    algorithms: tuple[str, ...]
    keys: Keys
    is_strict: bool
    """Whether OIDC's rules hold for its tokens."""
    identity: Callable[[Mapping[str, Any]], Identity]
    description: str
    voucher: Voucher = field(default_factory=Voucher)

    def vouches_for(self, issuer: str, audience: Sequence[str]) -> bool:
        if _bare(self.issuer) != _bare(issuer):
            return False
        return self.application_id is None or self.application_id in audience


def oidc_issuer(provider: OidcProvider, keys: Keys) -> TrustedIssuer:
    description = f"OIDC(domain={provider.issuer}, app_id={provider.application_id})"
    return TrustedIssuer(
        provider.issuer, provider.application_id, ("RS256", "EdDSA"), keys, True, oidc_identity, description
    )


def custom_issuer(provider: CustomJwtProvider, keys: Keys) -> TrustedIssuer:
    description = f"CustomJWT(issuer={provider.issuer}, app_id={provider.application_id or 'none'})"
    return TrustedIssuer(
        provider.issuer, provider.application_id, (provider.algorithm,), keys, False, custom_identity, description
    )


class TokenVerifier:
    """Verifies tokens of the issuers given, the first that fits."""

    __slots__ = ("_issuers", "_runtime")

    def __init__(self, issuers: Sequence[TrustedIssuer], runtime: Runtime) -> None:
        self._issuers = tuple(issuers)
        self._runtime = runtime

    async def verify(self, token: str) -> Caller:
        """Who the token says it is.

        Raises `ClientError` 401 for a token that proves nothing (`InvalidAuthHeader`, `NoAuthProvider`,
        `Unauthenticated`), `OverloadError` (`AuthProviderDiscoveryFailed`) where that cannot be told now.
        """
        header, claims = _decode(token)
        issuer = self._issuer(claims)
        algorithm = header.get("alg")
        if algorithm not in issuer.algorithms:
            raise _refused(f"its algorithm {algorithm!r:.50} is none of {', '.join(issuer.algorithms)}")
        if "crit" in header:
            raise _refused("its header has critical extensions, which are not understood")
        kid = header.get("kid")
        if kid is None and not issuer.is_strict:
            raise _refused("its header names no key (`kid`)")
        key = await issuer.keys.find(kid, algorithm)
        if key is None:
            raise _refused(f"its provider has no key {kid!r:.100} for {algorithm}")
        try:
            jwt.decode(token, key.key, algorithms=[key.algorithm], options=_SIGNATURE_ONLY)  # type: ignore[arg-type]
        except jwt.PyJWTError:
            raise _refused("its signature is not by its provider's key") from None
        expires_ms = self._check_claims(issuer, claims)
        return Caller(issuer.identity(claims), expires_ms=expires_ms, voucher=issuer.voucher)

    def _issuer(self, claims: Mapping[str, Any]) -> TrustedIssuer:
        named = claims.get("iss")
        audience = _audience(claims)
        if isinstance(named, str):
            for issuer in self._issuers:
                if issuer.vouches_for(named, audience):
                    return issuer
        listed = ", ".join(issuer.description for issuer in self._issuers) or "none"
        raise unauthenticated(
            "NoAuthProvider",
            f"No auth provider found matching the given token (issuer {named!r:.200}, audience "
            f"{', '.join(audience)[:200] or 'none'}). Configured in auth_config.py: {listed}.",
        )

    def _check_claims(self, issuer: TrustedIssuer, claims: Mapping[str, Any]) -> float:
        """When the token expires, in ms; raises `ClientError` if it holds no longer, or not yet."""
        now_s = self._runtime.now_ms() / 1000
        if not isinstance(claims.get("sub"), str) or not claims["sub"]:
            raise _refused("it has no subject (`sub`)")
        if issuer.is_strict and any(name != issuer.application_id for name in _audience(claims)):
            raise _refused("it is also for other audiences")
        leeway_s = 0.0 if issuer.is_strict else LEEWAY_S
        expires_s = _time(claims, "exp")
        if expires_s is None:
            raise _refused("it has no time of expiry (`exp`)")
        if now_s >= expires_s + leeway_s:
            raise _refused("it has expired")
        if not issuer.is_strict and (not_before := _time(claims, "nbf")) is not None and not_before > now_s + LEEWAY_S:
            raise _refused("it is not valid yet (`nbf`)")
        if (issued := _time(claims, "iat")) is not None and issued > now_s + LEEWAY_S:
            raise _refused("it was issued in the future (`iat`)")
        return (expires_s + leeway_s) * 1000


def _decode(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, unverified."""
    if len(token) <= TOKEN_BYTES_MAX and token.count(".") == 2:
        try:
            decoded = jwt.decode_complete(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError, RecursionError):
            decoded = None
        if decoded is not None and isinstance(decoded["payload"], dict):
            kid = decoded["header"].get("kid")
            if kid is None or isinstance(kid, str):
                return decoded["header"], decoded["payload"]
    raise unauthenticated("InvalidAuthHeader", "Could not parse the token as a JWT.")


def _audience(claims: Mapping[str, Any]) -> list[str]:
    audience = claims.get("aud")
    if isinstance(audience, str):
        return [audience]
    return [name for name in audience if isinstance(name, str)] if isinstance(audience, list) else []


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim in seconds since 1970, None if the token has none; raises `ClientError` for what is no number."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise _refused(f"its claim `{name}` is no time")
    return float(value)


def _bare(issuer: str) -> str:
    return issuer.removeprefix("https://").rstrip("/")


def _refused(why: str) -> ClientError:
    return unauthenticated("Unauthenticated", f"Could not verify the token: {why}.")
