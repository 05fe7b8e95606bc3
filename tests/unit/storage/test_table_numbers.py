"""Numbers of tables: smallest free, in name order, never reused, none for system tables."""

from __future__ import annotations

from concave.storage.table_numbers import missing_numbers


def test_numbers_are_given_in_name_order_from_10001() -> None:
    assert missing_numbers({}, ["b", "a", "_storage"]) == {"a": 10_001, "b": 10_002}


def test_numbers_of_dropped_tables_stay_taken_and_gaps_are_filled() -> None:
    assert missing_numbers({"dropped": 10_001, "kept": 10_003}, ["kept", "y", "x"]) == {"x": 10_002, "y": 10_004}


def test_nothing_is_missing_when_all_have_numbers() -> None:
    assert missing_numbers({"a": 10_001}, ["a"]) == {}
