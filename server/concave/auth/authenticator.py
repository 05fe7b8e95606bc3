"""The one door through which callers prove who they are: over the socket and over HTTP alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx

from concave.auth.admin_keys import AdminKeys
from concave.auth.caller import Caller, Voucher
from concave.auth.discovery import KeyFetcher
from concave.auth.json_web_keys import VerificationKey
from concave.auth.key_source import FetchKeys, InlineKeys, Keys, KeySource
from concave.auth.tokens import TokenVerifier, TrustedIssuer, custom_issuer, oidc_issuer
from concave.functions.auth_config import AuthConfig, CustomJwtProvider, OidcProvider, PasswordProvider, Provider
from concave.values.runtime import Runtime


class Authenticator:
    """Knows the deployment's admin keys and the providers of the app that is served; `configure` changes these."""

    def __init__(
        self, admin_key: str | None, runtime: Runtime, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.admin_keys = AdminKeys(admin_key)
        self._runtime = runtime
        self._fetcher = KeyFetcher(transport)
        self._config = AuthConfig()
        self._built_in: TrustedIssuer | None = None
        self._sources: dict[Provider, Keys] = {}
        self._vouchers: dict[Provider | str, Voucher] = {}
        """By provider; by issuer for the built-in one."""
        self._verifier = TokenVerifier((), runtime)

    def configure(self, config: AuthConfig, built_in: TrustedIssuer | None = None) -> None:
        """Trust these providers from now on; `built_in` stands for `password_provider()`. Keys of providers that stay
        as they were are kept; users of those that are gone are trusted no longer."""
        if config == self._config and built_in is self._built_in:
            return
        self._config, self._built_in = config, built_in
        sources: dict[Provider, Keys] = {}
        vouchers: dict[Provider | str, Voucher] = {}

        def trusted(issuer: TrustedIssuer, provider: Provider | str) -> TrustedIssuer:
            vouchers[provider] = self._vouchers.pop(provider, issuer.voucher)
            return replace(issuer, voucher=vouchers[provider])

        issuers: list[TrustedIssuer] = []
        for provider in config.providers:
            if isinstance(provider, PasswordProvider):
                if built_in is not None:
                    issuers.append(trusted(built_in, built_in.issuer))
                continue
            keys = sources[provider] = self._keys(provider)
            if isinstance(provider, OidcProvider):
                issuers.append(trusted(oidc_issuer(provider, keys), provider))
            else:
                issuers.append(trusted(custom_issuer(provider, keys), provider))
        for withdrawn in self._vouchers.values():
            withdrawn.is_withdrawn = True
        self._sources, self._vouchers = sources, vouchers
        self._verifier = TokenVerifier(issuers, self._runtime)

    async def user(self, token: str) -> Caller:
        """The user whose token this is. Raises as `TokenVerifier.verify`."""
        return await self._verifier.verify(token)

    def admin(self, key: str, acting_as: dict[str, Any] | None = None) -> Caller:
        """The holder of an admin key. Raises as `AdminKeys.caller`."""
        return self.admin_keys.caller(key, acting_as)

    async def close(self) -> None:
        await self._fetcher.close()

    def _keys(self, provider: OidcProvider | CustomJwtProvider) -> Keys:
        if isinstance(provider, CustomJwtProvider) and provider.jwks.startswith("data:"):
            return InlineKeys(provider.jwks)
        kept = self._sources.get(provider)
        return KeySource(provider.issuer, self._fetch(provider), self._runtime) if kept is None else kept

    def _fetch(self, provider: OidcProvider | CustomJwtProvider) -> FetchKeys:
        async def fetch() -> Sequence[VerificationKey]:
            if isinstance(provider, OidcProvider):
                return await self._fetcher.by_discovery(provider.issuer)
            return await self._fetcher.at(provider.jwks)

        return fetch
