"""Running the command as people do: a process with files for its output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

APP = """
from concave import ConvexError, define_table, internal_query, mutation, query, v

notes = define_table(title=v.string()).index("by_title", ["title"])


@mutation(args={"title": v.string()})
async def add(ctx, title):
    print("adding", title)
    return await ctx.db.insert("notes", {"title": title})


@query
async def titles(ctx):
    return [note["title"] for note in await ctx.db.query("notes").collect()]


@internal_query
async def secret(ctx):
    return 42


@mutation
async def refuse(ctx):
    raise ConvexError({"reason": "not today"})
"""


class Command:
    """A `concave` that runs. `out` and `err` are what it has printed so far."""

    def __init__(self, directory: Path, number: int, *arguments: str) -> None:
        self._out = directory / f"out{number}.txt"
        self._err = directory / f"err{number}.txt"
        with self._out.open("w") as out, self._err.open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "concave.cli.main", *arguments],
                cwd=directory,
                stdout=out,
                stderr=err,
                env={**os.environ, "COLUMNS": "200"},
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @staticmethod
    def wait_until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Poll until the condition holds; fails the test when it does not come true."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.02)

    def wait_ready(self) -> str:
        """Wait for the line that says so; returns the server's URL."""
        self.wait_until(lambda: "\nconcave ready" in "\n" + self.out or self.process.poll() is not None)
        assert "\nconcave ready" in "\n" + self.out, self.err
        words = [word for line in self.out.splitlines() if "HTTP actions" not in line for word in line.split()]
        return next(word for word in words if word.startswith("http://"))

    def stop(self, number: int = signal.SIGINT) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)


Start = Callable[..., Command]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with an app in `schema/`."""
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "notes.py").write_text(APP)
    return tmp_path


@pytest.fixture
def start(project: Path) -> Iterator[Start]:
    """Starts `concave` with the given arguments in the project's directory; what still runs at the end is stopped."""
    commands: list[Command] = []

    def run(*arguments: str) -> Command:
        commands.append(Command(project, len(commands), *arguments))
        return commands[-1]

    yield run
    for command in commands:
        command.stop()


@pytest.fixture
def finish(start: Start) -> Callable[..., tuple[int, str, str]]:
    """Runs `concave` to its end: exit status, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        command = start(*arguments)
        return command.process.wait(30), command.out, command.err

    return run
