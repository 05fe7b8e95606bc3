"""Documents, names, ids and index ranges that functions get wrong; each mutation had written something before."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

INDEX = "by_label_and_price"


@pytest.fixture(scope="module")
def item(server: Any) -> str:
    return str(server.value("mutation", "shop:add", {"label": "kept", "price": 1.0}))


@pytest.fixture(scope="module")
def owner(server: Any) -> str:
    return str(server.value("mutation", "shop:add_owner", {"name": "Ada"}))


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"label": "a", "price": "dear"}, 'Path: .price\nValue: "dear"\nValidator: v.float64()'),
        ({"label": "a"}, "missing the required field `price`"),
        ({"label": "a", "price": 1, "colour": "red"}, "extra field `colour`"),
        (
            {"label": "a", "price": 1, "parts": [{"name": "lid", "size": 1}, {"name": "box", "size": None}]},
            "Path: .parts[1].size\nValue: null\nValidator: v.float64()",
        ),
        ({"label": "a", "price": 1, "owner": "nobody"}, 'Path: .owner\nValue: "nobody"\nValidator: v.id("owners")'),
    ],
)
def test_a_document_that_breaks_its_validator(server: Any, document: Any, says: str) -> None:
    message = server.failure("mutation", "shop:insert", {"table": "items", "document": document})
    assert 'Failed to insert or update a document in table "items" because it does not match the schema' in message
    assert says in message
    assert "at insert (app/shop.py:" in message


def test_a_patch_that_breaks_the_validator(server: Any, item: str) -> None:
    message = server.failure("mutation", "shop:patch", {"id": item, "fields": {"price": "dear"}})
    assert 'in table "items"' in message
    assert 'Path: .price\nValue: "dear"\nValidator: v.float64()' in message


def test_int64_where_a_number_is_wanted(server: Any) -> None:
    assert "Path: .price\nValue: 3\nValidator: v.float64()" in server.failure("mutation", "shop:insert_int64", {})


def test_a_key_that_a_unique_index_holds_already(server: Any, owner: str) -> None:
    with server.unchanged():
        answer = server.call("mutation", "shop:insert", {"table": "owners", "document": {"name": "Ada"}})
    assert answer["errorData"] == {
        "code": "unique",
        "table": "owners",
        "index": "by_name",
        "fields": ["name"],
        "message": 'the unique index `owners.by_name` holds this key already: name = "Ada"',
    }


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("itmes", "There is no table `itmes` in the schema. Did you mean `items`?"),
        ("zebras", "There is no table `zebras` in the schema. There are `items`, `loose`, `owners`, `traces`."),
        ("_tables", "'_tables' is a system table"),
        ("", "There is no table `` in the schema."),
    ],
)
def test_an_unknown_table(server: Any, item: str, table: str, says: str) -> None:
    assert says in server.failure("mutation", "shop:insert", {"table": table, "document": {}})
    assert says in server.failure("query", "shop:read_table", {"table": table})
    assert says.replace("'_tables' is a system table", "_tables") in server.failure(
        "query", "shop:get_from", {"table": table, "id": item}
    )


def test_what_is_no_document(server: Any, item: str) -> None:
    for document, shown in ((5, "5.0"), (None, "None"), ([{}], "[{}]"), ("x", "'x'")):
        message = server.failure("mutation", "shop:insert", {"table": "loose", "document": document})
        assert f"Invalid argument `document` for `db.insert`: it must be an object, not {shown}" in message
        message = server.failure("mutation", "shop:patch", {"id": item, "fields": document})
        assert f"Invalid argument `fields` for `db.patch`: it must be an object, not {shown}" in message


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([["eq", "price", 1]], "names [price], which is not a prefix of the index's fields [label, price, "),
        ([["gt", "label", "a"], ["eq", "price", 1]], "is not a prefix of the index's fields [label, price, "),
        ([["gt", "price", 1]], "is not a prefix of the index's fields [label, price, "),
        ([["gt", "label", "a"], ["lt", "price", 1]], "bounds two fields, `label` and `price`"),
        ([["gt", "label", "a"], ["gte", "label", "b"]], "two lower bounds on `label`: keep the tighter one"),
        ([["eq", "label", "a"], ["lt", "label", "b"]], "fixes `label` with eq and names it again: say it once"),
        ([["eq", "colour", "red"]], "has no field 'colour'; its fields are [label, price, "),
        ([["eq", "owner", "x"]], "use one of them, or another index"),
    ],
)
def test_an_index_range_that_fits_no_index(server: Any, steps: Any, says: str) -> None:
    message = server.failure("query", "shop:read_items", {"index": INDEX, "steps": steps})
    assert f"items.{INDEX}" in message
    assert says in message
    assert "at read_items (app/shop.py:" in message


def test_an_unknown_index(server: Any) -> None:
    message = server.failure("query", "shop:read_items", {"index": "by_ownr", "steps": []})
    assert "Index `items.by_ownr` not found. Did you mean `by_owner`?" in message
    message = server.failure("query", "shop:read_items", {"index": "colour", "steps": []})
    assert (
        "Index `items.colour` not found. There are `by_id`, `by_creation_time`, `by_label_and_price`, `by_owner`."
        in message
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("_secret", "field name '_secret' starts with an underscore, which is reserved at the top level"),
        ("$money", "field name '$money' starts with `$`, which is reserved. Rename the field."),
        ("größe", "field name 'größe' has characters other than printable ASCII. Rename the field"),
        ("n" * 1025, "is longer than 1024 characters. Shorten it"),
        ("_id", "cannot be given `_id`: the engine sets it"),
        ("_creationTime", "cannot be given `_creationTime`: the engine sets it"),
    ],
)
def test_field_names_that_are_not_allowed(server: Any, name: str, says: str) -> None:
    message = server.failure("mutation", "shop:insert_named", {"name": name})
    assert says in message
    assert "loose" in message
    assert "at insert_named (app/shop.py:" in message


@pytest.mark.parametrize("name", ["$money", "größe", "n" * 1025])
def test_field_names_further_in(server: Any, name: str) -> None:
    assert 'Document for table "loose" at path .outer: field name' in server.failure(
        "mutation", "shop:insert_named_within", {"name": name}
    )


@pytest.mark.parametrize("field", ["_id", "_creationTime"])
def test_a_patch_of_what_the_engine_sets(server: Any, item: str, field: str) -> None:
    message = server.failure("mutation", "shop:patch", {"id": item, "fields": {field: "other"}})
    assert item in message
    assert f"`{field}`" in message
    assert "never change" in message


def test_an_id_of_another_table(server: Any, item: str, owner: str) -> None:
    for kind, function, call in (("query", "get_from", "db.get"), ("mutation", "delete_from", "db.delete")):
        message = server.failure(kind, f"shop:{function}", {"table": "items", "id": owner})
        assert f"Invalid argument `id` for `{call}`: {owner} is an id of table `owners`, not of `items`" in message
        assert f"at {function} (app/shop.py:" in message
    message = server.failure("mutation", "shop:patch", {"id": owner, "fields": {"price": 2}})
    assert 'in table "owners"' in message
    assert "extra field `price`" in message
    message = server.failure(
        "mutation", "shop:insert", {"table": "items", "document": {"label": "a", "price": 1, "owner": item}}
    )
    assert f'Found ID "{item}" from table `items`' in message
    assert "Path: .owner" in message


def test_what_is_no_id(server: Any) -> None:
    for kind, function, call in (("query", "get_from", "db.get"), ("mutation", "delete_from", "db.delete")):
        message = server.failure(kind, f"shop:{function}", {"table": "items", "id": "nonsense"})
        assert f"Invalid argument `id` for `{call}`: 'nonsense' is no id: it has 8 characters" in message


def test_an_id_of_a_document_that_is_gone(server: Any) -> None:
    gone = server.value("mutation", "shop:add", {"label": "gone", "price": 1.0})
    assert server.value("mutation", "shop:delete_from", {"table": "items", "id": gone}) is None
    message = server.failure("mutation", "shop:delete_from", {"table": "items", "id": gone})
    assert gone in message
    message = server.failure("mutation", "shop:patch", {"id": gone, "fields": {"price": 2}})
    assert gone in message


def test_a_document_that_is_too_deep(server: Any) -> None:
    server.value("mutation", "shop:insert_deep", {"levels": 16})
    message = server.failure("mutation", "shop:insert_deep", {"levels": 17})
    assert 'Document for table "loose" at path .in.in' in message
    assert "nested more than 16 levels deep, the document being the first. Flatten it" in message
    assert "nested more than 64 levels deep" in server.failure("mutation", "shop:insert_deep", {"levels": 100})


def test_a_document_that_is_too_large(server: Any) -> None:
    message = server.failure("mutation", "shop:insert_large", {"letters": 1 << 20})
    assert 'Document for table "loose" is too large' in message
    assert "the most is 1048576" in message
    assert "Split it into several documents" in message


def test_an_array_that_is_too_long(server: Any) -> None:
    server.value("mutation", "shop:insert_long", {"elements": 8192})
    message = server.failure("mutation", "shop:insert_long", {"elements": 8193})
    assert 'Document for table "loose" at path .list: the array has 8193 elements, the most is 8192.' in message
    assert "documents of a table of their own" in message


def test_what_is_no_value(server: Any) -> None:
    message = server.failure("mutation", "shop:insert_strange", {})
    assert 'Document for table "loose" at path .seen[0]: set is no Convex value.' in message
    assert "sorted(...)" in message
    assert "at insert_strange (app/shop.py:" in message
