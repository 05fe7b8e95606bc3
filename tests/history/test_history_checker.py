"""The checker on histories made by hand, one for each anomaly, and on histories that have none."""

from __future__ import annotations

import itertools
from random import Random

from history_checker import Append, Outcome, Read, Transaction, check, from_registers


def kinds(*history: Transaction) -> list[str]:
    return [anomaly.kind for anomaly in check(history)]


def transaction(name: str, *operations: Append | Read, outcome: Outcome = Outcome.COMMITTED) -> Transaction:
    return Transaction(name, operations, outcome)


def test_nothing_is_wrong_with_a_serial_history() -> None:
    random = Random(1)
    for _ in range(50):
        lists: dict[str, tuple[int, ...]] = {}
        numbers = itertools.count(1)
        history = []
        for number in range(40):
            operations: list[Append | Read] = []
            for _ in range(random.randint(1, 4)):
                key = random.choice("xyz")
                if random.random() < 0.5:
                    operations.append(Read(key, lists.get(key, ())))
                else:
                    value = next(numbers)
                    lists[key] = (*lists.get(key, ()), value)
                    operations.append(Append(key, value))
            history.append(transaction(f"T{number}", *operations))
        random.shuffle(history)
        assert check(history) == []


def test_g0_two_that_overwrite_each_other() -> None:
    assert kinds(
        transaction("T1", Append("x", 1), Append("y", 1)),
        transaction("T2", Append("x", 2), Append("y", 2)),
        transaction("T3", Read("x", (1, 2))),
        transaction("T4", Read("y", (2, 1))),
    ) == ["G0"]


def test_g1a_a_read_of_what_failed() -> None:
    failed = transaction("T1", Append("x", 1), outcome=Outcome.FAILED)
    assert kinds(failed, transaction("T2", Read("x", (1,)))) == ["G1a"]
    assert kinds(transaction("T2", Read("x", (7,)))) == ["G1a"]


def test_g1b_a_read_of_what_was_not_final() -> None:
    assert kinds(
        transaction("T1", Append("x", 1), Append("x", 2)),
        transaction("T2", Read("x", (1,))),
        transaction("T3", Read("x", (1, 2))),
    ) == ["G1b"]


def test_g1c_two_that_see_each_other() -> None:
    assert kinds(
        transaction("T1", Append("x", 1), Read("y", (2,))),
        transaction("T2", Append("y", 2), Read("x", (1,))),
    ) == ["G1c"]


def test_g_single_a_lost_update() -> None:
    assert kinds(
        transaction("T1", Read("x", ()), Append("x", 1)),
        transaction("T2", Read("x", ()), Append("x", 2)),
        transaction("T3", Read("x", (1, 2))),
    ) == ["G-single"]


def test_g_single_a_snapshot_of_two_times() -> None:
    assert kinds(
        transaction("T1", Append("x", 1), Append("y", 1)),
        transaction("T2", Read("x", (1,)), Read("y", ())),
        transaction("T3", Read("y", (1,))),
    ) == ["G-single"]


def test_g2_write_skew() -> None:
    assert kinds(
        transaction("T1", Read("x", ()), Append("y", 1)),
        transaction("T2", Read("y", ()), Append("x", 2)),
        transaction("T3", Read("x", (2,)), Read("y", (1,))),
    ) == ["G2"]


def test_g2_write_skew_that_nobody_has_looked_at() -> None:
    assert kinds(
        transaction("T1", Read("x", ()), Append("y", 1)),
        transaction("T2", Read("y", ()), Append("x", 2)),
    ) == ["G2"]


def test_g2_the_read_only_anomaly() -> None:
    """Without T3, the reader, the other two are serializable (Fekete, O'Neil and O'Neil, 2004)."""
    withdraw = transaction("T1", Read("x", ()), Read("y", ()), Append("x", 1))
    deposit = transaction("T2", Append("y", 2))
    reader = transaction("T3", Read("x", ()), Read("y", (2,)))
    assert kinds(withdraw, deposit) == []
    assert kinds(withdraw, deposit, reader) == ["G2"]


def test_reads_that_contradict_each_other() -> None:
    writes = transaction("T1", Append("x", 1)), transaction("T2", Append("x", 2))
    assert kinds(*writes, transaction("T3", Read("x", (1, 2))), transaction("T4", Read("x", (2, 1)))) == ["order"]
    assert kinds(transaction("T1", Append("x", 1), Read("x", ()))) == ["internal"]


def test_an_unknown_outcome_counts_once_it_was_seen() -> None:
    unknown = transaction("T1", Read("x", ()), Append("y", 1), outcome=Outcome.UNKNOWN)
    other = transaction("T2", Read("y", ()), Append("x", 2))
    assert kinds(unknown, other) == []
    assert kinds(unknown, other, transaction("T3", Read("x", (2,)), Read("y", (1,)))) == ["G2"]


def test_registers() -> None:
    committed = Outcome.COMMITTED
    serial = [
        ("T1", [("read", "x", 0), ("write", "x", 1)], committed),
        ("T2", [("read", "x", 1), ("write", "x", 2)], committed),
        ("T3", [("read", "x", 2)], committed),
    ]
    assert check(from_registers(serial)) == []
    lost = [
        ("T1", [("read", "x", 0), ("write", "x", 1)], committed),
        ("T2", [("read", "x", 0), ("write", "x", 2)], committed),
        ("T3", [("read", "x", 2)], committed),
    ]
    assert [anomaly.kind for anomaly in check(from_registers(lost))] == ["G-single"]
    skew = [
        ("T1", [("read", "x", 0), ("read", "y", 0), ("write", "y", 1)], committed),
        ("T2", [("read", "y", 0), ("read", "x", 0), ("write", "x", 2)], committed),
    ]
    assert [anomaly.kind for anomaly in check(from_registers(skew))] == ["G2"]
