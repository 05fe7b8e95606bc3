"""The tables that every deployment has, and the numbers of all system tables (`data-model.md` 3.2, 3.5)."""

from __future__ import annotations

from typing import Final

from concave.schema.definition import TableDefinition, define_table
from concave.schema.validators import v

SYSTEM_TABLE_NUMBERS: Final = {
    "_tables": 513,
    "_index": 514,
    "_schemas": 532,
    "_scheduled_functions": 539,
    "_storage": 540,
}
"""Numbers that ids may carry. Of these tables users see the ones in `SYSTEM_TABLES`; the others are hidden."""

_SCHEDULED_STATE: Final = v.union(
    v.object(kind=v.literal("pending")),
    v.object(kind=v.literal("inProgress")),
    v.object(kind=v.literal("success")),
    v.object(kind=v.literal("failed"), error=v.string()),
    v.object(kind=v.literal("canceled")),
)

SYSTEM_TABLES: Final[dict[str, TableDefinition]] = {
    "_scheduled_functions": define_table(
        name=v.string(),
        args=v.array(v.any()),
        scheduledTime=v.number(),
        completedTime=v.optional(v.number()),
        state=_SCHEDULED_STATE,
    ),
    "_storage": define_table(
        sha256=v.string(),
        size=v.number(),
        contentType=v.optional(v.string()),
    ),
}
"""`by_id` and `by_creation_time` are their only indexes."""

for _name, _table in SYSTEM_TABLES.items():
    _table.bind(_name)
