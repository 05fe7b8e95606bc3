"""`concave run` and `concave data` with what they cannot use."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def run(concave: Callable[..., Any], server: Any) -> Callable[..., str]:
    """`concave run` against the server, which must fail and change nothing; returns what it says."""

    def run(*arguments: str) -> str:
        with server.unchanged():
            done = concave("run", *arguments, "--data-dir", server.data_dir)
        assert (done.status, done.out) == (1, "")
        assert "Traceback" not in done.err
        return str(done.err)

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{"label": "a", ', "the arguments are not valid JSON (Expecting property name enclosed in double quotes, at"),
        ("{'label': 'a'}", "the arguments are not valid JSON (Expecting property name enclosed in double quotes, at"),
        ("label=a", "the arguments are not valid JSON (Expecting value, at character 1): label=a"),
        ("[1, 2]", "the arguments must be a JSON object such as"),
        ('"a"', "the arguments must be a JSON object such as"),
    ],
)
def test_arguments_that_are_no_json(run: Callable[..., str], arguments: str, says: str) -> None:
    message = run("shop:add", arguments)
    assert message.startswith("error: ")
    assert says in message
    assert "'{\"" in message, "an example shows how to write it"


@pytest.mark.parametrize("arguments", ['{"label": NaN, "price": 1}', '{"label": "\\ud800", "price": 1}'])
def test_arguments_that_only_python_takes_for_json(run: Callable[..., str], arguments: str) -> None:
    message = run("shop:add", arguments)
    assert message.startswith("error: ")
    assert "JSON" in message


def test_an_unknown_function(run: Callable[..., str]) -> None:
    message = run("shop:ad", "{}")
    assert "Could not find function for 'shop:ad'. Did you mean 'shop:add'" in message
    message = run("shoop", "{}")
    assert "Could not find function for 'shoop:default'." in message
    message = run("shop add", "{}")
    assert "'shop add' is not a path to a function: expected `dir/module:function`" in message


def test_wrong_arguments(run: Callable[..., str]) -> None:
    message = run("shop:add", '{"label": "a"}')
    assert "ArgumentValidationError: Object is missing the required field `price`" in message
    message = run("shop:add", '{"label": "a", "price": "dear"}')
    assert 'Path: .price\nValue: "dear"\nValidator: v.float64()' in message
    message = run("shop:insert", '{"table": "loose", "document": {"a": {"$money": 1}}}')
    assert "Arguments at path .document.a: field name '$money' starts with `$`" in message


def test_a_function_that_fails(run: Callable[..., str]) -> None:
    message = run("shop:insert_named", '{"name": "$money"}')
    assert "field name '$money' starts with `$`, which is reserved. Rename the field." in message
    assert "at insert_named (app/shop.py:" in message
    assert "Request ID" not in message


def test_no_server_to_run_it_on(concave: Any, tmp_path: Path) -> None:
    done = concave("run", "shop:add", "--data-dir", tmp_path / "nowhere")
    assert (done.status, done.out) == (1, "")
    assert f"no server runs on the data directory {tmp_path / 'nowhere'}: start `concave dev`" in done.err
    assert "--url" in done.err
    assert not (tmp_path / "nowhere").exists()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        done = concave("run", "shop:add", "--url", url, "--admin-key", "a|b")
    assert (done.status, done.out) == (1, "")
    assert f"no concave server answers at {url}" in done.err
    assert "is `concave dev` running?" in done.err


def test_a_wrong_admin_key(concave: Any, server: Any) -> None:
    with server.unchanged():
        done = concave("run", "shop:hidden", "--url", server.url, "--admin-key", "wrong|key")
    assert (done.status, done.out) == (1, "")
    assert f"the server at {server.url} does not accept the admin key: give the right one with --admin-key" in done.err


def test_data_of_a_table_that_is_not_there(concave: Any, server: Any) -> None:
    with server.unchanged():
        done = concave("data", "itmes", "--app", server.app, "--db", server.database_uri)
    assert done.status == 1
    assert "Traceback" not in done.err
    assert "there is no table 'itmes' in the database; its tables are items, " in done.err


def test_what_the_server_can_do_with_the_right_words(concave: Any, server: Any) -> None:
    done = concave("run", "shop:hidden", "--data-dir", server.data_dir)
    assert (done.status, json.loads(done.out)) == (0, "internal")
