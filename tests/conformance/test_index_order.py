"""The Mongo index gives documents in the in-memory order, for every type of column (`data-model.md` 8.2, 10.9-13).

Random documents, random ranges, both directions: MongoDB's natural or encoded index must return what `MemoryStore`
returns, which compares key bytes. The values are drawn from few, so that ties, equal prefixes and edges are common.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from concave.schema.definition import define_table
from concave.schema.validators import Validator, v
from concave.storage.memory import MemoryStore
from concave.values.keys import PREFIX_END, encode_column, key_bytes, successor
from concave.values.order import compare
from concave.values.types import UNSET, Int64

NAN_WITH_PAYLOAD = struct.unpack(">d", bytes.fromhex("7ff8000000000abc"))[0]
NEGATIVE_NAN = struct.unpack(">d", bytes.fromhex("fff8000000000000"))[0]

STRINGS = ["", "a", "a\0", "a\0b", "ab", "b", "\x01", "\x7f", "é", "\uffff", "\ufffd", "\U00010000", "z" * 40]
FLOATS = [
    0.0, -0.0, 1.0, -1.0, 1.5, 2.0, 18.0, math.inf, -math.inf, math.nan, NEGATIVE_NAN, NAN_WITH_PAYLOAD, 5e-324,
    -5e-324, 1.7976931348623157e308, 2.0**53, -(2.0**53) - 2,
]  # fmt: skip
INTEGERS = [Int64(n) for n in (0, 1, -1, 2, 127, 128, -128, -129, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63))]
BOOLEANS = [False, True]
BYTES = [b"", b"\x00", b"\x00\x00", b"\x01", b"\xff", b"a", b"a\x00b"]
ARRAYS = [[], [None], [1.0], [1.0, 2.0], [Int64(1)], ["a"], [[]], [{}]]
OBJECTS = [{}, {"a": 1.0}, {"a": 1.0, "b": 0.0}, {"a": 2.0}, {"b": 0.0}, {"a": Int64(9)}]
ANYTHING = [UNSET, None, *INTEGERS, *FLOATS, *BOOLEANS, *STRINGS, *BYTES, *ARRAYS, *OBJECTS]

# Every row of data-model.md 8.2: the validator of a column, what it holds, whether it is natural.
COLUMNS: dict[str, tuple[Validator, list[Any], bool]] = {
    "string": (v.string(), STRINGS, True),
    "literals": (v.union(v.literal("a"), v.literal("b")), ["a", "b"], True),
    "int64": (v.int64(), INTEGERS, True),
    "boolean": (v.boolean(), BOOLEANS, True),
    "number": (v.number(), FLOATS, True),
    "null": (v.null(), [None], True),
    "optional string": (v.optional(v.string()), [UNSET, *STRINGS], True),
    "optional number": (v.optional(v.number()), [UNSET, *FLOATS], True),
    "optional int64": (v.optional(v.int64()), [UNSET, *INTEGERS], True),
    "optional boolean": (v.optional(v.boolean()), [UNSET, *BOOLEANS], True),
    "nullable string": (v.nullable(v.string()), [None, *STRINGS], True),
    "nullable number": (v.nullable(v.number()), [None, *FLOATS], True),
    "nullable int64": (v.nullable(v.int64()), [None, *INTEGERS], True),
    "nullable boolean": (v.nullable(v.boolean()), [None, *BOOLEANS], True),
    "number or string": (v.union(v.number(), v.string()), [*FLOATS, *STRINGS], True),
    "number or boolean": (v.union(v.number(), v.boolean()), [*FLOATS, *BOOLEANS], True),
    "int64 or string": (v.union(v.int64(), v.string()), [*INTEGERS, *STRINGS], True),
    "int64 or boolean": (v.union(v.int64(), v.boolean()), [*INTEGERS, *BOOLEANS], True),
    "optional number or string": (v.optional(v.union(v.number(), v.string())), [UNSET, *FLOATS, *STRINGS], True),
    "optional nullable string": (v.optional(v.nullable(v.string())), [UNSET, None, *STRINGS], False),
    "optional nullable number": (v.optional(v.nullable(v.number())), [UNSET, None, *FLOATS], False),
    "optional null": (v.optional(v.null()), [UNSET, None], False),
    "int64 or number": (v.union(v.int64(), v.number()), [*INTEGERS, *FLOATS], False),
    "boolean or string": (v.union(v.boolean(), v.string()), [*BOOLEANS, *STRINGS], False),
    "bytes": (v.bytes(), BYTES, False),
    "array": (v.array(v.any()), ARRAYS, False),
    "record": (v.record(v.string(), v.any()), OBJECTS, False),
    "any": (v.optional(v.any()), ANYTHING, False),
}
TABLES = {f"t{number}": name for number, name in enumerate(COLUMNS)}


def column_of(table: str) -> tuple[Validator, list[Any], bool]:
    return COLUMNS[TABLES[table]]


def with_value(document: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    return document if value is UNSET else {**document, field: value}


def definition(table: str) -> Any:
    """A table with the column alone, before a string column, behind one, and below an object."""
    validator, _, _ = column_of(table)
    return (
        define_table(x=validator, s=v.string(), o=v.optional(v.object(x=validator)))
        .index("by_x", ["x"])
        .index("by_x_s", ["x", "s"])
        .index("by_s_x", ["s", "x"])
        .index("by_o_x", ["o.x"])
    )


@pytest.fixture(params=TABLES, ids=list(COLUMNS))
def table(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def pair(
    mongo_world: Any, make_plan: Callable[..., Any], make_bench: Callable[..., Any], table: str
) -> tuple[Any, Any]:
    """The same documents in both stores; the memory's comes second."""
    plan = make_plan(**{table: definition(table)})
    mongo = await mongo_world.open()
    bench = make_bench(mongo, await mongo.push(plan), mongo_world.runtime)
    memory = MemoryStore(runtime=mongo_world.runtime, node="memory")
    reference = make_bench(memory, await memory.push(plan), mongo_world.runtime)
    return bench, reference


async def fill(bench: Any, reference: Any, table: str) -> list[dict[str, Any]]:
    """Each value three times: with two strings, and once below the object."""
    documents = []
    for value in column_of(table)[1]:
        for s in ("a", "b", "a"):
            document = with_value(bench.document(table, s=s), "x", value)
            if s == "b":
                document = {**document, "o": with_value({}, "x", value)}
            if "x" not in document and not bench.catalog.table_plan(table).document_type.fields["x"].is_optional:
                continue
            documents.append(document)
    await bench.insert(table, *documents)
    await reference.insert(table, *documents)
    return documents


def test_the_compiler_calls_natural_what_the_table_says(make_plan: Callable[..., Any]) -> None:
    plan = make_plan(**{table: definition(table) for table in TABLES})
    for table, name in TABLES.items():
        column = plan.tables[table].layout.indexes["by_x"].columns[0]
        assert column.encoded is not column_of(table)[2], name


def bounds(layout: Any, documents: list[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    """Bounds of every form: whole index, prefixes of any values (also of types that the column never holds), keys."""
    value = st.sampled_from(ANYTHING)
    prefix = st.lists(value, min_size=1, max_size=len(layout.columns)).map(
        lambda values: b"".join(map(encode_column, values))
    )
    key = st.sampled_from(documents).map(lambda document: key_bytes(layout.key(document)))
    partial = st.tuples(st.sampled_from(documents), st.integers(1, len(layout.columns))).map(
        lambda drawn: key_bytes(layout.key(drawn[0])[: drawn[1]])
    )
    return st.one_of(
        st.sampled_from([b"", PREFIX_END]),
        prefix,
        prefix.map(lambda data: data + PREFIX_END),
        partial,
        partial.map(lambda data: data + PREFIX_END),
        key,
        key.map(successor),
    )


async def test_whole_indexes_agree_with_the_order_of_values(pair: tuple[Any, Any], table: str) -> None:
    bench, reference = pair
    documents = await fill(bench, reference, table)
    for index in ("by_x", "by_x_s", "by_s_x", "by_o_x"):
        expected = await reference.all(table, index)
        found = await bench.all(table, index)
        assert [repr(document) for document in found] == [repr(document) for document in expected]
        assert list(map(repr, await bench.all(table, index, order="desc"))) == list(map(repr, found[::-1]))
        assert len(found) == len(documents)
    # Independent of the encoding: neighbours compare as the values do, but for zeros and NaNs, which share a key.
    values = [document.get("x", UNSET) for document in await bench.all(table, "by_x")]
    for left, right in pairwise(values):
        if not any(isinstance(value, float) and (value == 0 or math.isnan(value)) for value in (left, right)):
            assert compare(left, right) <= 0


async def test_random_ranges_agree(pair: tuple[Any, Any], table: str) -> None:
    bench, reference = pair
    documents = await fill(bench, reference, table)
    mongo_ts = await bench.store.current_ts()
    memory_ts = await reference.store.current_ts()

    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def ranges(data: st.DataObject) -> None:
        index = data.draw(st.sampled_from(["by_x", "by_x_s", "by_s_x", "by_o_x", "by_creation_time", "by_id"]))
        layout = bench.catalog.layout(table).indexes[index]
        one, other = data.draw(bounds(layout, documents)), data.draw(bounds(layout, documents))
        low, high = (one, other) if one <= other else (other, one)
        options = {
            "low": low,
            "high": PREFIX_END if high == b"" else high,
            "order": data.draw(st.sampled_from(["asc", "desc"])),
            "limit": data.draw(st.sampled_from([1, 7, 1_000])),
        }
        if low == PREFIX_END:
            options["low"] = b""
        drawn.append((index, options))

    drawn: list[tuple[str, dict[str, Any]]] = []
    ranges()
    for index, options in drawn:
        found = await bench.all(table, index, mongo_ts, **options)
        expected = await reference.all(table, index, memory_ts, **options)
        assert [repr(document) for document in found] == [repr(document) for document in expected], (index, options)
