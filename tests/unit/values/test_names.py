"""Names and field paths (data-model.md 1.5)."""

import pytest

from concave.values.errors import DeveloperError
from concave.values.names import (
    check_field_name,
    check_identifier,
    field_name_problem,
    is_field_name,
    is_identifier,
    is_system_name,
    split_path,
    value_at,
)
from concave.values.types import UNSET


@pytest.mark.parametrize("name", ["a", "_a", "A9_", "_9", "a" * 64])
def test_identifiers(name):
    assert is_identifier(name)


@pytest.mark.parametrize("name", ["", "_", "___", "9a", "a-b", "a b", "é", "a" * 65, "a\n", "$a", "a.b"])
def test_no_identifiers(name):
    assert not is_identifier(name)
    with pytest.raises(
        DeveloperError, match="is no valid table name: use 1 to 64 letters, digits and underscores"
    ) as caught:
        check_identifier(name, what="table name", code="InvalidTableName")
    assert caught.value.code == "InvalidTableName"


@pytest.mark.parametrize("name", ["", "a.b", "a b", "~ \"'", "_x", "a$", "n" * 1024])
def test_field_names(name):
    assert is_field_name(name)
    assert field_name_problem(name) is None
    check_field_name(name, where="Document")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("$a", "field name '$a' starts with `$`, which is reserved. Rename the field."),
        ("é", "printable ASCII"),
        ("\x7f", "printable ASCII"),
        ("a\n", "printable ASCII"),
        ("n" * 1025, "longer than 1024 characters"),
    ],
)
def test_no_field_names(name, problem):
    assert problem in (field_name_problem(name) or "")
    with pytest.raises(DeveloperError, match=r"^Document: field name"):
        check_field_name(name, where="Document")


def test_ever_new_names_do_not_fill_the_memory():
    from concave.values import names

    for number in range(20_000):
        assert is_field_name(f"name{number}")
    assert len(names.KNOWN_FIELD_NAMES) <= 8192


def test_system_names():
    assert is_system_name("_storage")
    assert not is_system_name("messages")


def test_paths_walk_objects_only():
    document = {"a": {"b": {"c": 1.0}}, "list": [{"b": 2.0}]}
    assert split_path(".a.b.") == ("a", "b")
    assert value_at(document, split_path("a.b.c")) == 1.0
    assert value_at(document, split_path("a.x.c")) is UNSET
    assert value_at(document, split_path("list.b")) is UNSET
    assert value_at(document, split_path("a.b.c.d")) is UNSET


@pytest.mark.parametrize("path", ["", ".", "a..b", "a.9", "a b"])
def test_bad_paths(path):
    with pytest.raises(DeveloperError, match="is no valid field path") as caught:
        split_path(path)
    assert caught.value.code == "InvalidFieldPath"
