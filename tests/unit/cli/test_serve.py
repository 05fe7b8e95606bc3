"""`concave serve` as a process, and what it says of databases that cannot be used."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import psutil
import pymongo
import pytest

from concave.storage.mongod import find_mongod

Start = Callable[..., Any]
Finish = Callable[..., tuple[int, str, str]]

pytestmark = pytest.mark.slow

IDLE_MEMORY_MB_MAX = 130


@pytest.fixture(scope="module")
def standalone_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a mongod that is no replica set."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    directory = tmp_path_factory.mktemp("standalone")
    command = [str(find_mongod()), "--dbpath", str(directory), "--port", str(port), "--bind_ip", "127.0.0.1"]
    with subprocess.Popen([*command, "--nounixsocket"], stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield port
        process.terminate()


def test_it_serves_and_stays_small(database_uri: str, start: Start, finish: Finish) -> None:
    server = start("serve", "--port", "0", "--db", database_uri)
    url = server.wait_ready()
    memory_mb = psutil.Process(server.process.pid).memory_info().rss / 1e6
    assert memory_mb < IDLE_MEMORY_MB_MAX
    body = json.dumps({"path": "notes:titles", "args": {}}).encode()
    request = urllib.request.Request(f"{url}/api/query", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as response:
        assert json.load(response) == {"status": "success", "value": []}
    assert finish("run", "notes:add", '{"title": "x"}')[0] == 0
    assert server.stop() == 0
    assert "Traceback" not in server.err


def test_the_admin_key_is_kept_private(database_uri: str, project: Path, start: Start) -> None:
    server = start("serve", "--port", "0", "--db", database_uri)
    server.wait_ready()
    key = (project / ".concave" / "admin_key").read_text().strip()
    server.stop()
    assert key.startswith("schema|")
    assert key not in server.out + server.err


def test_a_database_that_is_no_replica_set(standalone_port: int, finish: Finish) -> None:
    status, out, err = finish("serve", "--port", "0", "--db", f"mongodb://127.0.0.1:{standalone_port}/chat")
    assert (status, out) == (1, "")
    assert "standalone server" in err
    assert "--replSet" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("mongodb://127.0.0.1:{free}/chat?serverSelectionTimeoutMS=300", "cannot be used"),
        ("mongodb://127.0.0.1:{free}", "names no database"),
        ("not a uri", "no MongoDB URI"),
    ],
)
def test_databases_that_cannot_be_used(uri: str, said: str, finish: Finish) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        uri = uri.format(free=probe.getsockname()[1])
    status, out, err = finish("serve", "--port", "0", "--db", uri)
    assert (status, out) == (1, "")
    assert said in err
    assert "Traceback" not in err


def test_schema_commands_on_a_database_of_ones_own(database_uri: str, finish: Finish) -> None:
    status, out, _ = finish("schema", "plan", "--db", database_uri)
    assert status == 0
    assert "+ table notes" in out
    status, _, err = finish("schema", "stats", "--db", database_uri)
    assert status == 1
    assert "concave schema push" in err
    assert "+ table notes" in finish("schema", "push", "--db", database_uri)[1]
    assert "fits the schema" in finish("schema", "plan", "--db", database_uri)[1]
    status, out, _ = finish("schema", "stats", "--db", database_uri)
    assert status == 0
    assert any(line.startswith("notes ") for line in out.splitlines())
    assert "is empty" in finish("data", "notes", "--db", database_uri)[1]


def test_values_of_foreign_writers_are_shown(database_uri: str, finish: Finish) -> None:
    with pymongo.MongoClient[dict[str, Any]](database_uri) as client:
        client.get_default_database()["things"].insert_one(
            {"_id": "a", "_creationTime": 1.0, "when": bson.ObjectId(), "n": 7, "b": b"\x01", "_k": {"hidden": "x"}}
        )
    (document,) = json.loads(finish("data", "things", "--json", "--db", database_uri)[1])
    assert set(document) == {"_id", "_creationTime", "when", "n", "b"}
    assert document["n"] == 7
    assert isinstance(document["when"], str)
