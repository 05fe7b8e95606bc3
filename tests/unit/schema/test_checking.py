"""Checks: the texts of `data-model.md` 4.4, the semantics of 4.3, coercion of plain ints."""

from __future__ import annotations

import math
from typing import Any

import pytest

from concave.schema.checking import ValidationFailure, compile_check, compile_document_check
from concave.schema.validators import Validator, v
from concave.values.ids import encode_id
from concave.values.types import Int64

TABLES = {"users": 10001, "teams": 10002, "_storage": 540, "_tables": 513}
USER = encode_id(10001, bytes(range(16)))
TEAM = encode_id(10002, bytes(range(16)))
FILE = encode_id(540, bytes(range(16)))
HIDDEN = encode_id(513, bytes(range(16)))
NOWHERE = encode_id(10099, bytes(range(16)))


class Lookup:
    def find_table_number(self, table: str) -> int | None:
        return TABLES.get(table)

    def table_name(self, number: int) -> str | None:
        return {number: name for name, number in TABLES.items()}.get(number)

    def document_validator(self, table: str) -> Validator:
        return v.object({"_id": v.id(table), "_creationTime": v.number(), "name": v.string()})


def check(validator: Validator, value: Any) -> Any:
    return compile_check(validator, Lookup())(value)


def failure(validator: Validator, value: Any) -> ValidationFailure:
    with pytest.raises(ValidationFailure) as caught:
        check(validator, value)
    assert str(caught.value) == caught.value.text
    return caught.value


def test_mismatch_at_the_root() -> None:
    assert failure(v.number(), "x").text == 'Value does not match validator.\n\nValue: "x"\nValidator: v.float64()'


def test_mismatch_below_the_root_has_the_path() -> None:
    nested = v.object({"field": v.array(v.object({"tags": v.record(v.string(), v.int64())}))})
    good: dict[str, Any] = {"tags": {}}
    caught = failure(nested, {"field": [good, good, good, {"tags": {"b": 1.5}}]})
    assert caught.path == ".field[3].tags.values()"
    assert caught.text == (
        "Value does not match validator.\nPath: .field[3].tags.values()\nValue: 1.5\nValidator: v.int64()"
    )


def test_keys_have_their_own_path() -> None:
    caught = failure(v.object(m=v.record(v.id("users"), v.any())), {"m": {"x": None}})
    assert caught.path == ".m.keys()"
    assert caught.text.endswith('Path: .m.keys()\nValue: "x"\nValidator: v.id("users")')


def test_missing_field() -> None:
    validator = v.object({"b": v.string(), "a": v.optional(v.null())})
    assert failure(validator, {"a": None}).text == (
        "Object is missing the required field `b`. Consider wrapping the field validator in `v.optional(...)` if this "
        "is expected.\n\nObject: {a: null}\nValidator: v.object({a: v.optional(v.null()), b: v.string()})"
    )
    assert failure(v.object(o=validator), {"o": {}}).text.splitlines()[1] == "Path: .o"


def test_extra_field() -> None:
    assert failure(v.object(o=v.object({})), {"o": {"x": True}}).text == (
        "Object contains extra field `x` that is not in the validator.\n"
        "Path: .o\nObject: {x: true}\nValidator: v.object({})"
    )


def test_fields_are_checked_in_name_order_and_extras_last() -> None:
    validator = v.object({"b": v.string(), "a": v.string()})
    assert failure(validator, {"z": 1.0, "b": 1.0}).kind == "missing"
    assert failure(validator, {"z": 1.0, "b": 1.0, "a": ""}).path == ".b"
    assert failure(validator, {"z": 1.0, "b": "", "a": ""}).kind == "extra"


def test_id_of_another_table() -> None:
    caught = failure(v.object(by=v.id("users")), {"by": TEAM})
    assert caught.kind == "id_table"
    assert caught.text == (
        f'Found ID "{TEAM}" from table `teams`, which does not match the table name in validator `v.id("users")`.'
        "Path: .by"
    )


@pytest.mark.parametrize("id", [FILE, HIDDEN])
def test_id_of_a_system_table(id: str) -> None:
    caught = failure(v.id("users"), id)
    assert caught.kind == "id_system"
    assert caught.text == (
        f'Found ID "{id}" from a system table, which does not match the table name in validator `v.id("users")`.'
    )


def test_ids() -> None:
    assert check(v.id("users"), USER) is USER
    assert check(v.id("_storage"), FILE) is FILE
    for bad in (USER.upper(), USER[:-1], NOWHERE, "", None):
        assert failure(v.id("users"), bad).kind == "mismatch"
    # A table that nobody has created has no number: no id passes.
    assert failure(v.id("nowhere"), NOWHERE).kind == "mismatch"


def test_literal_text() -> None:
    caught = failure(v.object(kind=v.literal("a")), {"kind": Int64(3)})
    assert caught.kind == "literal"
    assert caught.text == '`3` does not match literal validator `v.literal("a")`.Path: .kind'


def test_literals_are_equal_by_the_total_order() -> None:
    assert check(v.literal(0), 0.0) == 0.0
    for other in (-0.0, Int64(0), False, None, "0"):
        assert failure(v.literal(0), other).kind == "literal"
    assert math.copysign(1, check(v.literal(-0.0), -0.0)) == -1
    assert failure(v.literal(True), 1.0).kind == "literal"
    assert check(v.literal(Int64(1)), Int64(1)) == Int64(1)


@pytest.mark.parametrize(
    ("validator", "value"),
    [
        (v.number(), Int64(1)),
        (v.number(), True),
        (v.int64(), 1.0),
        (v.int64(), 1),
        (v.int64(), True),
        (v.commit_ts(), 1.0),
        (v.boolean(), 1.0),
        (v.string(), b""),
        (v.bytes(), ""),
        (v.null(), False),
        (v.array(v.any()), {}),
        (v.object({}), []),
        (v.record(v.string(), v.any()), []),
        (v.optional(v.string()), None),
        (v.union(), None),
    ],
)
def test_types_are_exact(validator: Validator, value: Any) -> None:
    assert failure(validator, value).kind == "mismatch"


def test_optional_is_missing_and_nullable_is_null() -> None:
    validator = v.object({"o": v.optional(v.string()), "n": v.nullable(v.string())})
    assert check(validator, {"n": None}) == {"n": None}
    assert failure(validator, {"o": None, "n": None}).path == ".o"
    assert failure(validator, {}).kind == "missing"


def test_a_unions_error_is_general_but_for_one_member() -> None:
    member = v.object(a=v.string())
    assert failure(v.union(member), {}).kind == "missing"
    caught = failure(v.union(member, v.null()), {})
    assert caught.kind == "mismatch"
    assert caught.text.endswith("Validator: v.union(v.object({a: v.string()}), v.null())")


def test_tagged_unions() -> None:
    shape = v.union(
        v.object(kind=v.literal("circle"), r=v.number()),
        v.object(kind=v.literal("square"), side=v.number()),
        v.null(),
    )
    assert check(shape, {"kind": "square", "side": 2}) == {"kind": "square", "side": 2.0}
    assert check(shape, None) is None
    for bad in ({"kind": "square", "r": 1.0}, {"kind": "line"}, {"kind": ["square"]}, {}):
        assert failure(shape, bad).kind == "mismatch"


def test_plain_ints_become_floats_where_numbers_are_wanted() -> None:
    validator = v.object(
        {"n": v.number(), "l": v.array(v.number()), "m": v.record(v.string(), v.nullable(v.number())), "x": v.any()}
    )
    value = {"n": 1, "l": [0.5, 2], "m": {"a": 3, "b": None}, "x": [1.0]}
    checked = check(validator, value)
    assert repr(checked) == "{'n': 1.0, 'l': [0.5, 2.0], 'm': {'a': 3.0, 'b': None}, 'x': [1.0]}"
    assert repr(value) == "{'n': 1, 'l': [0.5, 2], 'm': {'a': 3, 'b': None}, 'x': [1.0]}"
    assert checked["x"] is value["x"]


def test_unchanged_values_are_not_copied() -> None:
    validator = v.object({"l": v.array(v.number()), "m": v.record(v.string(), v.any())})
    value: dict[str, Any] = {"l": [0.5], "m": {"a": None}}
    assert check(validator, value) is value


def test_ints_that_no_float_can_stand_for_are_refused() -> None:
    assert check(v.number(), 2**53) == float(2**53)
    assert failure(v.number(), 2**53 + 1).kind == "mismatch"


def test_documents_of_a_table() -> None:
    validator = v.array(v.doc("users"))
    document = {"_id": USER, "_creationTime": 1.0, "name": "x"}
    assert check(validator, [document]) == [document]
    assert failure(validator, [{"name": "x"}]).kind == "missing"


def test_document_checks_ignore_system_fields() -> None:
    accept = compile_document_check(v.union(v.object(n=v.number()), v.object(s=v.string())), Lookup())
    document = {"_id": USER, "_creationTime": 1.0, "n": 1}
    assert accept(document) == {"_id": USER, "_creationTime": 1.0, "n": 1.0}
    assert accept({"s": ""}) == {"s": ""}
    assert accept({"_id": USER, "s": ""}) == {"_id": USER, "s": ""}
    with pytest.raises(ValidationFailure):
        accept({"_id": USER, "_other": 1.0, "s": ""})


def test_document_check_texts_leave_out_system_fields() -> None:
    accept = compile_document_check(v.object(n=v.number()), Lookup())
    with pytest.raises(ValidationFailure) as caught:
        accept({"_id": USER, "_creationTime": 1.0})
    assert caught.value.text.endswith("\n\nObject: {}\nValidator: v.object({n: v.float64()})")
