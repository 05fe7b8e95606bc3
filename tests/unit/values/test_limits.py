"""Upstream's numbers, and that nobody changes them at run time."""

import dataclasses

import pytest

from concave.values.errors import ConfigurationError
from concave.values.limits import DEFAULT_LIMITS, Limits, parse_limits


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


def test_a_deployment_sets_what_it_likes_to():
    limits = parse_limits("documents_read_max=64000, user_time_s_max=2.5")
    assert limits == dataclasses.replace(DEFAULT_LIMITS, documents_read_max=64_000, user_time_s_max=2.5)
    assert parse_limits("") == DEFAULT_LIMITS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("documents_read=1", "there is no limit 'documents_read'; did you mean documents_read_max?"),
        ("zzz=1", "there is no limit 'zzz'. The limits are: args_bytes_max, "),
        ("documents_read_max", "documents_read_max must be a whole number of 0 or more, not ''"),
        ("documents_read_max=1.5", "must be a whole number of 0 or more, not '1.5'"),
        ("user_time_s_max=-1", "must be a number of 0 or more, not '-1'"),
        ("user_time_s_max=nan", "must be a number of 0 or more, not 'nan'"),
        ("array_elements_max=9", "array_elements_max is a limit of the format itself and cannot be changed"),
    ],
)
def test_settings_that_make_no_sense_are_refused(text, said):
    with pytest.raises(ConfigurationError) as raised:
        parse_limits(text)
    assert said in raised.value.message
