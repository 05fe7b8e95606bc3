"""The official command line, unmodified: `npx convex run` and `npx convex logs`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from processes import wait_until

HERE = Path(__file__).resolve().parent

Cli = Callable[..., list[str]]

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(server: Any) -> dict[str, str]:
    return {
        **os.environ,
        "CONVEX_SELF_HOSTED_URL": server.url,
        "CONVEX_SELF_HOSTED_ADMIN_KEY": server.admin_key,
        "NODE_NO_WARNINGS": "1",
        "NO_COLOR": "1",
    }


def command(*arguments: str) -> list[str]:
    cli = HERE / "node_modules" / "convex" / "bin" / "main.js"
    assert cli.exists(), "the npm packages of tests/interop are missing: run `make setup`"
    return ["node", str(cli), *arguments]


def call(server: Any, kind: str, path: str, **args: Any) -> dict[str, Any]:
    body = {"path": path, "args": args}
    answer: dict[str, Any] = httpx.post(f"{server.url}/api/{kind}", json=body, timeout=30).json()
    return answer


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("run", *arguments),
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_run(server: Any, environment: dict[str, str]) -> None:
    sent = run(environment, "messages:send", '{"channel": "cli", "body": "hello"}')
    assert sent.returncode == 0, sent.stderr
    listed = run(environment, "messages:list", '{"channel": "cli"}')
    assert [message["body"] for message in json.loads(listed.stdout)] == ["hello"]
    failed = run(environment, "messages:list", '{"channel": 3}')
    assert failed.returncode == 1
    assert "ArgumentValidationError" in failed.stderr


def follow(environment: dict[str, str], out: Path, *options: str) -> subprocess.Popen[bytes]:
    with out.open("wb") as output:
        return subprocess.Popen(command("logs", *options), cwd=HERE, env=environment, stdout=output, stderr=output)


def test_logs_with_history(server: Any, environment: dict[str, str], tmp_path: Path) -> None:
    for number in range(7):
        call(server, "mutation", "messages:send", channel="cli history", body=str(number))
    out = tmp_path / "out"
    with follow(environment, out, "--history", "5", "--success", "--jsonl") as process:
        try:
            wait_until(lambda: out.read_text().count('"Completion"') >= 5, "no history", 30)
        finally:
            process.kill()
    entries = [json.loads(line) for line in out.read_text().splitlines() if line.startswith("{")]
    assert [entry["identifier"] for entry in entries] == ["messages:send"] * 5
    assert {entry["kind"] for entry in entries} == {"Completion"}


def test_logs_follow(server: Any, environment: dict[str, str], tmp_path: Path) -> None:
    """What functions print and how they fail, as upstream's tool shows it."""
    out = tmp_path / "out"
    with follow(environment, out, "--success") as process:
        try:

            def is_followed() -> bool:
                # The tool does not say when its first poll has been answered, so there may have to be another call.
                call(server, "mutation", "talking:talk", word="there")
                call(server, "query", "messages:missing")
                return "Could not find public function" in out.read_text()

            wait_until(is_followed, "nothing is followed", 30)
        finally:
            process.kill()
    shown = out.read_text()
    assert "messages:missing" in shown
    assert "[CONVEX M(talking:talk)] [LOG] 'hello' 'there'" in shown
