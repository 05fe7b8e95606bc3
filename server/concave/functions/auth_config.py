"""`auth_config` of an app: who may vouch for its users (http-and-admin.md 9.1).

In `auth_config.py`, in the app's directory:

    auth_config = {"providers": [
        {"domain": "https://example.eu.auth0.com", "applicationID": "my-app"},
        {"type": "customJwt", "issuer": "https://issuer.example", "jwks": "https://issuer.example/jwks.json",
         "algorithm": "RS256", "applicationID": "my-app"},
        password_provider(),
    ]}

| provider | its keys | tokens |
|---|---|---|
| OIDC | by discovery at the domain | ID tokens for `applicationID` |
| customJwt | `jwks`: a URL, or a `data:` URI that holds them | any JWT; `applicationID` is checked if it is given |
| `password_provider()` | the deployment's own, kept in its database | issued by the deployment at `/api/auth/...` |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")

_SHARED_ISSUERS: Final = frozenset(("https://api.workos.com", "https://accounts.google.com"))
"""They sign tokens for everybody's applications: without an applicationID any of these would be let in."""


@dataclass(slots=True, frozen=True)
class OidcProvider:
    """`issuer` is the domain, with `https://` before it."""

    issuer: str
    application_id: str


@dataclass(slots=True, frozen=True)
class CustomJwtProvider:
    """`jwks` is a URL or a `data:` URI."""

    issuer: str
    jwks: str
    algorithm: Literal["RS256", "ES256", "EdDSA"]
    application_id: str | None


@dataclass(slots=True, frozen=True)
class PasswordProvider:
    """The built-in one. `issuer` None is the address at which the deployment was first started."""

    issuer: str | None = None
    access_s: float = 3600.0
    refresh_s: float = 30 * 24 * 3600.0
    password_length_min: int = 8


Provider: TypeAlias = OidcProvider | CustomJwtProvider | PasswordProvider


@dataclass(slots=True, frozen=True)
class AuthConfig:
    """The providers, in the order in which they are tried."""

    providers: tuple[Provider, ...] = ()

    @property
    def password_provider(self) -> PasswordProvider | None:
        return next((one for one in self.providers if isinstance(one, PasswordProvider)), None)


class InvalidAuthConfig(Exception):
    """`code` is upstream's for this fault; the text says where in the configuration, and how to mend it."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


def password_provider(
    *,
    issuer: str | None = None,
    access_minutes: float = 60,
    refresh_days: float = 30,
    password_length_min: int = 8,
) -> PasswordProvider:
    """The built-in provider of accounts and sessions: sign-up, sign-in, refresh and sign-out under `/api/auth/`.

    `issuer` goes into tokens as `iss`, and so into `tokenIdentifier`. By default it is the address at which the
    deployment was first started, remembered in its database.
    """
    if not 1 <= access_minutes <= 24 * 60:
        raise ValueError("access_minutes is from 1 to 1440: a token cannot be taken back before it expires")
    if refresh_days <= 0:
        raise ValueError("refresh_days must be above 0")
    if not 8 <= password_length_min <= 128:
        raise ValueError("password_length_min is from 8 to 128")
    return PasswordProvider(issuer, access_minutes * 60.0, refresh_days * 24 * 3600.0, password_length_min)


def parse_auth_config(value: object) -> AuthConfig:
    """What `auth_config` in an app's module means. Raises `InvalidAuthConfig`."""
    if not isinstance(value, Mapping) or set(value) != {"providers"}:
        raise _mismatch('`auth_config` must be {"providers": [...]}')
    given = value["providers"]
    if not isinstance(given, list | tuple):
        raise _mismatch("`providers` must be a list")
    providers = tuple(_provider(item, f"providers[{number}]") for number, item in enumerate(given))
    if sum(isinstance(one, PasswordProvider) for one in providers) > 1:
        raise _mismatch("there can be one password_provider() only")
    return AuthConfig(providers)


def _provider(item: object, where: str) -> Provider:
    if isinstance(item, PasswordProvider):
        return item
    if not isinstance(item, Mapping):
        raise _mismatch(f"{where} must be an object or password_provider(), not {type(item).__name__}")
    if "applicationId" in item:
        raise _mismatch(f"{where}: `applicationId` is spelt `applicationID`")
    if item.get("type") == "customJwt":
        return _custom_jwt(item, where)
    if "type" in item:
        raise _mismatch(f'{where}: `type` must be "customJwt", or be left out for an OIDC provider')
    if "issuer" in item:
        raise _mismatch(f'{where}: an OIDC provider has a `domain`; one with an `issuer` is of type "customJwt"')
    _check_fields(item, where, required=("domain", "applicationID"), optional=())
    return OidcProvider(_with_scheme(item["domain"], where, "domain"), item["applicationID"])


def _custom_jwt(item: Mapping[str, Any], where: str) -> CustomJwtProvider:
    if "domain" in item:
        raise _mismatch(f"{where}: a customJwt provider has an `issuer`, not a `domain`")
    _check_fields(item, where, required=("type", "issuer", "jwks", "algorithm"), optional=("applicationID",))
    algorithm, jwks = item["algorithm"], item["jwks"]
    if algorithm not in ALGORITHMS:
        raise _mismatch(f"{where}: `algorithm` must be one of {', '.join(ALGORITHMS)}, not {algorithm!r:.50}")
    if not jwks.startswith("data:") and not _is_http_url(jwks):
        raise InvalidAuthConfig("InvalidProviderDomainUrl", f"{where}: `jwks` is neither a URL nor a data: URI")
    issuer = item["issuer"]
    application_id = item.get("applicationID")
    if application_id is None and issuer.rstrip("/") in _SHARED_ISSUERS:
        raise InvalidAuthConfig(
            "InsecureConfiguration", f"{where}: {issuer} signs tokens for many applications: give an `applicationID`"
        )
    return CustomJwtProvider(issuer, jwks, algorithm, application_id)


def _check_fields(item: Mapping[str, Any], where: str, *, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    for name in required:
        if name not in item:
            raise _mismatch(f"{where}: `{name}` is missing")
    for name, value in item.items():
        if name not in required and name not in optional:
            raise _mismatch(f"{where}: there is no field {name!r:.50}; expected {', '.join((*required, *optional))}")
        if not isinstance(value, str) or not value:
            raise _mismatch(f"{where}: `{name}` must be a string with something in it, not {value!r:.50}")


def _with_scheme(domain: str, where: str, field: str) -> str:
    url = domain if "://" in domain else f"https://{domain}"
    if not _is_http_url(url):
        raise InvalidAuthConfig("InvalidProviderDomainUrl", f"{where}: `{field}` {domain!r:.100} is no domain or URL")
    return url


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and not any(c.isspace() for c in text)


def _mismatch(text: str) -> InvalidAuthConfig:
    return InvalidAuthConfig("AuthConfigNotMatchingSchemaError", text)
