"""Read sets and the interval index, against lists that are searched from end to end."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from concave.values.intervals import Interval, IntervalIndex, IntervalSet, point, whole_table
from concave.values.keys import PREFIX_END, encode_column, key_bytes, successor

TABLES = st.sampled_from(["messages", "users"])
NUMBERS = st.integers(0, 5).map(lambda number: encode_column(float(number)))


@st.composite
def keys(draw):
    return tuple(draw(st.lists(NUMBERS, min_size=3, max_size=3)))


@st.composite
def intervals(draw, tables=TABLES):
    """What queries produce: equality columns, then perhaps bounds on the next one, or a bound at a full key."""
    depth = draw(st.integers(0, 3))
    prefix = key_bytes(tuple(draw(st.lists(NUMBERS, min_size=depth, max_size=depth))))
    low, high = prefix, prefix + PREFIX_END
    if depth < 3:
        bound = draw(NUMBERS)
        low = draw(st.sampled_from([low, prefix + bound, prefix + bound + PREFIX_END]))
        bound = draw(NUMBERS)
        high = draw(st.sampled_from([high, prefix + bound, prefix + bound + PREFIX_END]))
        rest = draw(st.lists(NUMBERS, min_size=3 - depth, max_size=3 - depth))
        full = prefix + key_bytes(tuple(rest))
        low = draw(st.sampled_from([low, full, successor(full)]))
        high = draw(st.sampled_from([high, full, successor(full)]))
    return Interval(draw(tables), draw(st.sampled_from(["by_a", "by_b"])), prefix, depth, low, high)


def holds(interval, table, index, key):
    return (interval.table, interval.index) == (table, index) and interval.low <= key < interval.high


def touches(a, b):
    return (a.table, a.index) == (b.table, b.index) and a.low <= b.high and b.low <= a.high


@given(st.lists(intervals(), max_size=12), st.lists(keys(), min_size=1, max_size=8))
@settings(max_examples=300)
def test_a_set_contains_what_its_intervals_contain(added, probes):
    read_set = IntervalSet()
    for interval in added:
        read_set.add(interval)
    for table in ("messages", "users"):
        for index in ("by_a", "by_b"):
            for key in map(key_bytes, probes):
                for probe in (key, successor(key)):
                    expected = any(holds(interval, table, index, probe) for interval in added)
                    assert read_set.contains(table, index, probe) == expected


@given(st.lists(intervals(), max_size=12))
@settings(max_examples=300)
def test_a_set_is_merged_sorted_and_honest_about_prefixes(added):
    read_set = IntervalSet()
    for interval in added:
        read_set.add(interval)
    held = list(read_set)
    assert len(read_set) == len(held)
    for position, interval in enumerate(held):
        assert interval.prefix <= interval.low < interval.high <= interval.prefix + PREFIX_END
        assert not any(touches(interval, other) for other in held[position + 1 :])
    assert read_set.tables() == {interval.table for interval in added if interval.low < interval.high}


@given(st.lists(intervals(), max_size=8), st.lists(intervals(), max_size=8))
def test_updating_is_adding_one_by_one(first, second):
    one_by_one, left, right = IntervalSet(), IntervalSet(), IntervalSet()
    for interval in first:
        left.add(interval)
        one_by_one.add(interval)
    for interval in second:
        right.add(interval)
        one_by_one.add(interval)
    before = list(right)
    left.update(right)
    assert len(left) == len(one_by_one)
    assert {(i.table, i.index, i.low, i.high) for i in left} == {(i.table, i.index, i.low, i.high) for i in one_by_one}
    left.add(whole_table("messages"))
    assert list(right) == before


def test_many_gets_of_one_document_are_one_interval():
    read_set = IntervalSet()
    for _ in range(5000):
        read_set.add(point("users", "j57000820c20a1g7104gm2rc1m70ynr8"))
    assert len(read_set) == 1
    for number in range(5000):
        read_set.add(point("users", f"id{number}"))
    assert len(read_set) == 5001
    assert read_set.contains("users", "by_id", encode_column("id77"))
    assert not read_set.contains("users", "by_id", encode_column("id5000"))
    assert not read_set.contains("users", "by_id", encode_column("id77\0"))


def test_a_point_and_a_whole_table():
    interval = point("users", "x")
    assert interval == Interval("users", "by_id", b"\x10x\0", 1, b"\x10x\0", b"\x10x\0\xff")
    everything = IntervalSet()
    everything.add(whole_table("users"))
    assert everything.contains("users", "by_creation_time", encode_column(1.0) + encode_column("x"))
    assert not everything.contains("messages", "by_creation_time", encode_column(1.0) + encode_column("x"))
    assert repr(everything).startswith("IntervalSet([Interval(table='users'")


def test_intervals_of_unrelated_prefixes_that_touch_claim_no_prefix():
    read_set = IntervalSet()
    read_set.add(Interval("t", "i", b"a", 1, b"a", b"b"))
    read_set.add(Interval("t", "i", b"b", 1, b"b", b"b\xff"))
    assert list(read_set) == [Interval("t", "i", b"", 0, b"a", b"b\xff")]


class IndexAgainstList(RuleBasedStateMachine):
    """Adding, removing and looking up in any order gives what a list of pairs gives."""

    def __init__(self):
        super().__init__()
        self.index = IntervalIndex()
        self.pairs = set()

    @rule(interval=intervals(), owner=st.integers(0, 6))
    def add(self, interval, owner):
        self.index.add(interval, owner)
        if interval.low < interval.high:
            self.pairs.add((interval, owner))

    @rule(data=st.data(), owner=st.integers(0, 6))
    def remove(self, data, owner):
        if self.pairs:
            interval, its_owner = data.draw(st.sampled_from(sorted(self.pairs, key=repr)))
            owner = data.draw(st.sampled_from([owner, its_owner, its_owner]))
            self.index.remove(interval, owner)
            self.pairs.discard((interval, owner))

    @rule(interval=intervals(), owner=st.integers(0, 6))
    def remove_what_is_perhaps_not_there(self, interval, owner):
        self.index.remove(interval, owner)
        self.pairs.discard((interval, owner))

    @rule(table=TABLES, index=st.sampled_from(["by_a", "by_b"]), key=keys())
    def look_up(self, table, index, key):
        expected = {owner for interval, owner in self.pairs if holds(interval, table, index, key_bytes(key))}
        assert self.index.hits(table, index, key) == expected

    @invariant()
    def counts(self):
        assert len(self.index) == len(self.pairs)
        for table in ("messages", "users"):
            assert self.index.table_owners(table) == {
                owner for interval, owner in self.pairs if interval.table == table
            }


TestIndexAgainstList = IndexAgainstList.TestCase
TestIndexAgainstList.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=20, max_size=150), st.data())
@settings(max_examples=60, deadline=None)
def test_many_ranges_of_one_group(ranges, data):
    """Deeper trees than the state machine builds; half of the ranges are removed again."""
    index = IntervalIndex()
    held = {}
    for owner, (low, high) in enumerate(ranges):
        interval = Interval("t", "i", b"", 0, encode_column(float(low)), encode_column(float(high)))
        index.add(interval, owner)
        if low < high:
            held[owner] = interval
    for owner in data.draw(st.sets(st.sampled_from(sorted(held)))) if held else ():
        index.remove(held.pop(owner), owner)
    for probe in data.draw(st.lists(st.integers(0, 300), min_size=5, max_size=10)):
        key = (encode_column(float(probe)),)
        expected = {owner for owner, interval in held.items() if interval.low <= key[0] < interval.high}
        assert index.hits("t", "i", key) == expected
    assert len(index) == len(held)


def test_owners_may_be_sets_themselves():
    index = IntervalIndex()
    interval = whole_table("t")
    key = (encode_column(1.0), encode_column("x"))
    index.add(interval, frozenset({1}))
    assert index.hits("t", "by_creation_time", key) == {frozenset({1})}
    index.add(interval, frozenset({2}))
    index.remove(interval, frozenset({1}))
    assert index.hits("t", "by_creation_time", key) == {frozenset({2})}
    index.remove(interval, frozenset({2}))
    assert (len(index), index.table_owners("t")) == (0, set())


@pytest.mark.parametrize("count", [1_000, 16_000])
def test_a_stab_does_not_visit_the_whole_group(count):
    """The cost is counted in comparisons of keys, which do not depend on the machine."""

    class Counted(bytes):
        compared = 0

        def __le__(self, other):
            Counted.compared += 1
            return bytes.__le__(self, other)

        def __lt__(self, other):
            Counted.compared += 1
            return bytes.__lt__(self, other)

        def __ge__(self, other):
            Counted.compared += 1
            return bytes.__ge__(self, other)

        def __gt__(self, other):
            Counted.compared += 1
            return bytes.__gt__(self, other)

    from concave.values.stabbing import RangeTree

    tree = RangeTree()
    for number in range(count):
        tree.add(encode_column(float(number)), encode_column(float(number + 3)), number)
    found = set()
    tree.stab(Counted(encode_column(float(count // 2))), found)
    assert found == {count // 2, count // 2 - 1, count // 2 - 2}
    assert Counted.compared < 400
