"""Decoding, encoding and the output formats (data-model.md 1.1 to 1.4, 10.1 to 10.5)."""

import math
import struct

import orjson
import pytest

from concave.values import order
from concave.values.codec import decode, decode_json, encode, encode_json, format_json, to_format
from concave.values.errors import ClientError, DeveloperError
from concave.values.types import UNSET, Int64

NAN_WITH_PAYLOAD = struct.unpack("<d", bytes.fromhex("230100000000f87f"))[0]

GOLDEN = [
    (Int64(-1), b'{"$integer":"//////////8="}'),
    (Int64(2**63 - 1), b'{"$integer":"/////////38="}'),
    (Int64(-(2**63)), b'{"$integer":"AAAAAAAAAIA="}'),
    (math.inf, b'{"$float":"AAAAAAAA8H8="}'),
    (-math.inf, b'{"$float":"AAAAAAAA8P8="}'),
    (-0.0, b'{"$float":"AAAAAAAAAIA="}'),
    (math.nan, b'{"$float":"AAAAAAAA+H8="}'),
    (NAN_WITH_PAYLOAD, b'{"$float":"IwEAAAAA+H8="}'),
    (b"\x00\xff", b'{"$bytes":"AP8="}'),
    (b"", b'{"$bytes":""}'),
    (17.0, b"17.0"),
    (0.0, b"0.0"),
    (None, b"null"),
    (True, b"true"),
    ("é\0", b'"\xc3\xa9\\u0000"'),
    ([[], {}], b"[[],{}]"),
    ({"b": 1.0, "": 2.0, "a.b": [Int64(0)]}, b'{"":2.0,"a.b":[{"$integer":"AAAAAAAAAAA="}],"b":1.0}'),
]


@pytest.mark.parametrize(("value", "text"), GOLDEN)
def test_golden_texts_both_ways(value, text):
    assert encode_json(value) == text
    assert order.values_equal(decode_json(text), value)


def test_a_plain_integer_is_written_as_the_float_it_stands_for():
    assert encode_json([17, {"a": 1}, 2**60]) == b'[17.0,{"a":1.0},1.152921504606847e18]' or orjson.loads(
        encode_json([17, {"a": 1}, 2**60])
    ) == [17.0, {"a": 1.0}, 2.0**60]
    assert encode_json(17) == b"17.0"


def test_encoding_shares_no_container_with_the_value():
    value = {"a": [1.0]}
    encoded = encode(value)
    assert encoded == value
    assert encoded["a"] is not value["a"]


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"a": [UNSET]}, "Value at path .a[0]: Unset is no Convex value"),
        ({"tags": [1.0, {3}]}, "Value at path .tags[1]: set is no Convex value"),
        (
            {"a": {"b c": "x\ud800"}},
            "Value at path .a['b c']: the string has a lone surrogate ('\\ud800' at character 1)",
        ),
        ({1: 1.0}, "the field name 1 is no string"),
    ],
)
def test_what_is_no_value_is_refused_with_its_place(value, place):
    for encoder in (encode, encode_json):
        with pytest.raises(DeveloperError) as caught:
            encoder(value)
        assert caught.value.code == "InvalidValue"
        assert place in str(caught.value)


def test_decoding_turns_integers_into_floats_and_copies_nothing_else():
    inner = ["x", None, True]
    obj = {"n": 17, "inner": inner}
    value = decode(obj)
    assert value == {"n": 17.0, "inner": inner}
    assert type(value["n"]) is float
    assert value["inner"] is inner
    plain = {"a": [1.5, "x"]}
    assert decode(plain) is plain
    assert decode_json("9007199254740993") == 9007199254740992.0
    assert decode_json(b"123456789012345678901234567890") == 1.2345678901234568e29


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("NaN", "InvalidJson", "is no valid JSON"),
        ("Infinity", "InvalidJson", "is no valid JSON"),
        ("1e999", "InvalidJson", "infinity"),
        ("[1,]", "InvalidJson", "trailing comma"),
        ('"\\ud800"', "InvalidJson", "surrogate"),
        ('{"$integer": "AAAAAAAAAAA=", "x": 1}', "InvalidFieldName", "field name '$integer' starts with `$`"),
        ('{"$foo": 1}', "InvalidFieldName", "field name '$foo' starts with `$`"),
        ('{"$set": []}', "InvalidFieldName", "'$set'"),
        ('{"$map": []}', "InvalidFieldName", "'$map'"),
        ('{"a": {"$undefined": null}}', "InvalidValue", "path .a: `$undefined` has no meaning here"),
        ('[{"$commitTs": null}]', "InvalidValue", "path [0]: `$commitTs` has no meaning here"),
        ('{"$integer": "AAAAAAAAAA=="}', "InvalidValue", "`$integer` holds 7 bytes, it must be 8"),
        ('{"$integer": 5}', "InvalidValue", "`$integer` must hold a base64 string, not 5.0"),
        ('{"$bytes": "AP8"}', "InvalidValue", "`$bytes` holds no valid base64"),
        ('{"$bytes": "A_8="}', "InvalidValue", "`$bytes` holds no valid base64"),
        ('{"$bytes": "\u00e9A=="}', "InvalidValue", "`$bytes` holds no valid base64"),
        ('{"$float": "AAAAAAAA+D8="}', "InvalidValue", "`$float` holds the ordinary number 1.5"),
        (
            '{"x": [{"\u00e9": 1}]}',
            "InvalidFieldName",
            "path .x[0]: field name 'é' has characters other than printable ASCII",
        ),
        ('{"\\u007f": 1}', "InvalidFieldName", "printable ASCII"),
        ('{"%s": 1}' % ("n" * 1025), "InvalidFieldName", "longer than 1024"),
    ],
)
def test_undecodable_texts(text, code, message):
    with pytest.raises(DeveloperError) as caught:
        decode_json(text)
    assert caught.value.code == code
    assert message in str(caught.value)


def test_odd_but_legal_texts():
    assert decode_json('{"a.b": 1, "": 2, "a b": 3}') == {"a.b": 1.0, "": 2.0, "a b": 3.0}
    assert decode_json('{"%s": 1}' % ("n" * 1024)) == {"n" * 1024: 1.0}
    assert order.values_equal(decode_json('{"$float": "AAAAAAAAAAA="}'), 0.0)
    assert decode_json('"\\u0000\\ud83d\\ude00"') == "\0\U0001f600"


def test_an_object_from_another_parser_is_checked_too():
    for obj, message in [
        (math.nan, "no JSON number"),
        (10**400, "too large"),
        ("\ud800", "lone surrogate"),
        (b"", "bytes"),
    ]:
        with pytest.raises(DeveloperError, match=message):
            decode({"a": obj}, where="Arguments")


def nested(levels):
    return "[" * levels + "]" * levels


@pytest.mark.parametrize(
    ("good", "bad", "code"),
    [
        (nested(64), nested(65), "TooNestedError"),
        (orjson.dumps([1] * 8192), orjson.dumps([1] * 8193), "ArrayTooLong"),
        (
            orjson.dumps({f"f{i}": None for i in range(1024)}),
            orjson.dumps({f"f{i}": None for i in range(1025)}),
            "TooManyFieldsError",
        ),
        (b'["%s"]' % (b"x" * (2**25 - 4)), b'["%s"]' % (b"x" * (2**25 - 3)), "ValueTooLargeError"),
    ],
)
def test_limits_at_their_value_and_one_above(good, bad, code):
    decode_json(good)
    with pytest.raises(DeveloperError) as caught:
        decode_json(bad)
    assert caught.value.code == code


def test_very_deep_json_is_refused_rather_than_overflowing_the_stack():
    with pytest.raises(DeveloperError) as caught:
        decode_json(nested(1000))
    assert caught.value.code == "TooNestedError"
    with pytest.raises(DeveloperError):
        decode_json(nested(100_000))


MIXED = {
    "i": Int64(-5),
    "f": [1.0, -0.0, math.nan, math.inf, -math.inf],
    "b": b"\x00\xff",
    "s": "x",
    "n": None,
    "t": True,
}


def test_the_clean_format_is_readable():
    assert to_format(MIXED, "json") == {
        "i": "-5",
        "f": [1.0, -0.0, "NaN", "Infinity", "-Infinity"],
        "b": "AP8=",
        "s": "x",
        "n": None,
        "t": True,
    }
    assert format_json([1, -0.0], "convex_clean_json") == b"[1.0,-0.0]"


def test_the_export_format_keeps_integers_bare():
    assert (
        format_json(MIXED, "export_json")
        == b'{"b":{"$bytes":"AP8="},"f":[1.0,-0.0,{"$float":"AAAAAAAA+H8="},{"$float":"AAAAAAAA8H8="},'
        b'{"$float":"AAAAAAAA8P8="}],"i":-5,"n":null,"s":"x","t":true}'
    )


def test_the_encoded_format_is_the_lossless_one():
    for name in ("convex_encoded_json", "convex_json"):
        assert format_json(MIXED, name) == encode_json(MIXED)
        assert to_format(MIXED, name) == encode(MIXED)


def test_an_unknown_format_is_the_clients_fault():
    with pytest.raises(ClientError, match="Unknown format 'nope': use one of") as caught:
        to_format(None, "nope")
    assert (caught.value.code, caught.value.http_status) == ("BadFormat", 400)
