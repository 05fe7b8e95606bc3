"""Log lines: prints and log records of functions, their form and their limits."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from concave.functions.logs import LogLines, current_log, inspect_argument, install
from concave.values.limits import DEFAULT_LIMITS


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    uninstall = install()
    yield
    uninstall()


@contextmanager
def installed_again() -> Iterator[None]:
    """pytest puts its own standard output in place between a fixture and its test; this puts ours back."""
    install()()
    uninstall = install()
    yield
    uninstall()


NOISY = """
import logging
import sys
import pprint
from concave import mutation, query

logger = logging.getLogger(__name__)

@query
async def noisy(ctx):
    print("hello", 1, 1.5, None, ["a"], "it's")
    print("a", "b", sep="-")
    print()
    logger.debug("quiet %d", 1)
    logger.info("told")
    logging.getLogger("library").warning("careful")
    logger.error("bad")
    sys.stdout.write("half ")
    sys.stdout.write("line\\nlast")

@query
async def outer(ctx):
    print("before")
    await ctx.run_query("noise:inner")
    print("after")
    raise ValueError("lines survive failures")

@query
async def inner(ctx):
    print("inside")
"""


async def test_prints_and_log_records_become_log_lines(serve):
    world = await serve({"noise.py": NOISY})
    with installed_again():
        outcome = await world.query("noise:noisy")
    assert outcome.log_lines == [
        "[LOG] 'hello' 1 1.5 None ['a'] 'it\\'s'",
        "[LOG] 'a'-'b'",
        "[LOG] ",
        "[DEBUG] quiet 1",
        "[INFO] told",
        "[WARN] careful",
        "[ERROR] bad",
        "[LOG] half line",
        "[LOG] last",
    ]


async def test_lines_of_nested_calls_come_in_order_and_survive_failures(serve):
    world = await serve({"noise.py": NOISY})
    outcome = await world.query("noise:outer")
    assert not outcome.ok
    assert outcome.log_lines == ["[LOG] 'before'", "[LOG] 'inside'", "[LOG] 'after'"]


async def test_an_action_has_the_lines_of_what_it_called_and_of_its_thread(serve):
    source = """
from concave import action, mutation
@mutation
async def write(ctx):
    print("writing")
@action
async def act(ctx):
    print("first")
    await ctx.run_mutation(write)
    print("last")
@action
def plain(ctx):
    print("in a thread")
    ctx.run_mutation(write)
"""
    world = await serve({"acts.py": source})
    assert (await world.action("acts:act")).log_lines == ["[LOG] 'first'", "[LOG] 'writing'", "[LOG] 'last'"]
    assert (await world.action("acts:plain")).log_lines == ["[LOG] 'in a thread'", "[LOG] 'writing'"]


def test_outside_of_functions_everything_goes_its_usual_way(capsys):
    with installed_again():
        print("plain", 1)
        sys.stdout.write("written\n")
    assert capsys.readouterr().out == "plain 1\nwritten\n"


def test_only_what_goes_to_standard_output_is_a_log_line():
    other = io.StringIO()
    log = LogLines()
    with installed_again():
        token = current_log.set(log)
        print("elsewhere", file=other)
        print("here", file=sys.stdout)
        current_log.reset(token)
    assert other.getvalue() == "elsewhere\n"
    assert log.finish() == ["[LOG] 'here'"]


def test_installing_twice_is_installing_once():
    before = sys.stdout
    assert install() is install()
    assert sys.stdout is before


def test_lines_and_their_number_are_bounded():
    log = LogLines()
    for number in range(300):
        log.add("LOG", str(number))
    lines = log.finish()
    assert len(lines) == 256
    assert lines[254] == "[LOG] 254"
    assert lines[255] == "[ERROR] Log overflow (maximum 256). Remaining log lines omitted."
    exact = LogLines()
    for number in range(256):
        exact.add("LOG", str(number))
    assert exact.finish()[255] == "[LOG] 255"
    long = LogLines(replace(DEFAULT_LIMITS, log_line_chars_max=5))
    long.add("WARN", "123456")
    long.write("x" * 100)
    assert long.finish() == ["[WARN] 12345 (truncated due to length)", "[LOG] xxxxx (truncated due to length)"]


def test_the_engines_own_log_is_no_users_log():
    log = LogLines()
    token = current_log.set(log)
    logging.getLogger("concave.functions").error("internal")
    current_log.reset(token)
    assert log.finish() == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a", "'a'"),
        ("it's", "'it\\'s'"),
        ("a\nb\x01", "'a\\nb\\x01'"),
        ("ü", "'ü'"),
        (1.0, "1.0"),
        ({"a": "b"}, "{'a': 'b'}"),
    ],
)
def test_arguments_are_shown_as_the_console_shows_them(value, shown):
    assert inspect_argument(value) == shown
