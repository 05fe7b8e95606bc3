"""Fetching providers' keys over HTTP: OIDC discovery, and JWKS addresses (http-and-admin.md 9.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import httpx
import orjson

from concave.auth.json_web_keys import InvalidKeySet, VerificationKey, parse_key_set
from concave.auth.key_source import KeysUnavailable

TIMEOUT_S: Final = 10.0
ANSWER_BYTES_MAX: Final = 1 << 20
_KEY_SET_TYPES: Final = ("application/json", "application/jwk-set+json", "text/json")


class KeyFetcher:
    """Owns the HTTP client, made at the first fetch. `transport` is the network's stand-in in tests."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def by_discovery(self, issuer: str) -> Sequence[VerificationKey]:
        """The keys of an OIDC issuer. Raises `KeysUnavailable`."""
        address = f"{issuer.rstrip('/')}/.well-known/openid-configuration"
        body, _ = await self._get(address)
        try:
            document: Any = orjson.loads(body)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict) or not isinstance(document.get("jwks_uri"), str):
            raise KeysUnavailable(f"{address} is no discovery document with a `jwks_uri`")
        named = document.get("issuer")
        if not isinstance(named, str) or named.rstrip("/") != issuer.rstrip("/"):
            raise KeysUnavailable(f"{address} is of the issuer {named!r:.200}, not of {issuer}")
        return await self.at(document["jwks_uri"])

    async def at(self, address: str) -> Sequence[VerificationKey]:
        """The key set at an address. Raises `KeysUnavailable`."""
        body, content_type = await self._get(address)
        if content_type not in _KEY_SET_TYPES:
            raise KeysUnavailable(f"{address} is of type {content_type!r:.100}, not JSON")
        try:
            return parse_key_set(body)
        except InvalidKeySet as error:
            raise KeysUnavailable(f"{address} is no key set: {error}") from None

    async def _get(self, address: str) -> tuple[bytes, str]:
        if self._client is None:
            self._client = httpx.AsyncClient(
                transport=self._transport, timeout=TIMEOUT_S, follow_redirects=True, max_redirects=3
            )
        body = bytearray()
        try:
            async with self._client.stream("GET", address) as response:
                if response.status_code != httpx.codes.OK:
                    raise KeysUnavailable(f"{address} answered with status {response.status_code}")
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > ANSWER_BYTES_MAX:
                        raise KeysUnavailable(f"the answer of {address} is longer than {ANSWER_BYTES_MAX} bytes")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise KeysUnavailable(f"{address}: {type(error).__name__} {error}".rstrip()) from None
        return bytes(body), response.headers.get("content-type", "").partition(";")[0].strip().lower()
