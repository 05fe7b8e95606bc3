"""`auth_config` in an app: what is understood, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from concave import password_provider
from concave.functions.auth_config import (
    AuthConfig,
    CustomJwtProvider,
    InvalidAuthConfig,
    OidcProvider,
    PasswordProvider,
    parse_auth_config,
)
from concave.functions.load_report import LoadError
from concave.functions.loader import load_app

CUSTOM = {"type": "customJwt", "issuer": "https://i.test", "jwks": "https://i.test/jwks", "algorithm": "ES256"}


def test_providers() -> None:
    config = parse_auth_config(
        {"providers": [{"domain": "a.test", "applicationID": "app"}, CUSTOM, password_provider(access_minutes=5)]}
    )
    assert config.providers == (
        OidcProvider("https://a.test", "app"),
        CustomJwtProvider("https://i.test", "https://i.test/jwks", "ES256", None),
        PasswordProvider(None, 300.0),
    )
    assert config.password_provider == PasswordProvider(None, 300.0)
    assert parse_auth_config({"providers": []}) == AuthConfig()


@pytest.mark.parametrize(
    ("provider", "code"),
    [
        ({"domain": "a.test", "applicationId": "app"}, "AuthConfigNotMatchingSchemaError"),
        ({"domain": "a.test"}, "AuthConfigNotMatchingSchemaError"),
        ({"issuer": "a.test", "applicationID": "app"}, "AuthConfigNotMatchingSchemaError"),
        ({**CUSTOM, "domain": "a.test"}, "AuthConfigNotMatchingSchemaError"),
        ({**CUSTOM, "algorithm": "HS256"}, "AuthConfigNotMatchingSchemaError"),
        ({**CUSTOM, "type": "saml"}, "AuthConfigNotMatchingSchemaError"),
        ({**CUSTOM, "more": "x"}, "AuthConfigNotMatchingSchemaError"),
        ({**CUSTOM, "issuer": None}, "AuthConfigNotMatchingSchemaError"),
        ({"domain": "not a domain", "applicationID": "app"}, "InvalidProviderDomainUrl"),
        ({**CUSTOM, "jwks": "nowhere"}, "InvalidProviderDomainUrl"),
        ({**CUSTOM, "issuer": "https://api.workos.com/"}, "InsecureConfiguration"),
        ("x", "AuthConfigNotMatchingSchemaError"),
    ],
)
def test_refusals(provider: Any, code: str) -> None:
    with pytest.raises(InvalidAuthConfig) as raised:
        parse_auth_config({"providers": [provider]})
    assert raised.value.code == code


@pytest.mark.parametrize("config", [None, [], {}, {"providers": {}}, {"providers": [], "x": 1}])
def test_another_shape(config: Any) -> None:
    with pytest.raises(InvalidAuthConfig):
        parse_auth_config(config)
    with pytest.raises(InvalidAuthConfig, match="one password_provider"):
        parse_auth_config({"providers": [password_provider(), password_provider()]})


def test_the_loader_reads_it(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "__init__.py").touch()
    assert load_app(app).auth == AuthConfig()
    (app / "auth_config.py").write_text('auth_config = {"providers": [{"domain": "a.test", "applicationID": "b"}]}\n')
    assert load_app(app).auth.providers == (OidcProvider("https://a.test", "b"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nx = 1\n", "app/auth_config.py:1: AuthConfigMissingExportError"),
        ('\n\nauth_config = {"providers": [{}]}\n', "app/auth_config.py:3: AuthConfigNotMatchingSchemaError"),
        ("import os\nx = os.environ['NO_SUCH_VARIABLE']\n", "app/auth_config.py:2: KeyError: 'NO_SUCH_VARIABLE'"),
    ],
)
def test_the_loader_says_where_it_is_wrong(tmp_path: Path, text: str, expected: str) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "auth_config.py").write_text(text)
    with pytest.raises(LoadError) as raised:
        load_app(app)
    assert expected in str(raised.value)
