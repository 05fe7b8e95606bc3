"""The recent log answers "was anything I read changed since?" and never forgets without saying so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concave.storage.recent_log import Hit, Published, RecentLog
from concave.storage.store import DocumentWrite, IndexKeyChange
from concave.values.intervals import Interval, IntervalSet, point
from concave.values.keys import PREFIX_END, encode_column
from concave.values.types import Timestamp


def insert(table: str, id: str, channel: str) -> DocumentWrite:
    """An insert into a table with one index on `channel`."""
    by_id = (encode_column(id),)
    by_channel = (encode_column(channel), encode_column(1.0), encode_column(id))
    return DocumentWrite(
        table,
        id,
        None,
        {"_id": id, "_creationTime": 1.0, "channel": channel},
        (IndexKeyChange("by_id", None, by_id), IndexKeyChange("by_channel", None, by_channel)),
    )


def move(table: str, id: str, old: str, new: str) -> DocumentWrite:
    keys = [(encode_column(channel), encode_column(1.0), encode_column(id)) for channel in (old, new)]
    return DocumentWrite(table, id, {}, {}, (IndexKeyChange("by_channel", keys[0], keys[1]),))


def channel_reads(table: str, channel: str) -> IntervalSet:
    prefix = encode_column(channel)
    reads = IntervalSet()
    reads.add(Interval(table, "by_channel", prefix, 1, prefix, prefix + PREFIX_END))
    return reads


def points(*ids: str) -> IntervalSet:
    reads = IntervalSet()
    for id in ids:
        reads.add(point("messages", id))
    return reads


def ts(number: int) -> Timestamp:
    return Timestamp(number)


def test_a_write_in_the_range_is_a_hit_and_one_beside_it_is_not() -> None:
    log = RecentLog(ts(0))
    log.append(Published(ts(10), (insert("messages", "a", "general"),), functions=("messages:send",), is_own=True))
    hit = log.first_hit(channel_reads("messages", "general"), ts(0))
    assert hit is not None
    assert hit == Hit(ts(10), "messages", "messages:send", "a", is_own=True)
    assert log.first_hit(channel_reads("messages", "random"), ts(0)) is None
    assert log.first_hit(channel_reads("other", "general"), ts(0)) is None
    assert log.first_hit(points("a"), ts(0)) is not None
    assert log.first_hit(points("b"), ts(0)) is None


def test_only_what_came_after_counts() -> None:
    log = RecentLog(ts(0))
    log.append(Published(ts(10), (insert("messages", "a", "general"),)))
    assert log.first_hit(points("a"), ts(9)) is not None
    assert log.first_hit(points("a"), ts(10)) is None


def test_a_document_that_leaves_a_range_is_a_hit_like_one_that_enters_it() -> None:
    log = RecentLog(ts(0))
    log.append(Published(ts(10), (move("messages", "a", "general", "random"),)))
    assert log.first_hit(channel_reads("messages", "general"), ts(0)) is not None
    assert log.first_hit(channel_reads("messages", "random"), ts(0)) is not None


def test_a_whole_table_and_a_loss_of_history() -> None:
    log = RecentLog(ts(0))
    log.append(Published(ts(10), tables=frozenset({"messages"}), is_foreign=True))
    assert log.first_hit(points("zzz"), ts(5)) is not None
    assert log.first_hit(channel_reads("other", "x"), ts(5)) is None
    log.append(Published(ts(20), everything=True))
    assert log.floor == 20
    assert log.first_hit(channel_reads("other", "x"), ts(19)) is not None
    assert log.first_hit(channel_reads("other", "x"), ts(20)) is None


def test_an_empty_read_set_is_never_hit() -> None:
    log = RecentLog(ts(0))
    log.append(Published(ts(10), (insert("messages", "a", "general"),)))
    assert log.first_hit(IntervalSet(), ts(0)) is None


def test_what_was_forgotten_counts_as_a_hit() -> None:
    log = RecentLog(ts(0), commits_max=4)
    for number in range(1, 9):
        log.append(Published(ts(number), (insert("messages", str(number), "general"),)))
    assert log.floor == 4
    assert log.first_hit(points("nobody"), ts(3)) is not None
    assert log.first_hit(points("nobody"), ts(4)) is None
    assert log.first_hit(points("5"), ts(4)) is not None


def test_timestamps_may_not_go_back() -> None:
    log = RecentLog(ts(0))
    log.append(Published(ts(10)))
    with pytest.raises(AssertionError):
        log.append(Published(ts(9)))


channels = st.sampled_from(["a", "b", "c"])


@given(
    commits=st.lists(st.tuples(st.sampled_from("pqrs"), channels), max_size=30),
    reads=st.lists(channels, max_size=3),
    after=st.integers(0, 30),
)
def test_agrees_with_a_plain_scan(commits: list[tuple[str, str]], reads: list[str], after: int) -> None:
    log = RecentLog(ts(0))
    for number, (id, channel) in enumerate(commits, start=1):
        log.append(Published(ts(number), (insert("messages", id, channel),)))
    read_set = IntervalSet()
    for channel in reads:
        read_set.update(channel_reads("messages", channel))
    expected = next((n for n, (_, channel) in enumerate(commits, start=1) if n > after and channel in reads), None)
    hit = log.first_hit(read_set, ts(after))
    assert (hit.ts if hit else None) == expected
