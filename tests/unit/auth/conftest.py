"""A provider with keys of its own, and a clock that tests set."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa

from concave.values.runtime import SystemRuntime

NOW_S = 1_800_000_000


class Clock(SystemRuntime):
    """Stands still until it is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0

    def now_ms(self) -> float:
        return (NOW_S + self.passed_s) * 1000

    def monotonic(self) -> float:
        return self.passed_s


class Signer:
    """A private key, and tokens signed with it."""

    def __init__(self, algorithm: str, kid: str) -> None:
        self.algorithm = algorithm
        self.kid = kid
        self.private: Any
        match algorithm:
            case "RS256":
                self.private = generate_rsa(65537, 2048)
            case "ES256":
                self.private = generate_ec(SECP256R1())
            case _:
                self.private = Ed25519PrivateKey.generate()

    def jwk(self) -> dict[str, Any]:
        kind = jwt.get_algorithm_by_name(self.algorithm)
        return {**kind.to_jwk(self.private.public_key(), as_dict=True), "kid": self.kid, "use": "sig"}

    def token(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        given = {"iss": "https://issuer.test", "sub": "ann", "aud": "app", "iat": NOW_S, "exp": NOW_S + 60} | claims
        given = {name: value for name, value in given.items() if value is not None}
        given_headers = {"kid": self.kid, **(headers or {})}
        shown = {name: value for name, value in given_headers.items() if value is not None}
        return jwt.encode(given, self.private, self.algorithm, shown)


class Provider(httpx.MockTransport):
    """Serves discovery and a key set, and counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.signers: list[Signer] = []
        self.asked: list[str] = []
        self.status = 200
        self.content_type = "application/json"
        self.issuer = "https://issuer.test"

    @property
    def key_fetches(self) -> int:
        return self.asked.count("/jwks")

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path == "/.well-known/openid-configuration":
            body: Any = {"issuer": self.issuer, "jwks_uri": "https://issuer.test/jwks"}
        else:
            body = {"keys": [signer.jwk() for signer in self.signers]}
        headers = {"content-type": self.content_type}
        return httpx.Response(self.status, content=json.dumps(body).encode(), headers=headers)


@pytest.fixture(scope="session")
def rsa() -> Signer:
    return Signer("RS256", "rsa")


@pytest.fixture(scope="session")
def ec() -> Signer:
    return Signer("ES256", "ec")


@pytest.fixture(scope="session")
def ed() -> Signer:
    return Signer("EdDSA", "ed")


@pytest.fixture
def provider(rsa: Signer, ec: Signer, ed: Signer) -> Provider:
    provider = Provider()
    provider.signers = [rsa, ec, ed]
    return provider


@pytest.fixture
async def clock() -> AsyncIterator[Clock]:
    clock = Clock()
    yield clock
    await clock.close()


@pytest.fixture
def new_signer() -> type[Signer]:
    return Signer
