"""The two types of our own: Int64 and UNSET."""

import copy

import pytest

from concave.values.types import INT64_MAX, INT64_MIN, UNSET, Int64


def test_int64_is_bounded():
    assert Int64(INT64_MAX) == 2**63 - 1
    assert Int64(str(INT64_MIN)) == -(2**63)
    for number in (INT64_MAX + 1, INT64_MIN - 1):
        with pytest.raises(ValueError, match=f"{number} does not fit in 64 bits"):
            Int64(number)


def test_int64_shows_its_type_and_keeps_it_when_copied():
    assert repr(Int64(-5)) == "Int64(-5)"
    assert type(copy.deepcopy([Int64(5)])[0]) is Int64


def test_there_is_one_unset():
    assert copy.deepcopy({"a": UNSET})["a"] is UNSET
    assert copy.copy(UNSET) is UNSET
    assert not UNSET
    assert repr(UNSET) == "UNSET"
