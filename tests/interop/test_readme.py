"""README's first app and its examples run as written; only addresses and the path of the command are put in."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
START_TIMEOUT_S = 60

pytestmark = pytest.mark.slow


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    assert isinstance(found, str)
    return found


def commands(containing: str) -> list[list[str]]:
    """The lines of a console block that are typed, without the prompt."""
    lines = block("console", containing).splitlines()
    return [shlex.split(line[2:], comments=True) for line in lines if line.startswith("$ ")]


@dataclass(frozen=True)
class Tutorial:
    directory: Path
    url: str
    mongodb: str

    def concave(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "concave.cli.main", *arguments)

    def run(self, *command: str) -> str:
        completed = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=30, check=False)
        assert completed.returncode == 0, completed.stdout + completed.stderr
        return completed.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tutorial]:
    """The README's app under `concave dev`, with the embedded MongoDB, in a directory of its own."""
    directory = tmp_path_factory.mktemp("tutorial")
    (directory / "notes_app").mkdir()
    (directory / "notes_app" / "notes.py").write_text(block("python", "define_table"))
    serve = commands("concave dev --app notes_app")[0]
    assert serve == ["concave", "dev", "--app", "notes_app"]
    port = free_port()
    log = directory / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "concave.cli.main", *serve[1:], "--port", str(port)],
            cwd=directory,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not re.search(r"^concave ready", log.read_text(), re.MULTILINE):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        mongodb = re.search(r"mongodb://\S+", log.read_text())
        assert mongodb is not None
        yield Tutorial(directory, f"http://127.0.0.1:{port}", mongodb[0])
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def titles(tutorial: Tutorial) -> list[str]:
    notes = json.loads(tutorial.concave("run", "notes:open_notes"))
    return [note["title"] for note in notes]


def test_the_console_commands(tutorial: Tutorial) -> None:
    _, *typed = commands("concave dev --app notes_app")
    outputs = [tutorial.concave(*arguments[1:]) for arguments in typed]
    assert [arguments[1] for arguments in typed] == ["run", "run", "data"]
    assert json.loads(outputs[1])[0]["title"] == "Write a README"
    assert "Write a README" in outputs[2]


def test_the_javascript(tutorial: Tutorial) -> None:
    packages = ROOT / "tests" / "interop" / "node_modules"
    assert (packages / "convex").exists(), "the npm packages of tests/interop are missing: run `make setup`"
    if not (tutorial.directory / "node_modules").exists():
        (tutorial.directory / "node_modules").symlink_to(packages)
    script = block("js", "ConvexClient").replace("http://127.0.0.1:3210", tutorial.url)
    # The example goes on listening; here it ends when its own note has come back.
    script = script.replace("client.onUpdate(", "const followed = client.onUpdate(") + "process.exit(0);\n"
    (tutorial.directory / "example.mjs").write_text(script)
    assert "From JavaScript" in tutorial.run("node", "example.mjs")
    assert "From JavaScript" in titles(tutorial)


def test_pymongo_beside_it(tutorial: Tutorial) -> None:
    script = re.sub(r'"mongodb://[^"]*"', json.dumps(tutorial.mongodb), block("python", "import pymongo"))
    (tutorial.directory / "example.py").write_text(script)
    tutorial.run(sys.executable, "example.py")
    deadline = time.monotonic() + 10
    while "From PyMongo" not in titles(tutorial):
        assert time.monotonic() < deadline, "the document written by PyMongo did not arrive"


def test_the_production_commands(tutorial: Tutorial) -> None:
    push, serve = (with_addresses(command, tutorial) for command in commands("concave schema push"))
    assert json.loads(tutorial.concave(*push[1:], "--json"))["creates"] == [], "the running server has pushed it"
    (line,) = [line for line in README.splitlines() if line.startswith("`concave schema plan`")]
    for command in re.findall(r"`concave schema (\w+)`", line):
        json.loads(tutorial.concave("schema", command, *push[3:], "--json"))
    process = subprocess.Popen([sys.executable, "-m", "concave.cli.main", *serve[1:]], cwd=tutorial.directory)
    try:
        address = f"http://127.0.0.1:{serve[serve.index('--port') + 1]}/version"
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                with urllib.request.urlopen(address, timeout=5) as response:
                    assert response.status == 200
                break
            except OSError:
                time.sleep(0.05)
    finally:
        process.terminate()
        process.wait(30)


def with_addresses(command: list[str], tutorial: Tutorial) -> list[str]:
    """The command with the tutorial's database and a free port."""
    command = [tutorial.mongodb if word.startswith("mongodb://") else word for word in command]
    if "--port" in command:
        command[command.index("--port") + 1] = str(free_port())
    return command
