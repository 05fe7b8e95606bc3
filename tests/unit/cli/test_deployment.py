"""What a data directory remembers, and the port that a server takes."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from concave.cli.database_access import database_name
from concave.cli.deployment import Deployment, admin_key, announce, find, running, withdraw
from concave.cli.listening import bind, url_of
from concave.values.errors import ConfigurationError
from concave.values.runtime import SystemRuntime


@pytest.fixture(autouse=True)
def _no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONCAVE_ADMIN_KEY", raising=False)


def deployment(pid: int = 0) -> Deployment:
    return Deployment(url="http://127.0.0.1:3210", admin_key="app|key", db="mongodb://x/y", pid=pid or os.getpid())


def test_the_admin_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = admin_key(tmp_path / "new", "app", SystemRuntime())
    name, token = key.split("|")
    assert name == "app"
    assert len(token) >= 32
    assert ":" not in token
    assert admin_key(tmp_path / "new", "renamed", SystemRuntime()) == key
    assert (tmp_path / "new" / "admin_key").stat().st_mode & 0o777 == 0o600
    assert admin_key(tmp_path / "other", "app", SystemRuntime()) != key


def test_the_environment_s_key_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCAVE_ADMIN_KEY", "prod|secret")
    assert admin_key(tmp_path, "app", SystemRuntime()) == "prod|secret"
    assert not (tmp_path / "admin_key").exists()
    for bad in ("secret", "prod|se:cret"):
        monkeypatch.setenv("CONCAVE_ADMIN_KEY", bad)
        with pytest.raises(ConfigurationError, match="CONCAVE_ADMIN_KEY"):
            admin_key(tmp_path, "app", SystemRuntime())


def test_a_running_server_is_found_and_a_dead_one_is_not(tmp_path: Path) -> None:
    assert running(tmp_path) is None
    announce(tmp_path, deployment())
    assert running(tmp_path) == deployment()
    assert (tmp_path / "deployment.json").stat().st_mode & 0o777 == 0o600
    withdraw(tmp_path)
    assert running(tmp_path) is None
    with subprocess.Popen(["true"]) as ended:
        pass
    announce(tmp_path, deployment(ended.pid))
    assert running(tmp_path) is None
    (tmp_path / "deployment.json").write_text("{broken")
    assert running(tmp_path) is None


def test_only_its_own_announcement_is_withdrawn(tmp_path: Path) -> None:
    announce(tmp_path, deployment(os.getppid()))
    withdraw(tmp_path)
    assert running(tmp_path) is not None


def test_finding_the_server_to_call(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no server runs"):
        find(tmp_path, None, None)
    admin_key(tmp_path, "app", SystemRuntime())
    assert find(tmp_path, "http://elsewhere", None).admin_key == (tmp_path / "admin_key").read_text().strip()
    announce(tmp_path, deployment())
    found = find(tmp_path, None, None)
    assert (found.url, found.admin_key) == ("http://127.0.0.1:3210", "app|key")
    found = find(tmp_path, "https://elsewhere", "other|key")
    assert (found.url, found.admin_key) == ("https://elsewhere", "other|key")


def test_a_taken_port_is_named_with_a_way_out() -> None:
    with bind("127.0.0.1", 0) as taker:
        taker.listen()
        port = taker.getsockname()[1]
        with pytest.raises(ConfigurationError) as caught:
            bind("127.0.0.1", port)
    assert f"port {port}" in str(caught.value)
    assert f"--port {port + 1}" in str(caught.value)


def test_a_bound_port_refuses_until_somebody_listens() -> None:
    with bind("127.0.0.1", 0) as bound, socket.socket() as client:
        assert client.connect_ex(bound.getsockname()) != 0


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigurationError, match=r"no\.such\.host\.invalid"):
        bind("no.such.host.invalid", 3210)


def test_urls_for_people() -> None:
    with bind("0.0.0.0", 0) as bound:
        assert url_of(bound) == f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.mark.parametrize(("directory", "name"), [("my-app", "my_app"), ("schema", "schema"), ("a" * 60, "a" * 38)])
def test_the_database_is_named_after_the_app(tmp_path: Path, directory: str, name: str) -> None:
    assert database_name(tmp_path / directory) == name
