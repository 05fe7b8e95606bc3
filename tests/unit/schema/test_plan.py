"""The compiler: natural and encoded columns, keys, hidden fields, Mongo indexes, `$jsonSchema`, fingerprint."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from concave.schema.definition import TableDefinition, define_table
from concave.schema.natural import natural_admitted_at
from concave.schema.plan import MongoIndex, Plan, TablePlan, compile_plan, natural_admitted
from concave.schema.schema import Schema
from concave.schema.validators import Validator, v
from concave.values.ids import encode_id
from concave.values.keys import encode_column
from concave.values.types import UNSET, Int64

SCALARS = {
    "null": v.null(),
    "int64": v.int64(),
    "float64": v.number(),
    "boolean": v.boolean(),
    "string": v.string(),
}
NATURAL_PAIRS = {
    frozenset(pair)
    for pair in (
        ("null", "int64"),
        ("null", "float64"),
        ("null", "boolean"),
        ("null", "string"),
        ("float64", "string"),
        ("float64", "boolean"),
        ("int64", "string"),
        ("int64", "boolean"),
    )
}
DOCUMENT_ID = encode_id(10001, bytes(16))


def compiled(table: TableDefinition, *, schema_validation: bool = True) -> TablePlan:
    tables = {"t": table, "users": define_table(), "workspaces": define_table()}
    return compile_plan(Schema(tables, schema_validation)).tables["t"]


@pytest.mark.parametrize("tag", SCALARS)
def test_one_scalar_type_is_natural(tag: str) -> None:
    assert natural_admitted(SCALARS[tag]) == {tag}
    # Missing comes first in both orders, unless it meets null.
    assert natural_admitted(v.optional(SCALARS[tag])) == (None if tag == "null" else {tag, "undefined"})
    assert natural_admitted(v.optional(v.nullable(SCALARS[tag]))) is None


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(SCALARS, 2)))
def test_pairs_of_scalar_types(one: str, other: str) -> None:
    admitted = natural_admitted(v.union(SCALARS[one], SCALARS[other]))
    assert admitted == ({one, other} if frozenset((one, other)) in NATURAL_PAIRS else None)


@pytest.mark.parametrize(
    ("validator", "tags"),
    [
        (v.id("users"), {"string"}),
        (v.commit_ts(), {"int64"}),
        (v.union(v.literal("a"), v.literal("b")), {"string"}),
        (v.literal(1), {"float64"}),
        (v.literal(Int64(1)), {"int64"}),
        (v.literal(True), {"boolean"}),
        (v.union(v.literal(1), v.literal(Int64(1))), None),
        (v.union(v.literal("a"), v.boolean()), None),
        (v.bytes(), None),
        (v.array(v.string()), None),
        (v.object(), None),
        (v.record(v.string(), v.string()), None),
        (v.any(), None),
        (v.union(), None),
        (v.union(v.string(), v.array(v.string())), None),
    ],
)
def test_other_columns(validator: Validator, tags: set[str] | None) -> None:
    assert natural_admitted(validator) == tags


DOCUMENT = v.object(
    plain=v.object(s=v.string()),
    maybe=v.optional(v.object(s=v.string(), n=v.nullable(v.string()))),
    either=v.union(v.object(s=v.string()), v.object(t=v.number()), v.null()),
    listed=v.union(v.object(s=v.string()), v.array(v.object(s=v.string()))),
    loose=v.union(v.object(s=v.string()), v.any()),
    mapped=v.union(v.object(s=v.string()), v.record(v.string(), v.string())),
)


@pytest.mark.parametrize(
    ("path", "tags"),
    [
        ("plain.s", {"string"}),
        ("maybe.s", {"string", "undefined"}),
        ("maybe.n", None),  # optional above, nullable below: missing would tie with null
        ("either.s", {"string", "undefined"}),
        ("either.t", {"float64", "undefined"}),
        ("listed.s", None),
        ("loose.s", None),
        ("mapped.s", {"string", "undefined"}),
    ],
)
def test_nested_paths(path: str, tags: set[str] | None) -> None:
    assert natural_admitted_at(DOCUMENT, tuple(path.split("."))) == tags


def test_members_of_a_document_union_lack_each_others_fields() -> None:
    document = v.union(v.object(kind=v.literal("a"), x=v.string()), v.object(kind=v.literal("b")))
    assert natural_admitted_at(document, ("x",)) == {"string", "undefined"}
    assert natural_admitted_at(document, ("kind",)) == {"string"}


def test_one_encoded_column_spoils_only_itself() -> None:
    plan = compiled(define_table(a=v.object(b=v.any()), c=v.string()).index("i", ["c", "a.b"]))
    columns = plan.layout.indexes["i"].columns
    assert [(c.path, c.encoded, c.mongo_field) for c in columns] == [
        ("c", False, "c"),
        ("a.b", True, "_k.a/b"),
        ("_creationTime", False, "_creationTime"),
        ("_id", False, "_id"),
    ]
    assert [c.admitted for c in columns] == [{"string"}, set(), {"float64"}, {"string"}]


def test_every_table_has_two_indexes_from_the_start() -> None:
    layout = compiled(define_table(a=v.string()).index("i", ["a"])).layout
    assert list(layout.indexes) == ["by_id", "by_creation_time", "i"]
    assert layout.indexes["by_id"].fields == ("_id",)
    assert layout.indexes["by_creation_time"].fields == ("_creationTime", "_id")
    assert layout.indexes["i"].fields == ("a", "_creationTime", "_id")


def test_keys_of_a_document() -> None:
    layout = compiled(define_table(a=v.optional(v.object(b=v.any())), c=v.number()).index("i", ["a.b", "c"])).layout
    document: dict[str, Any] = {"_id": DOCUMENT_ID, "_creationTime": 1.5, "a": {"b": [None]}, "c": -0.0}
    tail = (encode_column(1.5), encode_column(DOCUMENT_ID))
    expected = {
        "by_id": tail[1:],
        "by_creation_time": tail,
        "i": (encode_column([None]), encode_column(0.0), *tail),
    }
    assert layout.keys(document) == expected
    assert {name: index.key(document) for name, index in layout.indexes.items()} == expected


@pytest.mark.parametrize("a", [UNSET, None, "x", [{"b": 1.0}], {}, {"c": 1.0}])
def test_paths_walk_objects_only(a: Any) -> None:
    layout = compiled(define_table(v.any()).index("i", ["a.b"])).layout
    document = {"_id": DOCUMENT_ID, "_creationTime": 1.5} | ({} if a is UNSET else {"a": a})
    assert layout.indexes["i"].key(document)[0] == encode_column(UNSET)


def test_hidden_fields_hold_each_encoded_column_once() -> None:
    table = define_table(a=v.object(b=v.any()), c=v.bytes(), d=v.string())
    layout = compiled(table.index("i", ["a.b", "d"]).index("j", ["c", "a.b"])).layout
    document = {"_id": DOCUMENT_ID, "_creationTime": 1.5, "a": {}, "c": b"\xff\x00", "d": "x"}
    assert layout.hidden(document) == {"a/b": "\x01", "c": "\x11\xff\x00\xff\x00"}
    assert [column.hidden_key for column in layout.encoded_columns] == ["a/b", "c"]


def test_no_hidden_fields_without_encoded_columns() -> None:
    assert compiled(define_table(a=v.string()).index("i", ["a"])).layout.hidden({"a": "x"}) is None


def test_mongo_indexes() -> None:
    plan = compiled(define_table(a=v.string(), b=v.any()).index("i", ["a", "b"]).index("later", ["b"], staged=True))
    tail = (("_creationTime", 1), ("_id", 1))
    assert plan.mongo_indexes == (
        MongoIndex("by_creation_time", tail, unique=False, partial=None),
        MongoIndex("i", (("a", 1), ("_k.b", 1), *tail), unique=False, partial=None),
        MongoIndex("later", (("_k.b", 1), *tail), unique=False, partial=None),
    )
    assert plan.layout.indexes["later"].staged


def test_a_unique_index_has_a_second_one_without_the_tail() -> None:
    plan = compiled(define_table(a=v.string(), b=v.string()).index("i", ["a", "b"], unique=True))
    assert plan.mongo_indexes[2] == MongoIndex("i.unique", (("a", 1), ("b", 1)), unique=True, partial=None)
    assert plan.layout.indexes["i"].unique


def test_documents_that_lack_a_unique_column_are_left_out() -> None:
    plan = compiled(define_table(a=v.optional(v.string()), b=v.any()).index("i", ["a", "b"], unique=True))
    assert plan.mongo_indexes[2].partial == {"a": {"$exists": True}, "_k.b": {"$gt": "\x01"}}
    index = plan.layout.indexes["i"]
    system = {"_id": DOCUMENT_ID, "_creationTime": 1.5}
    assert index.unique_key(index.key({**system, "a": "x"})) is None
    assert index.unique_key(index.key({**system, "b": None})) is None
    assert index.unique_key(index.key({**system, "a": "x", "b": None})) == (encode_column("x"), encode_column(None))


def test_without_schema_validation_every_column_is_encoded_and_nothing_is_checked() -> None:
    plan = compiled(define_table(a=v.string()).index("i", ["a"]), schema_validation=False)
    assert plan.layout.indexes["i"].columns[0].encoded
    assert plan.document_type == v.any()
    assert plan.json_schema["required"] == ["_creationTime", "_id"]
    assert "additionalProperties" not in plan.json_schema


def test_the_json_schema_of_a_table() -> None:
    schema = compiled(define_table(a=v.optional(v.int64()), b=v.object(c=v.literal(1)))).json_schema
    number = {"bsonType": ["double", "int", "long"]}
    pattern = {"bsonType": "string", "pattern": "^[0-9abcdefghjkmnpqrstvwxyz]{31,37}$"}
    assert schema == {
        "bsonType": "object",
        "required": ["_creationTime", "_id", "b"],
        "properties": {
            "_id": pattern,
            "_creationTime": number,
            "_k": {"bsonType": "object"},
            "a": {"bsonType": ["long", "int"]},
            "b": {
                "bsonType": "object",
                "required": ["c"],
                "properties": {"c": {**number, "enum": [1.0]}},
                "additionalProperties": False,
            },
        },
        "additionalProperties": False,
    }


def test_the_json_schema_of_a_union_of_objects_says_the_system_fields_in_each() -> None:
    schema = compiled(define_table(v.union(v.object(a=v.null()), v.object(b=v.null())))).json_schema
    assert [member["required"] for member in schema["anyOf"]] == [
        ["_creationTime", "_id", "a"],
        ["_creationTime", "_id", "b"],
    ]


def test_plans_hold_the_system_tables() -> None:
    plan = compile_plan(Schema({"t": define_table()}))
    assert list(plan.tables) == ["t", "_scheduled_functions", "_storage"]
    assert plan.user_tables == ("t",)
    assert list(plan.tables["_storage"].layout.indexes) == ["by_id", "by_creation_time"]


def _plan(**tables: TableDefinition) -> Plan:
    return compile_plan(Schema(tables))


def test_the_fingerprint_depends_on_what_is_said_only() -> None:
    one = _plan(a=define_table(x=v.string(), y=v.null()), b=define_table()).fingerprint()
    assert _plan(b=define_table(), a=define_table(y=v.null(), x=v.string())).fingerprint() == one
    assert _plan(a=define_table(x=v.string()), b=define_table()).fingerprint() != one


def test_the_fingerprint_knows_unique() -> None:
    def plan(unique: bool) -> Plan:
        return _plan(a=define_table(x=v.string()).index("i", ["x"], unique=unique))

    assert plan(True).fingerprint() != plan(False).fingerprint()
