"""What a database lacks for a plan, what it has otherwise, and what it has besides. A pure comparison.

`DatabaseState` is filled in by the storage; nothing here talks to a database. The differ only reports: what is merely
in the database is never removed by a push.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from concave.schema.plan import MongoIndex, Plan, TablePlan
from concave.schema.validators import Json
from concave.values.names import is_identifier, is_system_name

_MONGO_ID_INDEX: Final = "_id_"


@dataclass(frozen=True, slots=True)
class IndexState:
    """An index as the database has it. `partial` is its partialFilterExpression."""

    keys: tuple[tuple[str, int], ...]
    unique: bool = False
    partial: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class CollectionState:
    """A collection as the database has it. `validator` is the collection's option as the server returns it; if it is
    not `enforced`, documents that break it are let in. `pre_images`: the change stream has old versions."""

    indexes: dict[str, IndexState]
    validator: dict[str, Any] | None = None
    enforced: bool = True
    pre_images: bool = False


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """A database as it is. `tables`: the numbers of all tables that ever had one. `schema_hash`: the fingerprint of the
    plan that was pushed last, None before the first push."""

    collections: dict[str, CollectionState]
    tables: dict[str, int]
    schema_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `index` is what the plan wants, for kind `index`; `detail` says more for people."""

    kind: Literal["table", "index", "validator", "pre-images"]
    table: str
    name: str | None = None
    detail: str = ""
    index: MongoIndex | None = None

    def __str__(self) -> str:
        what = f"{self.kind} {self.table}" + (f".{self.name}" if self.name is not None else "")
        return f"{what} ({self.detail})" if self.detail else what

    def to_json(self) -> Json:
        return {"kind": self.kind, "table": self.table, "name": self.name, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class PlanDiff:
    """The differences, each list by table. A new table is one `table` entry and one `index` entry for each index.

    `fingerprint_changed`: the schema text differs from the last push, even if the database needs nothing for it.
    """

    creates: tuple[Change, ...]
    changes: tuple[Change, ...]
    extras: tuple[Change, ...]
    fingerprint_changed: bool

    @property
    def is_empty(self) -> bool:
        """Whether a push has nothing to do. What is only in the database does not count."""
        return not self.creates and not self.changes and not self.fingerprint_changed

    def summary_lines(self) -> list[str]:
        """For people, one difference a line, `+`, `~` or `-` in front."""
        lines = [f"+ {change}" for change in self.creates]
        lines += [f"~ {change}" for change in self.changes]
        lines += [f"- {change}, only in the database" for change in self.extras]
        return lines or ["the database fits the schema"]

    def __str__(self) -> str:
        return "\n".join(self.summary_lines())

    def to_json(self) -> Json:
        return {
            "creates": [change.to_json() for change in self.creates],
            "changes": [change.to_json() for change in self.changes],
            "extras": [change.to_json() for change in self.extras],
            "fingerprintChanged": self.fingerprint_changed,
        }


def diff(plan: Plan, state: DatabaseState) -> PlanDiff:
    """Compare a plan with a database."""
    creates: list[Change] = []
    changes: list[Change] = []
    extras: list[Change] = []
    for name in sorted(plan.tables):
        table = plan.tables[name]
        collection = state.collections.get(name)
        if collection is None:
            creates.append(Change("table", name))
            collection = CollectionState({}, table.mongo_validator, pre_images=table.pre_images)
        elif collection.validator != table.mongo_validator or not collection.enforced:
            changes.append(Change("validator", name, detail=_validator_detail(collection)))
        if table.pre_images and not collection.pre_images:
            changes.append(Change("pre-images", name, detail="foreign updates invalidate the whole table now"))
        for index in table.mongo_indexes:
            held = collection.indexes.get(index.name)
            if held is None:
                creates.append(Change("index", name, index.name, _index_detail(index), index))
            elif held != IndexState(index.keys, index.unique, index.partial):
                detail = f"{_index_detail(index)}; now {_index_detail(held)}"
                changes.append(Change("index", name, index.name, detail, index))
        extras += _extra_indexes(name, table, collection)
        if collection.pre_images and not table.pre_images:
            extras.append(Change("pre-images", name))
    extras += [
        Change("table", name)
        for name in sorted(state.collections)
        if name not in plan.tables and is_identifier(name) and not is_system_name(name)
    ]
    return PlanDiff(tuple(creates), tuple(changes), tuple(extras), state.schema_hash != plan.fingerprint())


def _extra_indexes(name: str, table: TablePlan, collection: CollectionState) -> Iterator[Change]:
    wanted = {index.name for index in table.mongo_indexes} | {_MONGO_ID_INDEX}
    for extra in sorted(collection.indexes.keys() - wanted):
        yield Change("index", name, extra, _index_detail(collection.indexes[extra]))


def _validator_detail(collection: CollectionState) -> str:
    if not collection.validator:
        return "documents are not checked by the database now"
    if not collection.enforced:
        return "the database lets documents in that break it now"
    return "the document type changed"


def _index_detail(index: MongoIndex | IndexState) -> str:
    return ", ".join(field for field, _ in index.keys) + (", unique" if index.unique else "")
