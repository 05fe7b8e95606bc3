"""A server on a real mongod, and a way to run scenarios written for the official npm client."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from processes import admin_key, concave_server, database_in

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class RunningServer:
    url: str
    database_uri: str
    admin_key: str


@pytest.fixture(scope="session")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """`concave dev` on the interop app and a database of its own."""
    database_uri = database_in(mongo_uri, "interop")
    directory = tmp_path_factory.mktemp("interop")
    options = ("--data-dir", directory / "data", "--db", database_uri)
    with concave_server("dev", HERE / "app", *options, directory=directory) as running:
        yield RunningServer(running.url, database_uri, admin_key(directory / "data"))


@pytest.fixture
def run_scenario(server: RunningServer) -> Callable[[str], str]:
    """Runs a file of `scenarios/` under Node with the server's address; fails with what it printed."""
    packages = HERE / "node_modules" / "convex"
    assert packages.exists(), "the npm packages of tests/interop are missing: run `make setup`"

    def run(name: str) -> str:
        completed = subprocess.run(
            ["node", str(HERE / "scenarios" / name)],
            env={**os.environ, "CONVEX_URL": server.url, "NODE_NO_WARNINGS": "1"},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr
        return completed.stdout

    return run
