"""Authentication with the official clients, against a server whose provider's keys are inline."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from convex import ConvexClient
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

from concave.auth.admin_keys import read_only_key
from processes import ConcaveServer, admin_key, concave_server, database_in

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
ES256 = jwt.get_algorithm_by_name("ES256")
PRIVATE = generate_private_key(SECP256R1())
KEY_SET = {"keys": [{**ES256.to_jwk(PRIVATE.public_key(), as_dict=True), "kid": "interop"}]}


def token(**claims: Any) -> str:
    now = int(time.time())
    given = {"iss": "https://issuer.test", "aud": "interop", "sub": "ann", "iat": now, "exp": now + 600} | claims
    return jwt.encode(given, PRIVATE, "ES256", {"kid": "interop"})


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("auth")


@pytest.fixture(scope="module")
def auth_server(mongo_uri: str, data_dir: Path) -> Iterator[ConcaveServer]:
    with pytest.MonkeyPatch.context() as environment:
        uri = base64.b64encode(json.dumps(KEY_SET).encode()).decode()
        environment.setenv("INTEROP_JWKS", f"data:application/json;base64,{uri}")
        options = ("--data-dir", data_dir, "--db", database_in(mongo_uri, "auth"))
        with concave_server("dev", HERE / "auth" / "app", *options, directory=data_dir) as running:
            yield running


def test_the_npm_client(auth_server: ConcaveServer) -> None:
    private = json.dumps(ES256.to_jwk(PRIVATE, as_dict=True))
    completed = subprocess.run(
        ["node", str(HERE / "auth" / "scenario.mjs")],
        env={**os.environ, "CONVEX_URL": auth_server.url, "INTEROP_PRIVATE_JWK": private},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr


def test_the_python_client(auth_server: ConcaveServer, data_dir: Path) -> None:
    client = ConvexClient(auth_server.url)
    assert client.query("people:me", {}) is None
    client.set_auth(token(name="Ann"))
    me = client.query("people:me", {})
    assert (me["subject"], me["name"], me["tokenIdentifier"]) == ("ann", "Ann", "https://issuer.test|ann")
    client.mutation("people:note", {"text": "from Python"})
    assert client.query("people:authors", {"text": "from Python"}) == ["ann"]
    assert client.action("people:act", {"text": "acted in Python"}) == ["ann", "ann"]
    client.set_auth(None)
    assert client.query("people:me", {}) is None
    with pytest.raises(Exception, match="Could not find public function"):
        client.query("people:hidden", {})
    client.set_admin_auth(admin_key(data_dir))
    assert client.query("people:hidden", {}) is None


def test_http(auth_server: ConcaveServer, data_dir: Path) -> None:
    key = admin_key(data_dir)
    who = base64.b64encode(b'{"issuer":"i","subject":"carl"}').decode()

    def call(kind: str, path: str, authorization: str, **args: Any) -> httpx.Response:
        return httpx.post(
            f"{auth_server.url}/api/{kind}",
            json={"path": path, "args": args},
            headers={"authorization": authorization},
        )

    assert call("query", "people:me", f"Bearer {token()}").json()["value"]["subject"] == "ann"
    assert call("query", "people:nested", f"Convex {key}:{who}").json()["value"] == "carl"
    assert call("mutation", "people:note", f"Convex {read_only_key(key)}", text="x").status_code == 403
    assert call("query", "people:hidden", f"Convex {read_only_key(key)}").json()["value"] is None
    unsigned = jwt.encode({"iss": "https://issuer.test", "aud": "interop", "sub": "x"}, None, "none", {"kid": "x"})
    for bad in (token(exp=1), token(aud="x"), unsigned, "x"):
        refused = call("query", "people:same", f"Bearer {bad}")
        assert refused.status_code == 401
        assert set(refused.json()) == {"code", "message"}


def test_the_built_in_provider(auth_server: ConcaveServer) -> None:
    def post(path: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{auth_server.url}/api/auth/{path}", json=body)

    signed_up = post("sign-up", login="Dora@example.org", password="correct horse", name="Dora").json()
    assert post("sign-up", login="dora@example.org", password="correct horse").status_code == 409
    assert post("sign-in", login="dora@example.org", password="wrong horse").status_code == 401
    signed_in = post("sign-in", login="dora@example.org", password="correct horse").json()
    client = ConvexClient(auth_server.url)
    client.set_auth(signed_in["token"])
    me = client.query("people:me", {})
    assert (me["name"], me["email"], me["issuer"]) == ("Dora", "dora@example.org", auth_server.url)
    refreshed = post("refresh", refreshToken=signed_up["refreshToken"]).json()
    client.set_auth(refreshed["token"])
    assert client.query("people:me", {}) == me
    assert post("sign-out", refreshToken=refreshed["refreshToken"]).json() == {}
    refused = post("refresh", refreshToken=refreshed["refreshToken"])
    assert (refused.status_code, refused.json()["code"]) == (401, "InvalidRefreshToken")
    assert post("sign-in", login=3, password="x").status_code == 400
    discovery = httpx.get(f"{auth_server.url}/.well-known/openid-configuration").json()
    assert discovery["issuer"] == auth_server.url
    [key] = httpx.get(discovery["jwks_uri"]).json()["keys"]
    assert jwt.decode(
        refreshed["token"], jwt.PyJWK(key, "EdDSA").key, algorithms=["EdDSA"], audience="concave", issuer=me["issuer"]
    )
