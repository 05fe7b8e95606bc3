"""`concave serve --workers N` where it cannot begin, or must not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

Start = Callable[..., Any]
Finish = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.slow


def test_a_port_that_another_server_has(database_uri: str, start: Start, finish: Finish) -> None:
    port = start("serve", "--port", "0", "--db", database_uri, "--workers", "2").wait_ready().rpartition(":")[2]
    for options in ((), ("--workers", "2")):
        status, out, err = finish("serve", "--port", port, "--db", database_uri, *options)
        assert (status, out) == (1, "")
        assert f"port {port} on 127.0.0.1 is in use" in err


def test_workers_that_cannot_begin(database_uri: str, project: Path, finish: Finish) -> None:
    """The supervisor loads the app, too; what fails only in a worker ends it all the same."""
    module = project / "schema" / "notes.py"
    module.write_text("import sys\nassert 'worker' not in sys.argv[0], 'not in here'\n" + module.read_text())
    status, out, err = finish("serve", "--port", "0", "--db", database_uri, "--workers", "2")
    assert (status, out) == (1, "")
    assert "not in here" in err
    assert "could not begin (exit status 1)" in err
    assert "Traceback" not in err


def test_a_worker_that_fails_again_and_again_is_not_started_all_the_time(
    database_uri: str, project: Path, start: Start
) -> None:
    server = start("serve", "--port", "0", "--db", database_uri, "--workers", "2")
    server.wait_ready()
    (project / "schema" / "notes.py").write_text("1 / 0\n")
    process = psutil.Process(server.process.pid)
    first = process.children()[0]
    began = time.monotonic()
    first.kill()
    server.wait_until(lambda: server.err.count("ended with status 1") == 1)
    assert "starting another in 0.4 s" in server.err
    assert time.monotonic() - began > 0.2
    # The other one still serves; and the end does not wait for the pause.
    assert server.stop() == 0
