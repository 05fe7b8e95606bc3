"""Validators: JSON and printing of each builder, errors of building, object algebra, documents."""

from __future__ import annotations

import math

import pytest

from concave.schema.validators import (
    Validator,
    as_validator,
    pagination_opts_validator,
    pagination_result_validator,
    resolve_docs,
    v,
    validator_from_json,
    with_system_fields,
)
from concave.values.errors import DeveloperError
from concave.values.types import Int64

# Builder, kind, JSON and text as `data-model.md` 4.1 and 1.7 give them.
GOLDEN = [
    (v.id("users"), "id", {"type": "id", "tableName": "users"}, 'v.id("users")'),
    (v.number(), "float64", {"type": "number"}, "v.float64()"),
    (v.float64(), "float64", {"type": "number"}, "v.float64()"),
    (v.int64(), "int64", {"type": "bigint"}, "v.int64()"),
    (v.bigint(), "int64", {"type": "bigint"}, "v.int64()"),
    (v.null(), "null", {"type": "null"}, "v.null()"),
    (v.boolean(), "boolean", {"type": "boolean"}, "v.boolean()"),
    (v.string(), "string", {"type": "string"}, "v.string()"),
    (v.bytes(), "bytes", {"type": "bytes"}, "v.bytes()"),
    (v.any(), "any", {"type": "any"}, "v.any()"),
    (v.commit_ts(), "commitTs", {"type": "commitTs"}, "v.commitTs()"),
    (v.literal("x"), "literal", {"type": "literal", "value": "x"}, 'v.literal("x")'),
    (v.literal(1), "literal", {"type": "literal", "value": 1.0}, "v.literal(1.0)"),
    (v.literal(True), "literal", {"type": "literal", "value": True}, "v.literal(true)"),
    (
        v.literal(Int64(1)),
        "literal",
        {"type": "literal", "value": {"$integer": "AQAAAAAAAAA="}},
        "v.literal(<bigint>)",
    ),
    (v.array(v.string()), "array", {"type": "array", "value": {"type": "string"}}, "v.array(v.string())"),
    (
        v.object({"b": v.null(), "a": v.optional(v.string())}),
        "object",
        {
            "type": "object",
            "value": {
                "b": {"fieldType": {"type": "null"}, "optional": False},
                "a": {"fieldType": {"type": "string"}, "optional": True},
            },
        },
        "v.object({a: v.optional(v.string()), b: v.null()})",
    ),
    (
        v.record(v.string(), v.number()),
        "record",
        {
            "type": "record",
            "keys": {"type": "string"},
            "values": {"fieldType": {"type": "number"}, "optional": False},
        },
        "v.record(v.string(), v.float64())",
    ),
    (
        v.union(v.string(), v.number()),
        "union",
        {"type": "union", "value": [{"type": "string"}, {"type": "number"}]},
        "v.union(v.string(), v.float64())",
    ),
    (
        v.nullable(v.string()),
        "union",
        {"type": "union", "value": [{"type": "string"}, {"type": "null"}]},
        "v.union(v.string(), v.null())",
    ),
]


@pytest.mark.parametrize(("validator", "kind", "json", "text"), GOLDEN)
def test_kind_json_and_text(validator: Validator, kind: str, json: object, text: str) -> None:
    assert validator.kind == kind
    assert validator.json() == json
    assert validator.describe() == text
    assert validator_from_json(json) == validator


def test_optional_keeps_the_kind_and_shows_only_in_the_object() -> None:
    optional = v.optional(v.string())
    assert (optional.kind, optional.is_optional) == ("string", True)
    assert optional.json() == {"type": "string"}
    assert v.optional(optional) == optional != v.string()
    assert repr(optional) == "v.optional(v.string())"
    assert optional.required() == v.string()


def test_optional_counts_as_required_in_unions_and_arrays() -> None:
    assert v.union(v.optional(v.string())) == v.union(v.string())
    assert v.array(v.optional(v.string())) == v.array(v.string())
    assert v.nullable(v.optional(v.string())) == v.nullable(v.string())


def test_literals_are_told_apart_by_the_total_order() -> None:
    assert len({v.literal(0.0), v.literal(-0.0), v.literal(Int64(0)), v.literal(False)}) == 4
    assert v.literal(math.nan) == v.literal(math.nan)
    assert v.literal(math.nan).describe() == "v.literal(<number>)"
    assert v.literal(1) == v.literal(1.0)


def test_old_wire_types_read_as_any() -> None:
    assert validator_from_json({"type": "map", "keys": {}, "values": {}}) == v.any()
    assert validator_from_json({"type": "set"}) == v.any()


@pytest.mark.parametrize(
    "json",
    [None, {}, {"type": 3}, {"type": "email"}, {"type": "array"}, {"type": "id"}, {"type": "union", "value": [3]},
     {"type": "object", "value": {"a": {"type": "string"}}}, {"type": "object", "value": []},
     {"type": "record", "keys": {"type": "string"}, "values": {"fieldType": {"type": "any"}, "optional": True}},
     {"type": "literal", "value": None}, {"type": "id", "tableName": 3}],
)  # fmt: skip
def test_malformed_json_is_a_developer_error(json: object) -> None:
    with pytest.raises(DeveloperError) as caught:
        validator_from_json(json)
    assert caught.value.code == "InvalidValidator"


def test_parse_errors_name_the_path() -> None:
    bad = {"type": "object", "value": {"a": {"fieldType": {"type": "array", "value": {"type": "email"}}}}}
    with pytest.raises(DeveloperError, match=r"`\.value\.a\.fieldType\.value` has the unknown type `email`"):
        validator_from_json(bad)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: v.array(None), "circular import"),
        (lambda: v.object({"a": None}), "field `a`.*circular import"),
        (lambda: v.object(a=str), "field `a`.*is no validator"),
        (lambda: v.object({3: v.string()}), "is no string"),
        (lambda: v.object([v.string()]), "no dict of validators"),
        (lambda: v.union(v.string(), v.string), "member 1"),
        (lambda: v.record(v.optional(v.string()), v.any()), "keys cannot be optional"),
        (lambda: v.record(v.string(), v.optional(v.any())), "values cannot be optional"),
        (lambda: v.optional(None), "v.optional"),
        (lambda: v.literal(None), "v.literal"),
        (lambda: v.literal([1]), "v.literal"),
        (lambda: v.id(None), "no table name"),
        (lambda: v.id("users", on_delete="delete"), "restrict, cascade or set_null"),
        (lambda: v.doc(3), "no table name"),
        (lambda: as_validator(3, where="args"), "args: 3 is no validator"),
    ],
)
def test_building_fails_on_what_is_no_validator(build, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DeveloperError, match=words) as caught:
        build()
    assert caught.value.code == "InvalidValidator"


def test_objects_from_keywords_and_plain_dicts() -> None:
    assert v.object(a=v.string()) == v.object({"a": v.string()}) == as_validator({"a": v.string()}, where="args")


def test_object_algebra_keeps_the_receivers_optionality() -> None:
    receiver = v.object({"a": v.string(), "b": v.number()})
    person = v.optional(receiver)
    assert person.pick("a") == v.optional(v.object({"a": v.string()}))
    assert person.omit("a") == v.optional(v.object({"b": v.number()}))
    assert person.partial().fields["b"].is_optional
    assert person.extend({"b": v.null()}, c=v.any()).fields == {"a": v.string(), "b": v.null(), "c": v.any()}
    assert person.extend(c=v.any()).is_optional
    assert receiver.fields == {"a": v.string(), "b": v.number()}
    with pytest.raises(DeveloperError, match="`z` is no field"):
        person.pick("z")


def test_on_delete_is_recorded_but_not_part_of_the_json() -> None:
    cascade = v.id("users", on_delete="cascade")
    assert cascade.on_delete == "cascade"
    assert cascade.json() == v.id("users").json()
    assert cascade != v.id("users")


class _Tables:
    def document_validator(self, table: str) -> Validator:
        return with_system_fields(v.object({"name": v.string()}), table)


def test_documents_are_resolved_late() -> None:
    doc = v.object({"_creationTime": v.number(), "_id": v.id("users"), "name": v.string()})
    unresolved = v.object({"page": v.array(v.doc("users")), "one": v.optional(v.doc("users")), "n": v.number()})
    resolved = resolve_docs(unresolved, _Tables())
    assert resolved == v.object({"page": v.array(doc), "one": v.optional(doc), "n": v.number()})
    assert resolve_docs(v.union(v.record(v.string(), v.doc("users"))), _Tables()) == v.union(v.record(v.string(), doc))
    assert resolve_docs(resolved, _Tables()) is resolved
    with pytest.raises(DeveloperError) as caught:
        unresolved.json()
    assert caught.value.code == "UnresolvedDocValidator"


def test_system_fields_go_to_each_member_and_any_stays_any() -> None:
    both = with_system_fields(v.union(v.object(a=v.null()), v.object(b=v.null())), "t")
    one = {"_id": v.id("t"), "_creationTime": v.number()}
    assert both == v.union(v.object({"a": v.null(), **one}), v.object({"b": v.null(), **one}))
    assert with_system_fields(v.any(), "t") == v.any()


def test_pagination_helpers() -> None:
    assert [name for name, field in pagination_opts_validator.fields.items() if not field.is_optional] == [
        "numItems",
        "cursor",
    ]
    result = pagination_result_validator(v.string())
    assert result.fields["page"] == v.array(v.string())
    assert result.fields["splitCursor"].is_optional
