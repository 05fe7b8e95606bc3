"""A server on a real mongod, and a way to run scenarios written for the official npm client."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
START_TIMEOUT_S = 60


@dataclass(frozen=True)
class RunningServer:
    url: str
    database_uri: str
    admin_key: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """`concave dev` on the interop app and a database of its own."""
    database_uri = re.sub(r"/[^/?]*(\?|$)", rf"/interop_{uuid.uuid4().hex[:8]}\1", mongo_uri)
    port = free_port()
    directory = tmp_path_factory.mktemp("interop")
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "concave.cli.main", "dev", "--app", str(HERE / "app"), "--port", str(port)),
                *("--data-dir", str(directory / "data"), "--db", database_uri),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_ready(process, log)
            deployment = next((directory / "data").glob("deployment.json"))
            admin_key = re.search(r'"admin_?[kK]ey":\s*"([^"]+)"', deployment.read_text())
            assert admin_key is not None
            yield RunningServer(f"http://127.0.0.1:{port}", database_uri, admin_key[1])
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not re.search(r"^concave ready", log.read_text(), re.MULTILINE):
        assert process.poll() is None, f"the server ended:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the server did not start:\n{log.read_text()}"
        time.sleep(0.05)


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


async def eventually(condition: Callable[[], bool], *, timeout_s: float = 10) -> None:
    """Wait until the condition holds; fails after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)
