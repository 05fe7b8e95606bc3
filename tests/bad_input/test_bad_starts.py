"""`concave dev`, `serve` and `schema push` that cannot begin: exit status 1, plain words, and nothing left behind."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest

from concave.storage.mongod import find_mongod
from processes import free_port, wait_until

pytestmark = pytest.mark.slow

APP = Path(__file__).resolve().parent / "app"
MODULE = "from concave import define_table, v\n\nnotes = define_table(title=v.string())\n"


@pytest.fixture
def refused(concave: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    """Runs a command that must end with status 1 and plain words; returns them."""

    def run(*arguments: object) -> str:
        done = concave(*arguments, "--data-dir", tmp_path / "data")
        assert (done.status, done.out) == (1, ""), done.out + done.err
        assert "Traceback" not in done.err
        assert done.err.startswith("error: ")
        assert not (tmp_path / "data" / "mongo").exists(), "a database was made"
        return str(done.err)

    return run


@pytest.fixture
def databases(mongo_uri: str) -> Iterator[Callable[[], set[str]]]:
    """Names of the databases that are there now."""
    with pymongo.MongoClient[dict[str, Any]](mongo_uri) as client:
        yield lambda: set(client.list_database_names())


def _with_database(uri: str, name: str) -> str:
    return re.sub(r"/[^/?]*(\?|$)", rf"/{name}\1", uri)


# The app


def test_an_app_that_is_not_there(refused: Any, databases: Any, mongo_uri: str, tmp_path: Path) -> None:
    before = databases()
    empty = tmp_path / "empty"
    empty.mkdir()
    file = tmp_path / "file.py"
    file.write_text(MODULE)
    for command, app, says in (
        ("dev", tmp_path / "nowhere", "make that directory"),
        ("dev", file, "make that directory"),
        ("dev", empty, "that directory holds no Python module. Write one"),
        ("serve", empty, "that directory holds no Python module. Write one"),
        ("schema push", tmp_path / "nowhere", "make that directory"),
        ("schema push", empty, "that directory holds no Python module. Write one"),
    ):
        message = refused(*command.split(), "--app", app, "--db", _with_database(mongo_uri, "bad_input_unborn"))
        assert f"there is no app in {app}: {says}" in message
        assert "name the app's directory with --app" in message
    assert databases() == before


def test_an_app_that_defines_nothing(concave: Any, tmp_path: Path, mongo_uri: str) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "readings.py").write_text("SOMETHING = 1\n")
    done = concave("schema", "plan", "--app", app, "--db", _with_database(mongo_uri, "bad_input_unborn"))
    assert f"warning: the app in {app} defines no table and no function" in done.err


@pytest.mark.parametrize(
    ("source", "line", "says"),
    [
        ("def broken(:\n    pass\n", 4, "SyntaxError: invalid syntax\n    def broken(:"),
        ("import no_module_of_this_name\n", 4, "ModuleNotFoundError: No module named 'no_module_of_this_name'"),
        ("\nhalf = 1 / 0\n", 5, "ZeroDivisionError: division by zero\n    half = 1 / 0"),
    ],
)
def test_a_broken_module(
    refused: Any, databases: Any, mongo_uri: str, tmp_path: Path, source: str, line: int, says: str
) -> None:
    before = databases()
    app = tmp_path / "app"
    app.mkdir()
    (app / "notes.py").write_text(MODULE + source)
    message = refused("dev", "--app", app, "--port", 0, "--db", _with_database(mongo_uri, "bad_input_unborn"))
    assert f"the app in {app} cannot be loaded (1 problem):" in message
    assert f"app/notes.py:{line}: {says}" in message
    assert databases() == before


def test_a_broken_module_is_told_alike_by_every_command(refused: Any, mongo_uri: str, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "notes.py").write_text(MODULE + "def broken(:\n")
    uri = _with_database(mongo_uri, "bad_input_unborn")
    texts = {
        refused(*command.split(), "--app", app, "--db", uri) for command in ("serve", "schema plan", "schema push")
    }
    [text] = texts
    assert "app/notes.py:4: SyntaxError: invalid syntax" in text


def test_a_schema_that_cannot_be(refused: Any, databases: Any, mongo_uri: str, tmp_path: Path) -> None:
    before = databases()
    app = tmp_path / "app"
    app.mkdir()
    (app / "notes.py").write_text(MODULE.strip() + '.index("by_title", ["titel"])\n')
    (app / "more.py").write_text(MODULE)
    message = refused("schema", "push", "--app", app, "--db", _with_database(mongo_uri, "bad_input_unborn"))
    assert "cannot be loaded (1 problem):" in message
    assert "app/notes.py:3: the table `notes` is defined twice; the other is at app/more.py:3: rename" in message
    (app / "more.py").unlink()
    message = refused("schema", "push", "--app", app, "--db", _with_database(mongo_uri, "bad_input_unborn"))
    assert "app/notes.py:3: table `notes`, index `by_title`: the field `titel` can never exist" in message
    assert "Did you mean `title`?" in message
    assert databases() == before


# The port


@pytest.mark.parametrize("command", ["dev", "serve"])
def test_a_port_in_use(refused: Any, databases: Any, mongo_uri: str, command: str) -> None:
    before = databases()
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", 0))
        taker.listen()
        port = taker.getsockname()[1]
        uri = _with_database(mongo_uri, "bad_input_unborn")
        message = refused(command, "--app", APP, "--port", port, "--db", uri)
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass  # whoever had it still has it
    assert f"port {port} on 127.0.0.1 is in use by another program" in message
    assert f"choose another port, for instance with --port {port + 1}" in message
    assert databases() == before


# The database


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("postgres://127.0.0.1/notes", "is no MongoDB URI: Invalid URI scheme: URI must begin with 'mongodb://'"),
        ("127.0.0.1:27017/notes", "is no MongoDB URI: Invalid URI scheme"),
        ("mongodb://127.0.0.1:27017", "names no database: write mongodb://host:port/NAME"),
        ("mongodb://127.0.0.1:27017/?replicaSet=rs0", "names no database: write mongodb://host:port/NAME"),
        ("mongodb://127.0.0.1:mongo/notes", "is no MongoDB URI: Port contains non-digit characters."),
        ("mongodb://127.0.0.1/my notes", "is no MongoDB URI: Bad database name"),
        ("mongodb://127.0.0.1/notes?replicaset=rs0&colour=red", "is no MongoDB URI: Unknown option: colour"),
    ],
)
def test_a_uri_that_is_none(refused: Any, uri: str, says: str) -> None:
    message = refused("schema", "push", "--app", APP, "--db", uri)
    assert f"'{uri}' {says}" in message.replace("the MongoDB URI ", "")


def test_no_database_at_all(concave: Any, tmp_path: Path) -> None:
    done = concave("serve", "--app", APP, "--data-dir", tmp_path)
    assert done.status == 2
    assert "Missing option '--db' (env var: 'CONCAVE_DB')" in done.err


def test_a_password_is_never_printed(refused: Any) -> None:
    for uri in (
        "mongo://ada:secret@127.0.0.1/x",
        "mongodb://ada:sec:ret@127.0.0.1/x",
        "mongodb://ada:secret@127.0.0.1",
    ):
        message = refused("serve", "--app", APP, "--db", uri)
        assert "ada:***@127.0.0.1" in message
        assert "ret@" not in message


def test_a_database_that_does_not_answer(refused: Any) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        port = closed.getsockname()[1]
        uri = f"mongodb://127.0.0.1:{port}/notes?serverSelectionTimeoutMS=300"
        message = refused("serve", "--app", APP, "--port", 0, "--db", uri)
    assert f"MongoDB at {uri} cannot be used: 127.0.0.1:{port}: " in message
    assert "TopologyDescription" not in message
    assert "Start it, correct the URI, or run `concave dev`, which brings a MongoDB of its own." in message


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[str]:
    """URI of a mongod that belongs to no replica set."""
    directory = tmp_path / "standalone"
    directory.mkdir()
    port = free_port()
    process = subprocess.Popen(
        [find_mongod(), "--dbpath", directory, "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"],
        stdout=subprocess.DEVNULL,
    )
    uri = f"mongodb://127.0.0.1:{port}/notes"

    def answers() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return True
        except OSError:
            return False

    try:
        wait_until(answers, "the mongod did not start")
        yield uri
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_mongod_that_is_no_replica_set(refused: Any, standalone: str) -> None:
    for command in ("serve", "schema push", "dev"):
        message = refused(*command.split(), "--app", APP, "--db", standalone)
        assert (
            f"the MongoDB at {standalone} is a standalone server, without transactions and change streams." in message
        )
        assert "Start mongod with `--replSet rs0` and run `rs.initiate()`" in message
        assert "or run `concave dev`, which brings a MongoDB of its own." in message
    with pymongo.MongoClient[dict[str, Any]](standalone) as client:
        assert "notes" not in client.list_database_names()
