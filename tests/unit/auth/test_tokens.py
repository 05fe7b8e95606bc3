"""Every refusal of http-and-admin.md 9.3, with keys made for the purpose."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest

from concave.auth.admin_keys import read_only_key
from concave.auth.authenticator import Authenticator
from concave.functions.auth_config import parse_auth_config
from concave.values.errors import ClientError, OverloadError

NOW_S = 1_800_000_000
OIDC = {"domain": "issuer.test", "applicationID": "app"}
CUSTOM = {"type": "customJwt", "issuer": "https://issuer.test", "jwks": "https://issuer.test/jwks"}


@pytest.fixture
async def authenticator(clock: Any, provider: Any) -> AsyncIterator[Authenticator]:
    authenticator = Authenticator("name|secret", clock, transport=provider)
    yield authenticator
    await authenticator.close()


def trust(authenticator: Authenticator, *providers: dict[str, Any]) -> None:
    authenticator.configure(parse_auth_config({"providers": list(providers)}))


def custom(algorithm: str, **more: Any) -> dict[str, Any]:
    return {**CUSTOM, "algorithm": algorithm, "applicationID": "app", **more}


async def refusal(authenticator: Authenticator, token: str) -> ClientError:
    with pytest.raises(ClientError) as raised:
        await authenticator.user(token)
    assert raised.value.http_status == 401
    return raised.value


async def test_an_oidc_token(authenticator: Authenticator, rsa: Any, ed: Any) -> None:
    trust(authenticator, OIDC)
    caller = await authenticator.user(rsa.token(given_name="Ann", org={"role": "owner", "n": 1}, jti="x"))
    assert caller.identity == {
        "tokenIdentifier": "https://issuer.test|ann",
        "issuer": "https://issuer.test",
        "subject": "ann",
        "givenName": "Ann",
        "org": {"role": "owner", "n": 1.0},
    }
    assert caller.expires_ms == (NOW_S + 60) * 1000
    assert not caller.is_admin
    assert (await authenticator.user(ed.token())).identity


@pytest.mark.parametrize("name", ["rsa", "ec", "ed"])
async def test_a_custom_token(name: str, authenticator: Authenticator, request: pytest.FixtureRequest) -> None:
    signer = request.getfixturevalue(name)
    trust(authenticator, custom(signer.algorithm))
    caller = await authenticator.user(signer.token(given_name="Ann", metadata={"role": "owner"}, aud=["x", "app"]))
    assert caller.identity is not None
    assert caller.identity["given_name"] == "Ann"
    assert caller.identity["metadata.role"] == "owner"
    assert caller.expires_ms == (NOW_S + 65) * 1000


async def test_issuers_match_with_a_slash_or_without_and_the_identifier_is_the_tokens(
    authenticator: Authenticator, rsa: Any
) -> None:
    trust(authenticator, OIDC)
    caller = await authenticator.user(rsa.token(iss="https://issuer.test/"))
    assert caller.identity is not None
    assert caller.identity["tokenIdentifier"] == "https://issuer.test/|ann"


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "a.b.c.d", "é.é.é", "x" * 40_000, "W10.W10.x"])
async def test_what_is_no_jwt(token: str, authenticator: Authenticator) -> None:
    trust(authenticator, OIDC)
    assert (await refusal(authenticator, token)).code == "InvalidAuthHeader"


@pytest.mark.parametrize("claims", [{"iss": "https://other.test"}, {"aud": "other"}, {"aud": None}, {"iss": None}])
async def test_no_provider_fits(claims: Any, authenticator: Authenticator, rsa: Any, provider: Any) -> None:
    trust(authenticator, OIDC, custom("RS256", issuer="https://b.test", applicationID="b"))
    error = await refusal(authenticator, rsa.token(**claims))
    assert error.code == "NoAuthProvider"
    assert "CustomJWT(issuer=https://b.test, app_id=b)" in error.message
    assert provider.asked == []


REFUSED = [
    ("expired", {"exp": NOW_S}, True, True),
    ("expired within the leeway", {"exp": NOW_S - 4}, True, False),
    ("expired beyond the leeway", {"exp": NOW_S - 5}, True, True),
    ("no expiry", {"exp": None}, True, True),
    ("expiry is a text", {"exp": "never"}, True, True),
    ("expiry is true", {"exp": True}, True, True),
    ("not yet valid", {"nbf": NOW_S + 6}, False, True),
    ("nearly valid", {"nbf": NOW_S + 4}, False, False),
    ("from the future", {"iat": NOW_S + 6}, True, True),
    ("from the near future", {"iat": NOW_S + 4}, False, False),
    ("no subject", {"sub": None}, True, True),
    ("empty subject", {"sub": ""}, True, True),
    ("more audiences", {"aud": ["app", "other"]}, True, False),
]


@pytest.mark.parametrize(("claims", "oidc", "own"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
async def test_claims(claims: Any, oidc: bool, own: bool, authenticator: Authenticator, rsa: Any) -> None:
    if claims.get("exp") == NOW_S:
        own = False
    for provider, refused in ((OIDC, oidc), (custom("RS256"), own)):
        trust(authenticator, provider)
        if refused:
            assert (await refusal(authenticator, rsa.token(**claims))).code == "Unauthenticated"
        else:
            assert (await authenticator.user(rsa.token(**claims))).identity


async def test_signed_by_another_key(authenticator: Authenticator, rsa: Any, new_signer: Any) -> None:
    trust(authenticator, OIDC)
    forged = new_signer("RS256", rsa.kid).token()
    assert "signature" in (await refusal(authenticator, forged)).message
    head, claims, signature = rsa.token().split(".")
    other = base64.urlsafe_b64encode(base64.urlsafe_b64decode(claims + "==").replace(b"ann", b"bob")).decode()
    assert "signature" in (await refusal(authenticator, f"{head}.{other.rstrip('=')}.{signature}")).message


async def test_algorithms_are_the_providers_choice(authenticator: Authenticator, rsa: Any, ec: Any, ed: Any) -> None:
    claims = jwt.decode(rsa.token(), options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, "none", {"kid": "rsa"})
    shared_secret = jwt.encode(claims, rsa.jwk()["n"], "HS256", {"kid": "rsa"})
    for provider in (OIDC, custom("RS256")):
        trust(authenticator, provider)
        for token in (unsigned, shared_secret, ec.token(), ec.token({"kid": "rsa"})):
            assert "algorithm" in (await refusal(authenticator, token)).message
    trust(authenticator, custom("ES256"))
    assert "algorithm" in (await refusal(authenticator, ed.token())).message
    # An algorithm that is admitted, with the id of a key that is for another one.
    trust(authenticator, OIDC)
    assert "no key" in (await refusal(authenticator, ed.token({"kid": "rsa"}))).message


async def test_key_ids(authenticator: Authenticator, rsa: Any, provider: Any, new_signer: Any) -> None:
    nameless = rsa.token({"kid": None})
    trust(authenticator, custom("RS256"))
    assert "kid" in (await refusal(authenticator, nameless)).message
    trust(authenticator, OIDC)
    assert (await authenticator.user(nameless)).identity
    provider.signers = [rsa, new_signer("RS256", "second")]
    trust(authenticator)
    trust(authenticator, OIDC)
    assert "no key" in (await refusal(authenticator, nameless)).message
    await refusal(authenticator, rsa.token({"crit": ["b64"], "b64": True}))


@pytest.mark.parametrize("kid", [1, ["rsa"], {"a": 1}])
async def test_a_key_id_of_another_type(kid: Any, authenticator: Authenticator, rsa: Any) -> None:
    trust(authenticator, OIDC)
    head, claims, signature = rsa.token().split(".")
    header = json.loads(base64.urlsafe_b64decode(head + "==")) | {"kid": kid}
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    assert (await refusal(authenticator, f"{head}.{claims}.{signature}")).code == "InvalidAuthHeader"


async def test_inline_keys(authenticator: Authenticator, ec: Any, provider: Any) -> None:
    key_set = json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "ec"}, ec.jwk()]})
    encoded = base64.b64encode(key_set.encode()).decode()
    for uri in (f"data:text/plain;charset=utf-8;base64,{encoded}", "data:application/json," + key_set):
        trust(authenticator, custom("ES256", jwks=uri))
        assert (await authenticator.user(ec.token())).identity
    assert provider.asked == []
    trust(authenticator, custom("ES256", jwks="data:text/plain;base64,%%%"))
    assert (await refusal(authenticator, ec.token())).code == "InvalidAuthHeader"


@pytest.mark.parametrize("fault", ["status", "type", "issuer"])
async def test_trouble_with_the_provider_is_no_refusal(
    fault: str, authenticator: Authenticator, provider: Any, rsa: Any, clock: Any
) -> None:
    trust(authenticator, OIDC)
    match fault:
        case "status":
            provider.status = 502
        case "type":
            provider.content_type = "text/html"
        case "issuer":
            provider.issuer = "https://else.test"
    with pytest.raises(OverloadError) as raised:
        await authenticator.user(rsa.token())
    assert (raised.value.code, raised.value.http_status, raised.value.close_code) == (
        "AuthProviderDiscoveryFailed",
        503,
        1013,
    )
    asked = len(provider.asked)
    with pytest.raises(OverloadError):
        await authenticator.user(rsa.token())
    assert len(provider.asked) == asked, "it was asked again at once"
    provider.status, provider.content_type, provider.issuer = 200, "application/jwk-set+json", "https://issuer.test/"
    clock.passed_s += 2
    assert (await authenticator.user(rsa.token())).identity


async def test_the_same_configuration_keeps_its_keys(authenticator: Authenticator, provider: Any, rsa: Any) -> None:
    trust(authenticator, OIDC)
    await authenticator.user(rsa.token())
    trust(authenticator, OIDC, custom("ES256", applicationID="other"))
    await authenticator.user(rsa.token())
    assert provider.key_fetches == 1


async def test_users_of_a_provider_that_is_gone_are_trusted_no_longer(authenticator: Authenticator, rsa: Any) -> None:
    trust(authenticator, OIDC)
    caller = await authenticator.user(rsa.token())
    trust(authenticator, OIDC, custom("ES256"))
    assert not caller.is_expired(NOW_S * 1000)
    trust(authenticator, custom("ES256"))
    assert caller.is_expired(NOW_S * 1000)
    trust(authenticator, OIDC)
    assert caller.is_expired(NOW_S * 1000), "a new token is needed"
    assert not (await authenticator.user(rsa.token())).is_expired(NOW_S * 1000)


def test_admin_keys(authenticator: Authenticator) -> None:
    keys = authenticator.admin_keys
    assert keys.caller("name|secret").is_admin
    assert keys.caller("prod:name|secret").is_admin
    read_only = read_only_key("name|secret")
    assert keys.caller(read_only).is_read_only
    assert keys.caller(read_only).write_refusal is not None
    acting = keys.caller_by_header("name|secret:" + base64.b64encode(b'{"issuer":"i","subject":"s","age":3}').decode())
    assert acting.identity == {"tokenIdentifier": "i|s", "issuer": "i", "subject": "s", "age": 3.0}
    for key, code in (
        ("name|wrong", "BadAdminKey"),
        ("ä", "BadAdminKey"),
        ("", "BadAdminKey"),
        ("name|secret:%%", "HeaderParseFailure"),
        ("name|secret:W10=", "HeaderParseFailure"),
        ("name|secret:e30=", "HeaderParseFailure"),
        (read_only + ":" + base64.b64encode(b'{"tokenIdentifier":"x"}').decode(), "OperationNotPermitted"),
    ):
        with pytest.raises(ClientError) as raised:
            keys.caller_by_header(key)
        assert raised.value.code == code
    with pytest.raises(ClientError):
        Authenticator(None, authenticator._runtime).admin("")
