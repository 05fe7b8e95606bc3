"""Upstream's numbers, and that nobody changes them at run time."""

import dataclasses

import pytest

from concave.values.limits import DEFAULT_LIMITS, Limits


def test_defaults_are_upstreams():
    assert DEFAULT_LIMITS.documents_read_max == 32_000
    assert DEFAULT_LIMITS.bytes_read_max == DEFAULT_LIMITS.bytes_written_max == 16 * 1024 * 1024
    assert DEFAULT_LIMITS.index_ranges_max == 4_096
    assert DEFAULT_LIMITS.documents_written_max == 16_000
    assert DEFAULT_LIMITS.conflict_retries_max == 4


def test_limits_are_set_once():
    small = Limits(documents_read_max=3)
    assert small.documents_read_max == 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        small.documents_read_max = 4
