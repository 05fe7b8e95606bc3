"""Documents through BSON and back; integers of other programs."""

from __future__ import annotations

import struct
from typing import Any

import bson
import pytest
from bson import Int64 as BsonLong
from bson import ObjectId
from bson.errors import InvalidBSON
from hypothesis import given
from hypothesis import strategies as st

from concave.schema.definition import define_table
from concave.schema.plan import compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import Validator, v
from concave.storage.bson_documents import INTEGERS_ARE_FLOATS, INTEGERS_ARE_INT64, DocumentCodec
from concave.values.types import Document, Int64

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
)
NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=5).filter(
    lambda name: not name.startswith("$")
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)


def codec_of(**fields: Validator) -> DocumentCodec:
    table = compile_plan(Schema({"t": define_table(**fields)})).tables["t"]
    return DocumentCodec(table.layout, table.document_type)


def through(codec: DocumentCodec, document: Document) -> Document:
    stored = bson.encode(codec.stored(document))
    return codec.finish([bson.decode(stored, codec.options)])[0]


def exact(value: Any) -> Any:
    """Equal for equal values of equal types, NaN bits and the sign of zero included."""
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return (type(value), struct.pack(">d", value) if isinstance(value, float) else value)


@given(VALUES)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    document = {"_id": "x", "_creationTime": 1.5, "a": value}
    assert exact(through(codec_of(a=v.any()), document)) == exact(document)


def test_tables_without_int64_read_integers_as_floats() -> None:
    codec = codec_of(a=v.array(v.number()), o=v.optional(v.object(n=v.number())))
    assert codec.options is INTEGERS_ARE_FLOATS
    found = through(codec, {"_id": "x", "_creationTime": 1, "a": [1, BsonLong(2**40)], "o": {"n": 3}})
    assert exact(found) == exact({"_id": "x", "_creationTime": 1.0, "a": [1.0, 2.0**40], "o": {"n": 3.0}})


@pytest.mark.parametrize(
    ("validator", "stored", "read"),
    [
        (v.number(), 1, 1.0),
        (v.int64(), 1, Int64(1)),
        (v.literal(2.0), 2, 2.0),
        (v.any(), 1, Int64(1)),
        (v.union(v.number(), v.int64()), 1, Int64(1)),
        (v.union(v.number(), v.string()), 1, 1.0),
        (v.nullable(v.number()), None, None),
        (v.array(v.number()), [1, 2.5], [1.0, 2.5]),
        (v.array(v.array(v.number())), [[1]], [[1.0]]),
        (v.array(v.int64()), [1], [Int64(1)]),
        (v.record(v.string(), v.number()), {"a": 1}, {"a": 1.0}),
        (v.object(n=v.number(), i=v.int64()), {"n": 1, "i": 2}, {"n": 1.0, "i": Int64(2)}),
        (v.union(v.object(n=v.number()), v.object(n=v.int64())), {"n": 1}, {"n": Int64(1)}),
        (v.union(v.object(n=v.number()), v.object(m=v.int64())), {"n": 1}, {"n": 1.0}),
        (v.union(v.array(v.number()), v.number()), [1], [1.0]),
    ],
)
def test_integers_are_read_as_the_validator_wants_them(validator: Validator, stored: Any, read: Any) -> None:
    codec = codec_of(a=validator, other=v.int64())
    assert codec.options is INTEGERS_ARE_INT64
    found = through(codec, {"_id": "x", "_creationTime": 1, "a": stored, "other": 1})
    assert exact(found) == exact({"_id": "x", "_creationTime": 1.0, "a": read, "other": Int64(1)})


def test_types_that_convex_lacks_are_refused() -> None:
    codec = codec_of(a=v.any())
    with pytest.raises((InvalidBSON, ValueError), match="ObjectId"):
        bson.decode(bson.encode({"a": [ObjectId()]}), codec.options)


def test_encoded_columns_are_written_and_hidden() -> None:
    table = compile_plan(Schema({"t": define_table(a=v.any()).index("by_a", ["a"])})).tables["t"]
    codec = DocumentCodec(table.layout, table.document_type)
    document = {"_id": "x", "_creationTime": 1.0, "a": None}
    assert codec.has_hidden
    assert codec.stored(document) == {**document, "_k": {"a": "\x03"}}
    assert through(codec, document) == document
    assert "_k" not in document
