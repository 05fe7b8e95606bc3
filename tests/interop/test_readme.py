"""README's first app and its examples run as written; only addresses and the path of the command are put in."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from processes import concave_server, wait_until

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()

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


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tutorial]:
    """The README's app under `concave dev`, with the embedded MongoDB, in a directory of its own."""
    directory = tmp_path_factory.mktemp("tutorial")
    (directory / "notes_app").mkdir()
    (directory / "notes_app" / "notes.py").write_text(block("python", "define_table"))
    assert commands("concave dev --app notes_app")[0] == ["concave", "dev", "--app", "notes_app"]
    with concave_server("dev", "notes_app", directory=directory) as server:
        yield Tutorial(directory, server.url, server.mongodb)


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
    wait_until(lambda: "From PyMongo" in titles(tutorial), "the document written by PyMongo did not arrive")


def test_the_production_commands(tutorial: Tutorial) -> None:
    push, serve = (with_addresses(command, tutorial) for command in commands("concave schema push"))
    assert json.loads(tutorial.concave(*push[1:], "--json"))["creates"] == [], "the running server has pushed it"
    (line,) = [line for line in README.splitlines() if line.startswith("`concave schema plan`")]
    for command in re.findall(r"`concave schema (\w+)`", line):
        json.loads(tutorial.concave("schema", command, *push[3:], "--json"))
    assert serve[1:4] == ["serve", "--app", "notes_app"]
    with concave_server("serve", "notes_app", *serve[4:6], directory=tutorial.directory) as server:
        assert httpx.get(f"{server.url}/version").status_code == 200


def with_addresses(command: list[str], tutorial: Tutorial) -> list[str]:
    """The command with the tutorial's database."""
    return [tutorial.mongodb if word.startswith("mongodb://") else word for word in command]
