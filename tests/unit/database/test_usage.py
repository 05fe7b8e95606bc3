"""Limits: counted exactly, at the value and one above, with upstream's codes and sentences (data-model.md 7.5)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concave.database.usage import Usage
from concave.values.errors import DeveloperError
from concave.values.limits import DEFAULT_LIMITS, Limits
from concave.values.sizes import size
from concave.values.types import Int64

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), FINITE, st.integers(-(2**63), 2**63 - 1).map(Int64), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text("ab c", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(st.lists(st.dictionaries(st.text("abc", max_size=3), VALUES, max_size=5), max_size=4), max_size=4))
def test_bytes_read_are_exact(batches: list[list[dict[str, Any]]]) -> None:
    usage = Usage(DEFAULT_LIMITS)
    for batch in batches:
        usage.count_read(batch)
    assert usage.bytes_read == sum(size(document) for batch in batches for document in batch)
    assert usage.documents_read == sum(map(len, batches))


@given(st.lists(st.dictionaries(st.text("abc", max_size=3), VALUES, max_size=5), min_size=1, max_size=6))
def test_the_bytes_limit_is_exact(documents: list[dict[str, Any]]) -> None:
    total = sum(map(size, documents))
    Usage(Limits(bytes_read_max=total)).count_read(documents)
    usage = Usage(Limits(bytes_read_max=total - 1))
    for document in documents[:-1]:
        usage.count_read([document])
    assert code_of(usage.count_read, documents[-1:]) == "TooManyBytesRead"
    assert usage.bytes_read == total


def code_of(call: Any, *arguments: Any) -> str:
    with pytest.raises(DeveloperError) as caught:
        call(*arguments)
    return caught.value.code


def test_each_limit_at_its_value_and_one_above() -> None:
    limits = Limits(
        documents_read_max=2,
        index_ranges_max=2,
        documents_written_max=2,
        bytes_written_max=100,
        scheduled_functions_max=2,
        scheduled_args_bytes_max=100,
    )
    usage = Usage(limits)
    usage.count_read([{}, {}])
    assert code_of(usage.count_read, [{}]) == "TooManyDocumentsRead"
    usage.count_queries(2)
    assert code_of(usage.count_queries, 1) == "TooManyReads"
    usage.count_write(0)
    usage.count_write(100)
    assert code_of(usage.count_write, 0) == "TooManyWrites"
    usage = Usage(limits)
    assert code_of(usage.count_write, 101) == "TooManyBytesWritten"
    usage.count_scheduled(50)
    usage.count_scheduled(50)
    assert code_of(usage.count_scheduled, 0) == "TooManyFunctionsScheduled"
    usage = Usage(limits)
    assert code_of(usage.count_scheduled, 101) == "ScheduledFunctionsArgumentsTooLarge"


def test_sentences_are_upstreams() -> None:
    usage = Usage(Limits(documents_read_max=0, bytes_written_max=0))
    with pytest.raises(DeveloperError) as caught:
        usage.count_read([{}])
    assert str(caught.value).startswith(
        "Too many documents read in a single function execution (limit: 0). Consider using smaller limits"
    )
    with pytest.raises(DeveloperError) as caught:
        usage.count_write(1)
    assert "Too many bytes written in a single function execution (limit: 0 bytes). " in str(caught.value)


def test_metrics_tell_used_and_remaining() -> None:
    usage = Usage(DEFAULT_LIMITS)
    usage.count_read([{"a": 1.0}])
    usage.count_queries(3)
    metrics = usage.metrics()
    assert set(metrics) == {
        "bytesRead",
        "bytesWritten",
        "databaseQueries",
        "documentsRead",
        "documentsWritten",
        "functionsScheduled",
        "scheduledFunctionArgsBytes",
    }
    assert metrics["bytesRead"] == {"used": 13.0, "remaining": 16 * 2**20 - 13.0}
    assert metrics["databaseQueries"] == {"used": 3.0, "remaining": 4093.0}


def test_warnings_from_four_fifths_on() -> None:
    usage = Usage(Limits(documents_read_max=10))
    usage.count_read([{}] * 8)
    assert usage.warnings() == []
    usage.count_read([{}])
    (warning,) = usage.warnings()
    assert warning.code == "warning:TooManyDocumentsRead"
    assert warning.text.startswith("Many documents read in a single function execution (actual: 9, limit: 10).")


def test_a_nested_calls_allowance_is_on_top_of_what_was_used_and_never_above_the_callers() -> None:
    usage = Usage(Limits(documents_read_max=10))
    usage.count_read([{}] * 4)
    before = usage.lower({"documentsRead": 2.0})
    usage.count_read([{}] * 2)
    assert code_of(usage.count_read, [{}]) == "TooManyDocumentsRead"
    inner = usage.lower({"documentsRead": 100.0})
    assert usage.metrics()["documentsRead"]["remaining"] == 0
    usage.restore(inner)
    usage.restore(before)
    usage.count_read([{}] * 3)
    assert code_of(usage.count_read, [{}]) == "TooManyDocumentsRead"
    assert code_of(usage.lower, {"documents": 1}) == "InvalidArgument"
    assert code_of(usage.lower, {"documentsRead": -1}) == "InvalidArgument"
