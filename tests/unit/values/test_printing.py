"""How values look in messages (data-model.md 1.7)."""

import math

import pytest

from concave.values.codec import describe
from concave.values.types import UNSET, Int64


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (UNSET, "undefined"),
        (Int64(5), "5"),
        (5.0, "5.0"),
        (5, "5.0"),
        (-0.0, "-0.0"),
        (math.nan, "NaN"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (True, "true"),
        ('say "é"\n', '"say \\"é\\"\\n"'),
        (b"\x00\xff", 'b"AP8="'),
        ([1.0, "a"], '[1.0, "a"]'),
        ({"b": [], "a": {}}, "{a: {}, b: []}"),
    ],
)
def test_printing(value, text):
    assert describe(value) == text


def test_a_lone_surrogate_can_be_printed():
    assert describe("x\ud800") == '"x\\\\ud800"'
