"""Table numbers of a database: never reused, the smallest free ones from 10,001 in name order (`data-model.md` 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

FIRST_USER_TABLE_NUMBER = 10_001


def missing_numbers(assigned: Mapping[str, int], tables: Iterable[str]) -> dict[str, int]:
    """Numbers for the user tables that have none yet. `assigned` must hold those of dropped tables, too."""
    taken = set(assigned.values())
    number = FIRST_USER_TABLE_NUMBER
    new: dict[str, int] = {}
    for table in sorted(tables):
        if table in assigned or table.startswith("_"):
            continue
        while number in taken:
            number += 1
        new[table] = number
        number += 1
    return new
