"""`concave dev` as a process: what it prints, what other commands find, how it ends."""

from __future__ import annotations

import json
import signal
import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

# What the fixtures of conftest.py are; each `start` gives a running command.
Start = Callable[..., Any]
Finish = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.slow


def mongod_of(process: psutil.Process) -> psutil.Process:
    return next(child for child in process.children() if child.name() == "mongod")


def test_a_whole_session(project: Path, start: Start, finish: Finish) -> None:
    dev = start("dev", "--port", "0")
    url = dev.wait_ready()
    printed = dev.out
    key = json.loads((project / ".concave" / "deployment.json").read_text())["admin_key"]
    for row in (f"URL             {url}", "site URL        http://127.0.0.1:", "mongodb://127.0.0.1:", key):
        assert row in printed
    assert str(project / ".concave") in printed
    assert "/schema?replicaSet=rs0" in printed
    for private in ("admin_key", "deployment.json"):
        assert (project / ".concave" / private).stat().st_mode & 0o777 == 0o600
    with urllib.request.urlopen(f"{url}/version") as response:
        assert response.status == 200

    status, out, err = finish("run", "notes:add", '{"title": "first"}')
    assert (status, err) == (0, "[LOG] 'adding' 'first'\n")
    assert isinstance(json.loads(out), str)
    assert json.loads(finish("run", "notes:titles")[1]) == ["first"]
    assert json.loads(finish("run", "notes:secret")[1]) == 42

    status, out, err = finish("run", "notes:refuse")
    assert (status, json.loads(out)) == (1, {"errorData": {"reason": "not today"}})
    assert err.startswith("Uncaught ConvexError")
    status, out, err = finish("run", "notes:title")
    assert (status, out) == (1, "")
    assert err.startswith("Could not find function for 'notes:title'.")
    assert "notes:titles" in err

    assert json.loads(finish("data", "--json")[1]) == [{"table": "notes", "documents": 1}]
    (document,) = json.loads(finish("data", "notes", "--json", "--order", "asc")[1])
    assert document["title"] == "first"
    assert "first" in finish("data", "notes")[1]
    status, _, err = finish("data", "noted")
    assert status == 1
    assert "there is no table 'noted'" in err
    assert "notes" in err
    assert json.loads(finish("schema", "plan", "--json")[1])["creates"] == []
    stats = {row["table"]: row for row in json.loads(finish("schema", "stats", "--json")[1])}
    assert stats["notes"]["documents"] == 1

    mongod = mongod_of(psutil.Process(dev.process.pid))
    assert dev.stop() == 0
    mongod.wait(10)
    assert key not in dev.err
    assert "Traceback" not in dev.err
    assert not (project / ".concave" / "deployment.json").exists()


def test_a_restart_keeps_data_key_and_database_address(project: Path, start: Start, finish: Finish) -> None:
    def rows(printed: str) -> list[str]:
        return [line for line in printed.splitlines() if line.strip().startswith(("MongoDB", "admin key"))]

    first = start("dev", "--port", "0")
    first.wait_ready()
    finish("run", "notes:add", '{"title": "kept"}')
    assert first.stop(signal.SIGTERM) == 0
    second = start("dev", "--port", "0")
    second.wait_ready()
    assert rows(second.out) == rows(first.out)
    assert json.loads(finish("run", "notes:titles")[1]) == ["kept"]


def test_changes_are_served_and_mistakes_are_not(project: Path, start: Start, finish: Finish) -> None:
    dev = start("dev", "--port", "0")
    dev.wait_ready()
    module = project / "schema" / "notes.py"
    source = module.read_text()
    module.write_text(source.replace("return 42", "return 43"))
    dev.wait_until(lambda: dev.err.count("reloaded schema") == 1)
    assert json.loads(finish("run", "notes:secret")[1]) == 43
    module.write_text(source + "\ndef (\n")
    dev.wait_until(lambda: "goes on serving" in dev.err)
    assert "schema/notes.py" in dev.err
    assert json.loads(finish("run", "notes:secret")[1]) == 43
    module.write_text(source.replace("return 42", "return 44"))
    dev.wait_until(lambda: dev.err.count("reloaded schema") == 2)
    assert json.loads(finish("run", "notes:secret")[1]) == 44


def test_a_second_start_on_the_same_directory(start: Start, finish: Finish) -> None:
    dev = start("dev", "--port", "0")
    dev.wait_ready()
    status, out, err = finish("dev", "--port", "0")
    assert (status, out) == (1, "")
    assert f"process {dev.process.pid}" in err
    assert ".concave is in use" in err
    assert "--data-dir" in err
    assert "Traceback" not in err


def test_a_port_in_use(finish: Finish) -> None:
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", 0))
        taker.listen()
        port = taker.getsockname()[1]
        status, out, err = finish("dev", "--port", str(port))
    assert (status, out) == (1, "")
    assert f"port {port}" in err
    assert f"--port {port + 1}" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_while_it_starts_leaves_nothing_behind(project: Path, start: Start, number: int) -> None:
    dev = start("dev", "--port", "0")
    process = psutil.Process(dev.process.pid)
    dev.wait_until(lambda: any(child.name() == "mongod" for child in process.children()))
    mongod = mongod_of(process)
    assert dev.stop(number) == 0
    mongod.wait(10)
    assert "Traceback" not in dev.err
    assert "concave ready" not in dev.out


def test_an_app_that_does_not_load(project: Path, finish: Finish) -> None:
    (project / "schema" / "broken.py").write_text("import nothing_of_that_name\n")
    status, out, err = finish("dev", "--port", "0")
    assert (status, out) == (1, "")
    assert "schema/broken.py:1" in err
    assert "nothing_of_that_name" in err
    assert "Traceback" not in err


def test_data_that_breaks_the_schema(project: Path, start: Start, finish: Finish) -> None:
    dev = start("dev", "--port", "0")
    dev.wait_ready()
    finish("run", "notes:add", '{"title": "text"}')
    assert dev.stop() == 0
    module = project / "schema" / "notes.py"
    module.write_text(module.read_text().replace("define_table(title=v.string())", "define_table(title=v.boolean())"))
    status, _, err = finish("dev", "--port", "0")
    assert status == 1
    assert "breaks the new schema" in err
    assert "nothing was pushed" in err
    assert "Traceback" not in err
