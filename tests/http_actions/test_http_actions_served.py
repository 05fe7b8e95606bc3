"""HTTP actions, the log and redacted errors on running servers."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from processes import ConcaveServer, concave_server, database_in, free_port, wait_until

HERE = Path(__file__).resolve().parent
MIB = 1 << 20

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Served:
    server: ConcaveServer
    site: str
    data: Path

    @property
    def port(self) -> int:
        return int(self.server.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def dev(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory, port = tmp_path_factory.mktemp("http"), free_port()
    options = ("--data-dir", directory / "data", "--db", database_in(mongo_uri, "http"), "--site-port", port)
    with concave_server("dev", HERE / "app", *options, directory=directory) as server:
        yield Served(server, f"http://127.0.0.1:{port}", directory / "data")


@pytest.fixture(scope="module")
def workers(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two server processes that redact errors."""
    directory, port = tmp_path_factory.mktemp("http"), free_port()
    options = ("--data-dir", directory / "data", "--db", database_in(mongo_uri, "http"), "--site-port", port)
    more = ("--workers", 2, "--redact-errors")
    with concave_server("serve", HERE / "app", *options, *more, directory=directory) as server:
        yield Served(server, f"http://127.0.0.1:{port}", directory / "data")


def concave(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "concave.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_one_action_through_both_doors(dev: Served) -> None:
    for base, kind in ((f"{dev.server.url}/http", "first"), (dev.site, "second")):
        response = httpx.post(f"{base}/hook?x=1", json={"kind": kind}, headers={"x-forwarded-proto": "https"})
        assert response.status_code == 201
        shown = base.removesuffix("/http").replace("http:", "https:")
        assert response.json()["url"] == f"{shown}/hook?x=1"
    assert response.json()["kinds"] == ["first", "second"]
    assert httpx.get(f"{dev.site}/api/query").text == "No matching routes found"
    preflight = httpx.options(f"{dev.site}/hook", headers={"origin": "https://page.test"})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "https://page.test")
    assert f"site URL        {dev.site}\n" in dev.server.log


def test_functions_know_where_they_are(dev: Served) -> None:
    answer = httpx.post(f"{dev.server.url}/api/query", json={"path": "events:where", "args": {}}).json()
    assert answer["value"] == {"api": dev.server.url, "site": dev.site}


def test_request_and_response_stream_at_once(dev: Served) -> None:
    """The first part of the answer is here before the rest of the question was sent."""
    with socket.create_connection(("127.0.0.1", dev.port), timeout=20) as connection:
        head = "POST /http/upper HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(head.encode() + b"5\r\nhello\r\n")
        answer = b""
        while b"HELLO" not in answer:
            answer += connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200")
        connection.sendall(b"5\r\nworld\r\n0\r\n\r\n")
        while b"WORLD\r\n0\r\n\r\n" not in answer:
            answer += connection.recv(4096)


def test_an_error_in_a_stream_breaks_the_connection_off(dev: Served) -> None:
    with httpx.stream("GET", f"{dev.site}/halfway") as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()
    logged = concave("logs", "--data-dir", dev.data, "--request", _last_failed(dev))
    assert "GET /halfway" in logged.stdout
    assert "RuntimeError: broke off" in logged.stdout


def _last_failed(served: Served) -> str:
    found: list[str] = re.findall(r"Request ID: ([0-9a-f]{16})", served.server.log)
    return found[-1]


def test_bodies_end_at_20_mib(dev: Served) -> None:
    assert httpx.post(f"{dev.site}/size", content=bytes(20 * MIB), timeout=30).text == str(20 * MIB)
    refused = httpx.post(f"{dev.site}/size", content=iter([bytes(MIB)] * 21), timeout=30)
    assert (refused.status_code, refused.json()["code"]) == (413, "RequestTooLarge")
    assert len(httpx.get(f"{dev.site}/zeros/a?size={20 * MIB}", timeout=30).content) == 20 * MIB
    assert len(httpx.get(f"{dev.site}/zeros/a?size={21 * MIB}", timeout=30).content) == 20 * MIB


def test_head_has_no_body(dev: Served) -> None:
    head = httpx.head(f"{dev.site}/zeros/a?size=100")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "100", b"")


def test_logs_are_followed_from_now_on(dev: Served, tmp_path: Path) -> None:
    httpx.post(f"{dev.site}/hook", json={"kind": "before"})
    out = tmp_path / "out"
    command = [sys.executable, "-m", "concave.cli.main", "logs", "--data-dir", str(dev.data), "--history", "1"]
    with out.open("wb") as output, subprocess.Popen([*command, "--success", "--jsonl"], stdout=output) as process:
        try:
            wait_until(lambda: out.read_text().count("\n") == 1, "no history")
            httpx.post(f"{dev.site}/hook", json={"kind": "after"}, headers={"convex-request-id": "followed"})
            wait_until(lambda: out.read_text().count("\n") == 4, "nothing followed")
        finally:
            process.terminate()
    first, *rest = [json.loads(line) for line in out.read_text().splitlines()]
    assert (first["identifier"], first["success"]) == ("POST /hook", {"status": "201"})
    assert [(entry["identifier"], entry["requestId"]) for entry in rest] == [
        ("events:add", "followed"),
        ("events:kinds", "followed"),
        ("POST /hook", "followed"),
    ]
    assert rest[0]["logLines"] == ["[LOG] 'received' 'after'"]


def test_a_request_that_is_not_known(dev: Served) -> None:
    unknown = concave("logs", "--data-dir", dev.data, "--request", "0000")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "nothing is known" in unknown.stderr


def test_the_site_port_with_several_workers(workers: Served) -> None:
    for number in range(8):
        response = httpx.post(f"{workers.site}/hook", json={"kind": str(number)})
        assert len(response.json()["kinds"]) == number + 1
    assert f"HTTP actions at {workers.site}\n" in workers.server.log


def test_redacted_errors_are_found_by_their_id(workers: Served) -> None:
    answer = httpx.post(f"{workers.server.url}/api/query", json={"path": "events:broken", "args": {}}).json()
    found = re.fullmatch(r"\[Request ID: ([0-9a-f]{16})\] Server Error", answer["errorMessage"])
    assert found is not None
    assert "secret" not in json.dumps(answer)

    # Each process has its own log, and it is chance which one is asked.
    def is_known() -> bool:
        logged = concave("logs", "--data-dir", workers.data, "--request", found[1])
        return "ValueError: the secret reason\n    at broken (app/events.py:" in logged.stdout

    wait_until(is_known, "the error is in no log")


def test_redaction_by_environment(mongo_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDACT_LOGS_TO_CLIENT", "true")
    monkeypatch.setenv("CONVEX_SITE_ORIGIN", "https://site.example/")
    options = ("--data-dir", tmp_path / "data", "--db", database_in(mongo_uri, "http"))
    with concave_server("serve", HERE / "app", *options, directory=tmp_path) as server:
        answer = httpx.post(f"{server.url}/api/query", json={"path": "events:broken", "args": {}}).json()
        assert "secret" not in answer["errorMessage"]
        where = httpx.post(f"{server.url}/api/query", json={"path": "events:where", "args": {}}).json()
        assert where["value"]["site"] == "https://site.example"
