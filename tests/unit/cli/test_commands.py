"""What the commands say without a server: help, bad arguments, where they look for one."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from concave.cli.main import main
from concave.values.errors import EngineError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Calls the entry point in an empty directory: exit status, stdout, stderr with its lines joined."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONCAVE_ADMIN_KEY", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["concave", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        assert code is None or isinstance(code, int)
        return code or 0, printed.out, printed.err

    return call


class Canned(http.server.BaseHTTPRequestHandler):
    """Answers each POST with the class's `answer`, and keeps what it was sent."""

    answer: tuple[int, bytes] = (200, b"")
    received: tuple[str, str | None, bytes] = ("", None, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        type(self).received = (self.path, self.headers["authorization"], body)
        status, content = type(self).answer
        self.send_response(status)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server_url() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Canned) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_help_names_every_command(run: Run) -> None:
    _, out, _ = run("--help")
    for command in ("dev", "serve", "run", "data", "schema"):
        assert f" {command} " in out
    _, out, _ = run("schema", "--help")
    for command in ("plan", "push", "stats"):
        assert f" {command} " in out


def test_help_loads_no_server() -> None:
    script = (
        "import sys; sys.argv = ['concave', '--help']\n"
        "from concave.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sorted(set(sys.modules) & {'pymongo', 'uvicorn', 'starlette', 'watchfiles'}), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr.strip() == ""


@pytest.mark.parametrize("command", ["dev", "serve", "schema plan", "schema push", "schema stats"])
def test_a_missing_app(run: Run, tmp_path: Path, command: str) -> None:
    extra = ["--db", "mongodb://127.0.0.1:1/x"] if command == "serve" else []
    status, _, err = run(*command.split(), *extra)
    assert status == 1
    assert str(tmp_path / "schema") in err
    assert "--app" in err


def test_run_without_a_server(run: Run) -> None:
    status, _, err = run("run", "a:f")
    assert status == 1
    assert "concave dev" in err
    assert "--url" in err
    status, _, err = run("run", "a:f", "--url", "http://127.0.0.1:9", "--admin-key", "a|b")
    assert status == 1
    assert "http://127.0.0.1:9" in err
    status, _, err = run("run", "a:f", "--url", "127.0.0.1:9", "--admin-key", "a|b")
    assert "http://" in err
    status, _, err = run("run", "a:f", "--url", "http://127.0.0.1:9")
    assert "--admin-key" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [('{"a": ', "not valid JSON"), ("[1]", "must be a JSON object"), ("hello", "not valid JSON"), ("1", "JSON object")],
)
def test_run_with_bad_arguments(run: Run, arguments: str, said: str) -> None:
    status, out, err = run("run", "a:f", arguments)
    assert (status, out) == (1, "")
    assert said in err
    assert arguments in err
    assert "Traceback" not in err


def test_run_calls_the_function_with_the_key(run: Run, server_url: str) -> None:
    Canned.answer = (200, b'{"status":"success","value":{"a":[1]},"logLines":["[LOG] 1"]}')
    status, out, err = run("run", "a:f", '{"x": 1}', "--url", server_url + "/", "--admin-key", "n|t")
    assert (status, json.loads(out), err) == (0, {"a": [1]}, "[LOG] 1\n")
    path, authorization, body = Canned.received
    assert (path, authorization) == ("/api/function", "Convex n|t")
    assert json.loads(body) == {"path": "a:f", "args": {"x": 1}, "format": "json"}


def test_run_of_a_failing_function(run: Run, server_url: str) -> None:
    failure = {"status": "error", "errorMessage": "[Request ID: 0] Server Error\nUncaught ValueError: no\n    at f"}
    Canned.answer = (200, json.dumps(failure).encode())
    status, out, err = run("run", "a:f", "--url", server_url, "--admin-key", "n|t")
    assert (status, out, err) == (1, "", "Uncaught ValueError: no\n    at f\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((401, b'{"code":"BadAdminKey","message":"no"}'), "--admin-key"),
        ((503, b'{"code":"Overloaded","message":"later"}'), "Overloaded: later"),
        ((404, b"<html>"), "status 404"),
        ((200, b"<html>"), "--url"),
        ((200, b"{}"), "no concave server"),
    ],
)
def test_run_against_what_will_not(run: Run, server_url: str, answer: tuple[int, bytes], said: str) -> None:
    Canned.answer = answer
    status, out, err = run("run", "a:f", "--url", server_url, "--admin-key", "n|t")
    assert (status, out) == (1, "")
    assert said in err


def test_a_data_directory_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "empty.py").touch()
    (tmp_path / "file").touch()
    status, _, err = run("dev", "--port", "0", "--data-dir", "file/inside")
    assert status == 1
    assert "file/inside" in err
    assert "--data-dir" in err


def test_bugs_of_ours_keep_their_traceback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bool:
        raise EngineError("the committer lost count")

    monkeypatch.setattr("concave.cli.run.run_function", broken)
    monkeypatch.setattr(sys, "argv", ["concave", "run", "a:f", "--url", "http://x", "--admin-key", "n|t"])
    with pytest.raises(EngineError):
        main()


def test_markup_in_messages_is_printed_as_it_is(run: Run) -> None:
    _, _, err = run("run", "a:f", "[bold]x[/bold]")
    assert "[bold]x[/bold]" in err
