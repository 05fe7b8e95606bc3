"""The endpoints of the built-in auth provider (`auth/accounts.py`).

| | body | answer |
|---|---|---|
| POST `/api/auth/sign-up` | `{login, password, name?}` | `{token, refreshToken, expiresAt}` |
| POST `/api/auth/sign-in` | `{login, password}` | the same |
| POST `/api/auth/refresh` | `{refreshToken}` | the same: the next pair |
| POST `/api/auth/sign-out` | `{refreshToken}` | `{}` |
| GET `/.well-known/jwks.json` | | the public keys |
| GET `/.well-known/openid-configuration` | | issuer and address of the keys |

`login` is a name or an e-mail address; `expiresAt` is in milliseconds since 1970. Refusals are `{code, message}` as
everywhere, with the codes of `Accounts`; 400 `PasswordProviderOff` where the app has no `password_provider()`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from concave.auth.accounts import ALGORITHM, Accounts, TokenPair
from concave.http.exchange import Exchange
from concave.http.public_api import Endpoint
from concave.values.errors import ClientError

BODY_BYTES_MAX: Final = 8 * 1024


def sign_in_routes(accounts: Callable[[], Accounts | None]) -> dict[str, Mapping[str, Endpoint]]:
    """The endpoints, by path and method; `accounts` gives the provider that is switched on now."""

    def on() -> Accounts:
        found = accounts()
        if found is None:
            raise ClientError(
                "PasswordProviderOff", "The app has no password_provider() among the providers of its auth_config.py."
            )
        return found

    async def sign_up(exchange: Exchange) -> bytes:
        body = await exchange.json_object(BODY_BYTES_MAX)
        name = None if body.get("name") is None else _text(body, "name")
        return _rendered(await on().sign_up(_text(body, "login"), _text(body, "password"), name, _address(exchange)))

    async def sign_in(exchange: Exchange) -> bytes:
        body = await exchange.json_object(BODY_BYTES_MAX)
        return _rendered(await on().sign_in(_text(body, "login"), _text(body, "password"), _address(exchange)))

    async def refresh(exchange: Exchange) -> bytes:
        body = await exchange.json_object(BODY_BYTES_MAX)
        return _rendered(await on().refresh(_text(body, "refreshToken")))

    async def sign_out(exchange: Exchange) -> bytes:
        body = await exchange.json_object(BODY_BYTES_MAX)
        await on().sign_out(_text(body, "refreshToken"))
        return b"{}"

    async def key_set(exchange: Exchange) -> bytes:
        return orjson.dumps(on().key_set())

    async def discovery(exchange: Exchange) -> bytes:
        issuer = on().issuer
        return orjson.dumps(
            {
                "issuer": issuer,
                "jwks_uri": f"{issuer.rstrip('/')}/.well-known/jwks.json",
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
            }
        )

    return {
        "/api/auth/sign-up": {"POST": sign_up},
        "/api/auth/sign-in": {"POST": sign_in},
        "/api/auth/refresh": {"POST": refresh},
        "/api/auth/sign-out": {"POST": sign_out},
        "/.well-known/jwks.json": {"GET": key_set},
        "/.well-known/openid-configuration": {"GET": discovery},
    }


def _rendered(pair: TokenPair) -> bytes:
    return orjson.dumps({"token": pair.token, "refreshToken": pair.refresh_token, "expiresAt": pair.expires_ms})


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if type(value) is not str:
        raise ClientError("BadJsonBody", f"`{name}` must be a string.")
    return value


def _address(exchange: Exchange) -> str:
    """Where the request comes from, as the socket says: headers say what their sender likes."""
    client = exchange.scope.get("client")
    return client[0] if client else ""
