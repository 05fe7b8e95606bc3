"""Order-preserving keys: the vectors of data-model.md 2.1 and the departure of columns (design, section 4)."""

import math
import struct

import pytest

from concave.values.keys import PREFIX_END, decode_columns, encode_column, encode_value, key_bytes, successor
from concave.values.types import UNSET, Int64

NEGATIVE_NAN = struct.unpack(">d", bytes.fromhex("fff8000000000000"))[0]

VECTORS = [
    (UNSET, "01"),
    (None, "03"),
    (Int64(0), "08"),
    (Int64(-129), "06ff7f"),
    (Int64(-128), "0780"),
    (Int64(-1), "07ff"),
    (Int64(1), "0901"),
    (Int64(127), "097f"),
    (Int64(255), "0a00ff"),
    (Int64(2**31), "0c0000000080000000"),
    (Int64(-(2**63)), "048000000000000000"),
    (-0.0, "0d7fffffffffffffff"),
    (0.0, "0d8000000000000000"),
    (1.0, "0dbff0000000000000"),
    (False, "0e"),
    (True, "0f"),
    ("", "1000"),
    ("a\0b", "106100ff6200"),
    (b"\0", "1100ff00"),
    ([], "1200"),
    ([None], "120300"),
    ({}, "1500"),
    ({"": None}, "1500ff0300"),
    ({"a": Int64(1)}, "156100090100"),
]


@pytest.mark.parametrize(("value", "expected"), VECTORS)
def test_vectors(value, expected):
    assert encode_value(value).hex() == expected


@pytest.mark.parametrize("value", [value for value, _ in VECTORS if value != 0.0 or isinstance(value, Int64)])
def test_a_column_is_the_exact_encoding_but_for_two_floats(value):
    assert encode_column(value) == encode_value(value)


def test_the_two_departures_of_a_column():
    assert encode_column(-0.0) == encode_column(0.0) == encode_value(0.0)
    first = encode_column(math.nan)
    assert first == encode_column(NEGATIVE_NAN) == b"\x0d" + bytes(8)
    assert encode_value(Int64(2**63 - 1)) < first < encode_column(-math.inf)
    # Within a container the exact order holds.
    assert encode_column([-0.0]) < encode_column([0.0])
    assert encode_column([math.inf]) < encode_column([math.nan])


def test_decoding_gives_the_usual_nan_for_a_nan_column():
    values, tail = decode_columns(encode_column(NEGATIVE_NAN) + encode_column("x"))
    assert math.isnan(values[0])
    assert math.copysign(1.0, values[0]) == 1.0
    assert (values[1], tail) == ("x", b"")


def test_ranges_do_not_catch_strings_that_go_on_with_a_zero():
    prefix = encode_column("x")
    longer = encode_column("x\0y") + encode_column(1.0)
    equal = encode_column("x") + encode_column(1.0)
    assert prefix <= equal < prefix + PREFIX_END
    assert not prefix <= longer < prefix + PREFIX_END
    assert prefix + PREFIX_END <= longer


def test_a_successor_excludes_exactly_the_key():
    key = key_bytes((encode_column("x"), encode_column(1.0), encode_column("id")))
    assert key < successor(key)
    assert successor(key) < key_bytes((encode_column("x"), encode_column(1.0), encode_column("id\0")))
    assert decode_columns(successor(key)) == (["x", 1.0, "id"], b"\x00")


@pytest.mark.parametrize(
    "data", ["02", "10", "1061", "0d00", "0a00", "12", "1203", "15", "156100", "10ff00", "ff03", "0003"]
)
def test_what_no_encoder_wrote_is_refused(data):
    with pytest.raises(ValueError, match=data):
        decode_columns(bytes.fromhex(data))


def test_what_is_no_value_has_no_key():
    with pytest.raises(TypeError, match="set is no Convex value"):
        encode_column({1})
