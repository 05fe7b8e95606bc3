"""The catalog: numbers, names, indexes, checks, ids, and the errors that suggest a name."""

from __future__ import annotations

import pytest

from concave.schema.catalog import Catalog
from concave.schema.checking import ValidationFailure, compile_check
from concave.schema.definition import define_table
from concave.schema.plan import compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v
from concave.values.errors import DeveloperError
from concave.values.ids import encode_id

NUMBERS = {"users": 10001, "messages": 10002, "dropped": 10003}
USER = encode_id(10001, bytes(16))
MESSAGE = encode_id(10002, bytes(16))
FILE = encode_id(540, bytes(16))


@pytest.fixture
def catalog() -> Catalog:
    schema = Schema({
        "users": define_table(name=v.string()),
        "messages": define_table(by=v.id("users"), body=v.string(), n=v.optional(v.number()))
        .index("by_by", ["by"])
        .index("later", ["body"], staged=True)
        .search_index("search_body", search_field="body"),
    })  # fmt: skip
    return Catalog(compile_plan(schema), NUMBERS)


def test_numbers_both_ways(catalog: Catalog) -> None:
    assert catalog.table_number("users") == 10001
    assert catalog.table_name(10002) == "messages"
    assert catalog.table_name(10003) == "dropped"
    assert catalog.table_name(10004) is None
    assert catalog.find_table_number("nowhere") is None


@pytest.mark.parametrize(
    ("table", "number"),
    [("_tables", 513), ("_index", 514), ("_schemas", 532), ("_scheduled_functions", 539), ("_storage", 540)],
)
def test_system_tables_have_fixed_numbers(catalog: Catalog, table: str, number: int) -> None:
    assert catalog.table_number(table) == number
    assert catalog.table_name(number) == table


def test_unknown_tables_suggest_near_names(catalog: Catalog) -> None:
    for call in (catalog.table_number, catalog.layout, catalog.check_document, catalog.document_validator):
        with pytest.raises(DeveloperError, match="Did you mean `users`") as caught:
            call("user")
        assert caught.value.code == "TableNotFound"


def test_dropped_and_hidden_tables_have_no_layout(catalog: Catalog) -> None:
    for table in ("dropped", "_tables"):
        with pytest.raises(DeveloperError) as caught:
            catalog.layout(table)
        assert caught.value.code == "TableNotFound"


def test_indexes(catalog: Catalog) -> None:
    assert catalog.index("messages", "by_by").fields == ("by", "_creationTime", "_id")
    assert catalog.index("_storage", "by_creation_time").name == "by_creation_time"


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("by_bye", "IndexNotFoundError", "Did you mean `by_by`.*`by_id`, `by_creation_time`, `by_by`"),
        ("search_body", "IndexNotFoundError", "with_search_index"),
        ("later", "IndexStagedError", "staged=True"),
    ],
)
def test_indexes_that_cannot_be_queried(catalog: Catalog, name: str, code: str, words: str) -> None:
    with pytest.raises(DeveloperError, match=words) as caught:
        catalog.index("messages", name)
    assert caught.value.code == code


def test_document_checks(catalog: Catalog) -> None:
    check = catalog.check_document("messages")
    document = {"_id": MESSAGE, "_creationTime": 1.0, "by": USER, "body": "x"}
    assert check(document) is document
    assert check({**document, "n": 1})["n"] == 1.0
    with pytest.raises(ValidationFailure) as caught:
        check({**document, "by": MESSAGE})
    assert caught.value.kind == "id_table"


def test_documents_of_system_tables(catalog: Catalog) -> None:
    state = {"kind": "failed", "error": "x"}
    job = {"name": "messages.js:destruct", "args": [{}], "scheduledTime": 1.0, "state": state}
    assert catalog.check_document("_scheduled_functions")(job) is job
    file = {"sha256": "x", "size": 1.0}
    assert catalog.check_document("_storage")(file) is file
    with pytest.raises(ValidationFailure):
        catalog.check_document("_scheduled_functions")({**job, "state": {"kind": "pending", "error": "x"}})


def test_file_ids_check(catalog: Catalog) -> None:
    check = compile_check(v.object(file=v.id("_storage")), catalog)
    check({"file": FILE})
    with pytest.raises(ValidationFailure):
        check({"file": USER})


def test_documents_as_arguments(catalog: Catalog) -> None:
    check = compile_check(v.doc("users"), catalog)
    check({"_id": USER, "_creationTime": 1.0, "name": "x"})
    with pytest.raises(ValidationFailure):
        check({"_id": MESSAGE, "_creationTime": 1.0, "name": "x"})


@pytest.mark.parametrize(
    ("table", "text", "normal"),
    [
        ("users", USER, True),
        ("users", MESSAGE, False),
        ("users", USER.upper(), False),
        ("users", "", False),
        ("nowhere", USER, False),
        ("dropped", encode_id(10003, bytes(16)), False),
        ("_storage", FILE, True),
        ("_tables", encode_id(513, bytes(16)), False),
    ],
)
def test_normalize_id(catalog: Catalog, table: str, text: str, normal: bool) -> None:
    assert catalog.normalize_id(table, text) == (text if normal else None)


def test_without_schema_validation_any_document_passes() -> None:
    catalog = Catalog(compile_plan(Schema({"users": define_table(name=v.string())}, False)), {"users": 10001})
    document = {"anything": [None]}
    assert catalog.check_document("users")(document) is document
    assert catalog.document_validator("users") == v.any()


def test_system_tables_are_told_apart(catalog: Catalog) -> None:
    assert catalog.is_system_table("_storage")
    assert not catalog.is_system_table("users")
