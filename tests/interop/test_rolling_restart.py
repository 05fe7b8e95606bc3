"""The official npm client through a restart of one worker after the other: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pymongo
import pytest

from processes import concave_server, wait_until

HERE = Path(__file__).resolve().parent
CLIENTS = 4

pytestmark = pytest.mark.slow


def test_a_rolling_restart_loses_nothing(database_uri: str, tmp_path: Path) -> None:
    output = tmp_path / "clients.txt"
    with (
        concave_server("serve", HERE / "app", "--db", database_uri, "--workers", 2, directory=tmp_path) as server,
        output.open("w") as stdout,
        subprocess.Popen(
            ["node", str(HERE / "rolling" / "keep_sending.mjs"), str(CLIENTS)],
            env={**os.environ, "CONVEX_URL": server.url, "NODE_NO_WARNINGS": "1"},
            stdin=subprocess.PIPE,
            stdout=stdout,
        ) as clients,
    ):

        def wait_answers() -> None:
            """Wait until every client has had an answer from now on."""
            before = len(output.read_text().splitlines())

            def all_have() -> bool:
                assert clients.poll() is None, server.log
                return len(set(output.read_text().splitlines()[before:-1])) == CLIENTS

            wait_until(all_have, "the clients get no answers")

        wait_answers()
        supervisor = psutil.Process(server.process.pid)
        for replaced, worker in enumerate(supervisor.children(), 1):
            worker.send_signal(signal.SIGTERM)
            wait_until(lambda ready=2 + replaced: server.log.count(" is ready") == ready, "there is no new worker")
            wait_answers()
        assert clients.stdin is not None
        clients.stdin.close()
        assert clients.wait(20) == 0
        assert server.log.count("ended with status 0") == 2
    report = json.loads(output.read_text().splitlines()[-1])
    with pymongo.MongoClient[dict[str, Any]](database_uri) as client:
        stored = Counter(message["body"] for message in client.get_default_database()["messages"].find())
    assert stored == Counter(report["sent"])
    # A worker's clients are without a server for as long as the client pauses before it connects again, 0.5 to 1.5 s;
    # the bound is for a machine that does much else. A client that is not told waits for 60 s.
    assert report["gapMax"] < 20_000
    # A close of this kind is no error to the client.
    assert [line for line in report["said"] if "reconnect" not in line.lower()] == []
    print(f"longest wait for an answer: {report['gapMax']:.0f} ms, {len(report['sent'])} mutations")
