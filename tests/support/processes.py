"""Processes that tests start: the `concave` command and its servers, on free ports, ended by their process id."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = TIMEOUT_S) -> None:
    """Poll until the condition holds; fails with `what` when it does not come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def database_in(mongo_uri: str, prefix: str) -> str:
    """The URI with a database in it that nobody else uses."""
    return re.sub(r"/[^/?]*(\?|$)", rf"/{prefix}_{uuid.uuid4().hex[:8]}\1", mongo_uri)


class ConcaveServer:
    """A running `concave dev` or `concave serve`. `url` is where it listens; `log` is what it has printed so far."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log_file: Path) -> None:
        self.process = process
        self.url = url
        self._log_file = log_file

    @property
    def log(self) -> str:
        return self._log_file.read_text()

    @property
    def mongodb(self) -> str:
        """The database's URI, as the server prints it."""
        found = re.search(r"mongodb://\S+", self.log)
        assert found is not None, self.log
        return found[0]

    def wait_ready(self) -> None:
        wait_until(lambda: self._is_ready() or self.process.poll() is not None, "the server did not start")
        assert self._is_ready(), self.log

    def stop(self) -> None:
        """As Ctrl-C would; by force when that does not help."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _is_ready(self) -> bool:
        return re.search(r"^concave ready", self.log, re.MULTILINE) is not None


@contextmanager
def concave_server(command: str, app: Path | str, *options: object, directory: Path) -> Iterator[ConcaveServer]:
    """`concave dev` or `concave serve`, ready; ended afterwards. `directory` becomes its working directory."""
    port = free_port()
    log_file = directory / f"server-{port}.log"
    with log_file.open("wb") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "concave.cli.main", command, "--app", str(app), "--port", str(port)),
                *map(str, options),
            ],
            cwd=directory,
            # Wide, so that no message is broken into lines where a test looks for it.
            env={**os.environ, "COLUMNS": "500"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = ConcaveServer(process, f"http://127.0.0.1:{port}", log_file)
    try:
        server.wait_ready()
        yield server
    finally:
        server.stop()


def admin_key(data_dir: Path) -> str:
    """The key that `concave dev` keeps in its data directory."""
    key = json.loads((data_dir / "deployment.json").read_text())["admin_key"]
    assert isinstance(key, str)
    return key
