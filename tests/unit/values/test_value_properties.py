"""What must hold for every value: codec round trips, order against bytes, sizes against their definition."""

import itertools
import math
import struct

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from concave.values import keys, order, sizes
from concave.values.codec import decode, decode_json, encode, encode_json, format_json, normalize
from concave.values.types import UNSET, Int64


def float_of_bits(bits: int) -> float:
    return struct.unpack("<d", struct.pack("<Q", bits))[0]


SPECIAL_FLOATS = st.sampled_from(
    [0.0, -0.0, math.inf, -math.inf, math.nan, -math.nan, float_of_bits(0x7FF8000000000123), 1.0, -1.0, 5e-324, 2.0**53]
)
FLOATS = st.one_of(SPECIAL_FLOATS, st.floats(), st.integers(0, 2**64 - 1).map(float_of_bits))
INT64S = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from(
        [edge + step for edge in (-(2**31), -(2**15), -(2**7), 0, 2**7, 2**15, 2**31) for step in (-1, 0, 1)]
    ),
).map(Int64)
# Few characters, so that prefixes, equal strings and zeros are common; and those on which UTF-16 order errs.
TEXTS = st.one_of(st.text(st.sampled_from("ab\0\x01é\ufffd\U00010000\x7f"), max_size=5), st.text(max_size=20))
BYTES = st.one_of(st.lists(st.sampled_from([0, 1, 97, 254, 255]), max_size=4).map(bytes), st.binary(max_size=20))
NAMES = st.one_of(
    st.sampled_from(["", "a", "b", "ab", "a.b", "_id"]), st.from_regex(r"(?!\$)[ -~]{0,6}", fullmatch=True)
)
SCALARS = st.one_of(st.none(), st.booleans(), FLOATS, INT64S, TEXTS, BYTES)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4)),
    max_leaves=8,
)
COLUMNS = st.one_of(st.just(UNSET), VALUES)


@given(VALUES)
@example([-0.0, math.nan, float_of_bits(0xFFF8000000000001), float_of_bits(0x7FF0000000000001)])
def test_decoding_undoes_encoding(value):
    assert order.values_equal(decode_json(encode_json(value)), value)
    assert order.values_equal(decode(orjson.loads(orjson.dumps(encode(value)))), value)


@given(VALUES)
def test_the_fast_encoder_writes_what_the_plain_one_writes(value):
    assert encode_json(value) == orjson.dumps(encode(value), option=orjson.OPT_SORT_KEYS)


@given(VALUES)
def test_normalizing_a_value_changes_nothing(value):
    assert normalize(value) is value


@given(VALUES)
def test_every_format_is_valid_json(value):
    for name in ("json", "convex_encoded_json", "export_json"):
        orjson.loads(format_json(value, name))


@given(COLUMNS, COLUMNS)
@settings(max_examples=400)
def test_byte_order_is_value_order(a, b):
    bytes_a, bytes_b = keys.encode_value(a), keys.encode_value(b)
    assert order.compare(a, b) == (bytes_a > bytes_b) - (bytes_a < bytes_b)
    assert order.compare(b, a) == -order.compare(a, b)
    assert order.values_equal(a, b) == (bytes_a == bytes_b)


@given(st.lists(VALUES, max_size=6))
def test_sorting_by_bytes_is_sorting_by_value(values):
    ordered = sorted(values, key=keys.encode_value)
    assert all(order.compare(a, b) <= 0 for a, b in itertools.pairwise(ordered))


@given(st.lists(COLUMNS, max_size=4), st.sampled_from([b"", b"\xff", b"\x00"]))
@example([{}], b"\xff")
@example([{"": {}}], b"\xff")
@example(["a"], b"\xff")
@example(["a\0"], b"\xff")
@example([[b"\0"], ""], b"\x00")
def test_columns_decode_to_what_they_were_made_of(values, tail):
    decoded, found_tail = keys.decode_columns(b"".join(map(keys.encode_column, values)) + tail)
    assert found_tail == tail
    assert len(decoded) == len(values)
    for value, back in zip(values, decoded, strict=True):
        if isinstance(value, float) and (value == 0.0 or math.isnan(value)):
            assert back == 0.0 or math.isnan(back)
        else:
            assert order.values_equal(value, back)


@given(st.lists(COLUMNS, min_size=1, max_size=3), st.lists(COLUMNS, min_size=1, max_size=3))
def test_a_prefix_range_holds_exactly_the_keys_that_begin_with_the_prefix(prefix, key):
    low = b"".join(map(keys.encode_value, prefix))
    full = b"".join(map(keys.encode_value, key))
    begins = len(key) >= len(prefix) and all(map(order.values_equal, prefix, key))
    assert (low <= full < low + keys.PREFIX_END) == begins


def size_by_definition(value):
    match value:
        case None | bool():
            return 1
        case str():
            return 2 + len(value.encode())
        case bytes():
            return 2 + len(value)
        case int() | float():
            return 9
        case list():
            return 2 + sum(map(size_by_definition, value))
        case dict():
            return 2 + sum(len(name.encode()) + 1 + size_by_definition(item) for name, item in value.items())


@given(VALUES)
def test_size_is_as_defined(value):
    assert sizes.size(value) == size_by_definition(value)
