"""Document ids: the vectors of data-model.md 3.1 both ways, and strictness."""

import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concave.values.ids import Id, IdOf, decode_id, encode_id, new_id, table_of_annotation
from concave.values.runtime import SystemRuntime

COUNTING = bytes(range(16))

VECTORS = [
    (10001, COUNTING, "j57000820c20a1g7104gm2rc1m70ynr8"),
    (540, COUNTING, "kg2000820c20a1g7104gm2rc1m70y674"),
    (539, COUNTING, "kc2000820c20a1g7104gm2rc1m70y5yj"),
    (10001, bytes(16), "j5700000000000000000000000001qv0"),
    (1, bytes(16), "0400000000000000000000000000248"),
    (2**32 - 1, b"\xff" * 16, "zzzzzzrfzzzzzzzzzzzzzzzzzzzzzzzzzzxjj"),
]


@pytest.mark.parametrize(("number", "internal", "text"), VECTORS)
def test_vectors(number, internal, text):
    assert encode_id(number, internal) == text
    assert decode_id(text) == (number, internal)


@given(st.one_of(st.integers(1, 2**32 - 1), st.integers(1, 20_000)), st.binary(min_size=16, max_size=16))
def test_round_trip(number, internal):
    assert decode_id(encode_id(number, internal)) == (number, internal)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16))
def test_text_order_is_byte_order_within_a_table(a, b):
    assert (encode_id(10001, a) < encode_id(10001, b)) == (a < b)


GOOD = VECTORS[0][2]


@given(st.integers(0, 31), st.sampled_from("0123456789abcdefghjkmnpqrstvwxyz"))
def test_one_wrong_character_is_always_found_or_gives_another_id(position, character):
    text = GOOD[:position] + character + GOOD[position + 1 :]
    try:
        number, internal = decode_id(text)
    except ValueError:
        return
    assert encode_id(number, internal) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        GOOD[:-1],
        GOOD + "0",
        GOOD.upper(),
        GOOD[:-1] + "9",
        "i" + GOOD[1:],
        " " + GOOD[1:],
        "+" + GOOD[1:],
        GOOD[:4] + "_" + GOOD[5:],
        "é" + GOOD[1:],
        "0" * 32,
        "0" * 31,
        "z" * 37,
        "z" * 38,
        # Stray bits after the checksum.
        "0400000000000000000000000000249",
    ],
)
def test_strictness(text):
    with pytest.raises(ValueError, match="is no id"):
        decode_id(text)


def test_a_table_number_with_a_needless_byte_is_refused():
    # 81 00 is another way to write 1.
    head = b"\x81\x00" + bytes(16)
    low, high = sum(head) & 255, sum((len(head) - i) * byte for i, byte in enumerate(head)) & 255
    number = int.from_bytes(head + bytes((low, high)), "big")
    text = "".join("0123456789abcdefghjkmnpqrstvwxyz"[number >> shift & 31] for shift in range(155, -1, -5))
    with pytest.raises(ValueError, match="table number is not valid"):
        decode_id(text)


def test_bad_parts_are_refused():
    with pytest.raises(ValueError, match="between 1 and 4294967295, not 0"):
        encode_id(0, bytes(16))
    with pytest.raises(ValueError, match="not 4294967296"):
        encode_id(2**32, bytes(16))
    with pytest.raises(ValueError, match="has 16 bytes, not 15"):
        encode_id(1, bytes(15))


class Clock(SystemRuntime):
    def now_ms(self):
        return 20_000.5 * 86_400_000


def test_new_ids_are_distinct_and_end_with_the_day():
    ids = {new_id(10001, Clock()) for _ in range(1000)}
    assert len(ids) == 1000
    for text in ids:
        assert text.startswith("j5")
        number, internal = decode_id(text)
        assert number == 10001
        assert internal[14:] == (20_000).to_bytes(2, "big")


def test_the_annotation_works_with_typing():
    def function(a: Id["channels"], b: Id["users"] | None, c: "list[Id['users']]") -> None: ...

    hints = typing.get_type_hints(function, include_extras=True)
    assert table_of_annotation(hints["a"]) == "channels"
    assert [table_of_annotation(member) for member in typing.get_args(hints["b"])] == ["users", None]
    assert table_of_annotation(typing.get_args(hints["c"])[0]) == "users"
    assert typing.get_type_hints(function)["a"] is str
    assert table_of_annotation(str) is None
    assert repr(IdOf("users")) == 'Id["users"]'
    assert hash(IdOf("users")) == hash(IdOf("users"))
    with pytest.raises(TypeError, match="Id takes the name of a table"):
        Id[str]
