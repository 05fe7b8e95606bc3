"""Calls of functions that are not there, or not with these arguments, over HTTP."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def item(server: Any) -> str:
    return str(server.value("mutation", "shop:add", {"label": "kept", "price": 1.0}))


@pytest.mark.parametrize(
    ("kind", "path", "says"),
    [
        ("query", "shop:lst", "Could not find public function for 'shop:lst'. Did you mean 'shop:list'?"),
        ("query", "shpo:list", "Did you mean 'shop:list'"),
        ("mutation", "nowhere/at:all", "Could not find public function for 'nowhere/at:all'. Is the function defined"),
        ("action", "shop:none", "Could not find public function for 'shop:none'."),
        # An internal function is as good as none.
        ("query", "shop:hidden", "Could not find public function for 'shop:hidden'. Is the function defined"),
        ("mutation", "shop:list", "Trying to execute shop:list as Mutation, but it is defined as Query."),
        ("query", "shop:add", "Trying to execute shop:add as Query, but it is defined as Mutation."),
        ("action", "shop:add", "Trying to execute shop:add as Action, but it is defined as Mutation."),
    ],
)
def test_a_function_that_is_not_there(server: Any, kind: str, path: str, says: str) -> None:
    assert says in server.failure(kind, path, {})


def test_the_text_for_a_missing_function_gives_no_internal_one_away(server: Any) -> None:
    assert "hidden" not in server.failure("query", "shop:hiden", {}).replace("'shop:hiden'", "")


MISSING_PARTS = (
    ({"lines": [{"item": "pen"}]}, "missing the required field `count`", ".order.lines[0]"),
    ({"lines": [{"item": "pen", "count": 1}, {"count": 2}]}, "missing the required field `item`", ".order.lines[1]"),
    ({}, "missing the required field `lines`", ".order"),
)
WRONG_PARTS = (
    ({"lines": [{"item": "pen", "count": 1}, {"item": "ink", "count": "two"}]}, ".order.lines[1].count", '"two"'),
    ({"lines": "none"}, ".order.lines", '"none"'),
    ({"lines": [], "note": None}, ".order.note", "null"),
    ({"lines": [{"item": "pen", "count": {"$integer": "AQAAAAAAAAA="}}]}, ".order.lines[0].count", "1"),
    ([], ".order", "[]"),
)


@pytest.mark.parametrize(("order", "says", "path"), MISSING_PARTS)
def test_a_missing_argument(server: Any, order: Any, says: str, path: str) -> None:
    message = server.failure("mutation", "shop:place", {"order": order})
    assert message.startswith("ArgumentValidationError: Object is")
    assert says in message
    assert "v.optional(...)" in message
    assert f"\nPath: {path}\n" in message


@pytest.mark.parametrize(("order", "path", "value"), WRONG_PARTS)
def test_a_wrong_argument(server: Any, order: Any, path: str, value: str) -> None:
    message = server.failure("mutation", "shop:place", {"order": order})
    assert message.startswith("ArgumentValidationError: Value does not match validator.")
    assert f"\nPath: {path}\nValue: {value}\nValidator: v." in message


def test_an_extra_argument(server: Any) -> None:
    message = server.failure("mutation", "shop:place", {"order": {"lines": [], "colour": "red"}})
    assert "extra field `colour`" in message
    assert "\nPath: .order\n" in message
    assert "Validator: v.object({lines: " in message


def test_arguments_at_the_top(server: Any) -> None:
    assert "missing the required field `label`" in server.failure("query", "shop:list", {})
    assert "\nPath: .label\nValue: 3.0\nValidator: v.string()" in server.failure("query", "shop:list", {"label": 3})
    assert "extra field `lable`" in server.failure("query", "shop:list", {"label": "a", "lable": "a"})


def test_an_id_of_another_table_as_an_argument(server: Any, item: str) -> None:
    message = server.failure("mutation", "shop:place", {"order": {"lines": []}, "owner": item})
    assert f'Found ID "{item}" from table `items`' in message
    assert 'validator `v.id("owners")`' in message
    assert "Path: .owner" in message


@pytest.mark.parametrize("text", ["", "nonsense", "0" * 32, "j57eayybjqa9epy21endf9qwas8jra3é"])
def test_an_argument_that_is_no_id(server: Any, text: str) -> None:
    message = server.failure("mutation", "shop:place", {"order": {"lines": []}, "owner": text})
    assert 'Path: .owner\nValue: "' in message
    assert 'Validator: v.id("owners")' in message


def test_arguments_that_are_too_large(server: Any) -> None:
    message = server.failure("query", "shop:echo", {"value": "x" * (16 << 20)})
    assert "Arguments for shop:echo are too large" in message
    assert "limit: 16777216 bytes" in message
    assert "in parts" in message


def test_a_result_that_breaks_its_validator(server: Any) -> None:
    message = server.failure("query", "shop:promise_labels", {})
    assert message.startswith("ReturnsValidationError: ")
    assert "Path: [1].label\nValue: 3.0\nValidator: v.string()" in message


def test_a_query_that_is_returned_unread(server: Any) -> None:
    message = server.failure("query", "shop:return_query", {})
    assert "shop:return_query returned a query instead of its results" in message
    assert ".collect()" in message


def test_a_write_in_a_query(server: Any) -> None:
    message = server.failure("query", "shop:write_in_query", {})
    assert "db.insert does not exist in a query" in message
    assert "make this one a mutation" in message
    assert "at write_in_query (app/shop.py:" in message


def test_the_database_in_an_action(server: Any) -> None:
    message = server.failure("action", "shop:database_in_action", {})
    assert "an action has no ctx.db" in message
    assert "ctx.run_query" in message
    assert "at database_in_action (app/shop.py:" in message


def _line(server: Any, code: str) -> int:
    """The line of the app that contains `code`."""
    lines = (server.app / "shop.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if code in line and "await" not in line)


@pytest.mark.parametrize(
    ("kind", "function", "call", "code"),
    [
        ("mutation", "forget_write", "db.insert", 'ctx.db.insert("items", {"label": "forgotten"'),
        ("query", "forget_read", "query.collect", "rows = ctx.db.query"),
    ],
)
def test_a_forgotten_await(server: Any, kind: str, function: str, call: str, code: str) -> None:
    message = server.failure(kind, f"shop:{function}", {})
    assert "never awaited" in message
    assert f"{call} at shop.py:{_line(server, code)}" in message
    assert "put `await` before it" in message


def test_a_forgotten_await_in_an_action_is_told_in_its_log(server: Any) -> None:
    """An action has effects already: it is warned, not failed (function-runtime.md). The call itself never began."""
    with server.unchanged():
        answer = server.call("action", "shop:forget_call", {})
    [line] = answer["logLines"]
    assert line.startswith("[WARN] 1 unawaited operation")
    assert f"ctx.run_mutation at shop.py:{_line(server, 'ctx.run_mutation(add')}" in line
