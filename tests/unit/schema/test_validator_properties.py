"""Properties over random validators and values: JSON, checks, `$jsonSchema` and natural order against simple models."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concave.schema.checking import ValidationFailure, compile_check, explain
from concave.schema.json_schema import value_json_schema
from concave.schema.natural import natural_admitted
from concave.schema.validators import (
    ArrayValidator,
    IdValidator,
    LiteralValidator,
    ObjectValidator,
    RecordValidator,
    ScalarValidator,
    UnionValidator,
    Validator,
    v,
    validator_from_json,
)
from concave.values.ids import decode_id, encode_id
from concave.values.keys import encode_column, encode_value
from concave.values.types import UNSET, Int64

NUMBERS = {"users": 10001, "messages": 10002, "_storage": 540}
IDS = [encode_id(number, bytes([n] * 16)) for number in (10001, 10002, 540, 10099) for n in (0, 255)]


class Lookup:
    """Three tables, no documents."""

    def find_table_number(self, table: str) -> int | None:
        return NUMBERS.get(table)

    def table_name(self, number: int) -> str | None:
        return {number: name for name, number in NUMBERS.items()}.get(number)

    def document_validator(self, table: str) -> Validator:
        raise AssertionError(table)


LOOKUP = Lookup()

names = st.sampled_from(["a", "b", "kind"])
texts = st.sampled_from(["", "a", "b", "x\0y", "é", "\U00010000", *IDS])
floats = st.floats() | st.sampled_from([0.0, -0.0, 1.0, math.inf, math.nan])
int64s = st.integers(-(2**63), 2**63 - 1).map(Int64) | st.sampled_from([Int64(0), Int64(1)])

scalars = st.sampled_from(
    [v.null(), v.boolean(), v.string(), v.number(), v.int64(), v.bytes(), v.any(), v.commit_ts(), v.id("users")]
)
literals = (texts | st.sampled_from([0.0, -0.0, 1.0, Int64(0), Int64(1), True, False])).map(v.literal)
validators = st.recursive(
    scalars | literals | st.sampled_from([v.id("messages"), v.id("_storage"), v.id("nowhere")]),
    lambda children: st.one_of(
        children.map(v.array),
        st.dictionaries(names, children | children.map(v.optional), max_size=3).map(v.object),
        st.lists(children, max_size=3).map(lambda members: v.union(*members)),
        st.tuples(st.sampled_from([v.string(), v.id("users"), v.union(v.id("users"), v.id("messages"))]), children).map(
            lambda pair: v.record(*pair)
        ),
        children.map(v.nullable),
    ),
    max_leaves=8,
)
# Plain ints are no values, but stand for floats where those are wanted.
scalar_values = st.one_of(
    st.none(), st.booleans(), texts, floats, int64s, st.integers(-3, 3), st.binary(max_size=3), st.just(2**53 + 1)
)
values = st.recursive(
    scalar_values,
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(names | st.sampled_from(IDS), children, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def values_of(draw: st.DrawFn, validator: Validator) -> Any:
    """Values that are near to what the validator admits: mostly admitted, sometimes spoiled at one place."""
    if draw(st.integers(0, 19)) == 0:
        return draw(values)
    match validator:
        case ScalarValidator(scalar=scalar):
            by_kind: dict[str, st.SearchStrategy[Any]] = {
                "null": st.none(),
                "boolean": st.booleans(),
                "string": texts,
                "float64": floats | st.integers(-3, 3),
                "bytes": st.binary(max_size=3),
                "any": values,
            }
            return draw(by_kind.get(scalar, int64s))
        case LiteralValidator(value=value):
            return value
        case IdValidator(table=table):
            return draw(st.sampled_from([id for id in IDS if decode_id(id)[0] == NUMBERS.get(table)] or IDS))
        case ArrayValidator(element=element):
            return draw(st.lists(values_of(element), max_size=3))
        case RecordValidator(keys=keys, values=children):
            return {draw(values_of(keys).filter(lambda k: type(k) is str)): draw(values_of(children)) for _ in range(2)}
        case ObjectValidator(fields=fields):
            return {
                name: draw(values_of(field))
                for name, field in fields.items()
                if not field.is_optional or draw(st.booleans())
            }
        case UnionValidator(members=members) if members:
            return draw(values_of(draw(st.sampled_from(members))))
        case _:
            return draw(values)


pairs = validators.flatmap(lambda validator: st.tuples(st.just(validator), values_of(validator)))


def admits(validator: Validator, value: Any) -> bool:
    """4.3 in the plainest way, a plain int taken for a number."""
    match validator:
        case ScalarValidator(scalar="any"):
            return True
        case ScalarValidator(scalar="float64"):
            return type(value) is float or (type(value) is int and abs(value) <= 2**53)
        case ScalarValidator(scalar=scalar):
            types = {"null": type(None), "boolean": bool, "string": str, "bytes": bytes}
            return type(value) is types.get(scalar, Int64)
        case LiteralValidator(value=literal):
            if type(value) is int:
                value = float(value)
            return type(value) is type(literal) and encode_value(value) == encode_value(literal)
        case IdValidator(table=table):
            try:
                return type(value) is str and decode_id(value)[0] == NUMBERS.get(table)
            except ValueError:
                return False
        case ArrayValidator(element=element):
            return type(value) is list and all(admits(element, item) for item in value)
        case RecordValidator(keys=keys, values=children):
            return type(value) is dict and all(admits(keys, k) and admits(children, x) for k, x in value.items())
        case ObjectValidator(fields=fields):
            return (
                type(value) is dict
                and value.keys() <= fields.keys()
                and all(admits(f, value[n]) if n in value else f.is_optional for n, f in fields.items())
            )
        case UnionValidator(members=members):
            return any(admits(member, value) for member in members)
        case _:
            raise AssertionError(validator)


def with_floats(value: Any) -> Any:
    if type(value) is int:
        return float(value)
    if type(value) is list:
        return [with_floats(item) for item in value]
    if type(value) is dict:
        return {name: with_floats(item) for name, item in value.items()}
    return value


@given(validators)
def test_parsing_is_the_inverse_of_json(validator: Validator) -> None:
    text = orjson.dumps(validator.json())
    assert validator_from_json(orjson.loads(text)) == validator


@given(pairs | st.tuples(validators, values))
def test_checks_agree_with_the_reference(pair: tuple[Validator, Any]) -> None:
    validator, value = pair
    check = compile_check(validator, LOOKUP)
    before = repr(value)
    if admits(validator, value):
        checked = check(value)
        # Whatever became of ints, it is the same value; only under `any` may one be left.
        assert encode_value(checked) == encode_value(with_floats(value))
        if "v.any" not in repr(validator):
            assert repr(checked) == repr(with_floats(value))
        if repr(with_floats(value)) == before:
            assert checked is value
        assert explain(validator, value, LOOKUP) is None
    else:
        with pytest.raises(ValidationFailure) as caught:
            check(value)
        assert ("Path: " in caught.value.text) == (caught.value.path != "")
    assert repr(value) == before


def mongo_admits(schema: dict[str, Any], value: Any) -> bool:
    """The part of `$jsonSchema` that the compiler uses."""
    if "anyOf" in schema:
        return any(mongo_admits(each, value) for each in schema["anyOf"])
    if "not" in schema:
        return not mongo_admits(schema["not"], value)
    bson_type = {
        type(None): "null", bool: "bool", str: "string", float: "double", Int64: "long", bytes: "binData",
        list: "array", dict: "object",
    }[type(value)]  # fmt: skip
    wanted = schema.get("bsonType", bson_type)
    if bson_type not in (wanted if isinstance(wanted, list) else [wanted]):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "pattern" in schema and re.search(schema["pattern"], value) is None:
        return False
    if type(value) is list:
        return all(mongo_admits(schema.get("items", {}), item) for item in value)
    if type(value) is dict:
        if not set(schema.get("required", ())) <= value.keys():
            return False
        return all(_mongo_admits_field(schema, name, field) for name, field in value.items())
    return True


def _mongo_admits_field(schema: dict[str, Any], name: str, field: Any) -> bool:
    properties = schema.get("properties", {})
    patterns = [s for p, s in schema.get("patternProperties", {}).items() if re.search(p, name)]
    if name in properties:
        return mongo_admits(properties[name], field)
    if patterns:
        return all(mongo_admits(each, field) for each in patterns)
    rest = schema.get("additionalProperties", {})
    return rest is not False and mongo_admits(rest, field)


@given(pairs)
def test_mongo_admits_what_the_check_admits(pair: tuple[Validator, Any]) -> None:
    validator, value = pair[0], with_floats(pair[1])
    if admits(validator, value):
        assert mongo_admits(value_json_schema(validator), value)


@given(pairs)
def test_mongo_refuses_what_the_check_refuses_where_it_can(pair: tuple[Validator, Any]) -> None:
    validator, value = pair[0], with_floats(pair[1])
    # Mongo cannot tell tables of ids, Int64 from a float literal of the same number, or the two zeros.
    if "v.id" in repr(validator) or "v.literal" in repr(validator):
        return
    if mongo_admits(value_json_schema(validator), value):
        # A long is a number to Mongo.
        assert admits(validator, value) or "v.float64" in repr(validator)


class BsonOrder:
    """How a Mongo index compares two natural columns."""

    RANKS = ("undefined or null", "number", "string", "boolean")

    @classmethod
    def key(cls, value: Any) -> tuple[Any, ...]:
        if value is UNSET or value is None:
            return (0,)
        if isinstance(value, bool):
            return (3, value)
        if isinstance(value, str):
            return (2, value.encode())
        return (1, not math.isnan(value), 0 if math.isnan(value) else value)


@given(
    st.lists(scalars | literals, min_size=1, max_size=3).map(lambda members: v.union(*members)),
    st.booleans(),
    st.data(),
)
def test_natural_columns_sort_as_bson_does(validator: Validator, is_optional: bool, data: st.DataObject) -> None:
    if is_optional:
        validator = v.optional(validator)
    if natural_admitted(validator) is None:
        return
    column = [value for value in data.draw(st.lists(values_of(validator), max_size=6)) if admits(validator, value)]
    column = [with_floats(value) for value in column] + ([UNSET] if is_optional else [])
    for one in column:
        for other in column:
            bson_one, bson_other = BsonOrder.key(one), BsonOrder.key(other)
            assert (encode_column(one) < encode_column(other)) == (bson_one < bson_other)
