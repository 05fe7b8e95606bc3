"""Cluster times as integers, and their wire form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concave.values.timestamps import from_cluster, to_cluster, ts_from_wire, ts_to_wire
from concave.values.types import Timestamp

CLUSTER_TIMES = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 10**9 - 1))


@given(CLUSTER_TIMES)
def test_round_trips(time):
    ts = from_cluster(*time)
    assert to_cluster(ts) == time
    assert ts_from_wire(ts_to_wire(ts)) == ts


@given(CLUSTER_TIMES, CLUSTER_TIMES)
def test_the_order_is_kept(a, b):
    assert (from_cluster(*a) < from_cluster(*b)) == (a < b)


def test_the_wire_form_is_little_endian():
    assert ts_to_wire(Timestamp(1)) == "AQAAAAAAAAA="
    assert ts_to_wire(Timestamp(0)) == "AAAAAAAAAAA="


@pytest.mark.parametrize("text", ["", "AQAAAAAAAA==", "AQAAAAAAAAA", "!", "é", "AQAAAAAAAAAAAA=="])
def test_bad_wire_forms(text):
    with pytest.raises(ValueError, match="is no timestamp"):
        ts_from_wire(text)
