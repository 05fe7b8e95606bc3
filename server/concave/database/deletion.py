"""What the deletion of a document does to those that refer to it with `on_delete` (`schema/references.py`).

`plan_deletion` only reads; the transaction applies the whole plan, or nothing, without waiting in between.

* Cascades go on from document to document; one that refers to itself, or a circle, is deleted once.
* `restrict` is judged at the end: a reference that the same cascade deletes stands in nobody's way.
* Every range of referring documents is read through the transaction. So it is in the read set, and whoever adds a
  reference at the same time makes the transaction run again (data-model.md 7.3); and the transaction's limits bound
  how much a deletion may take with it.
* Policies are not asked for what a deletion does to others: the schema demands it, not the caller. A document that is
  only softly deleted still refers, and soft deletion of a document is no deletion here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from concave.database.ranges import KeyRange
from concave.schema.catalog import Catalog
from concave.schema.plan import IndexLayout
from concave.schema.references import Reference
from concave.storage.store import Order
from concave.values.errors import ConvexError
from concave.values.keys import PREFIX_END, encode_column, key_bytes, successor
from concave.values.limits import Limits
from concave.values.types import Document

DocumentKey = tuple[str, str]
"""Table and id."""


class RangeReads(Protocol):
    """What is asked of the transaction; see there."""

    catalog: Catalog
    limits: Limits

    async def fetch(
        self, table: str, index: IndexLayout, bounds: KeyRange, order: Order, limit: int
    ) -> list[Document]: ...

    def depend(self, table: str, index: IndexLayout, bounds: KeyRange, order: Order, last: Document | None) -> None: ...

    def count_read(self, table: str, documents: list[Document]) -> None: ...


@dataclass(slots=True, frozen=True)
class DeletionPlan:
    """`deleted` are the documents that go, the one asked for first. `changed` are those that lose a reference: as they
    are and as they shall be. No document is in both."""

    deleted: dict[DocumentKey, Document]
    changed: dict[DocumentKey, tuple[Document, Document]]


async def plan_deletion(reads: RangeReads, table: str, document: Document) -> DeletionPlan:
    """Find everything that deleting `document` changes. Raises `ConvexError` (code `restrict`), or a limit's error."""
    references_to = reads.catalog.references_to
    root = (table, document["_id"])
    deleted: dict[DocumentKey, Document] = {root: document}
    restricting: list[tuple[Reference, str]] = []
    nulled: list[tuple[Reference, str, Document]] = []
    waiting = [root]
    while waiting:
        target, target_id = waiting.pop()
        for reference in references_to(target):
            if reference.on_delete == "restrict":
                restricting.append((reference, target_id))
                continue
            async for row in _referring(reads, reference, target_id):
                key = (reference.table, row["_id"])
                if reference.on_delete == "set_null":
                    nulled.append((reference, target_id, row))
                elif key not in deleted:
                    deleted[key] = row
                    waiting.append(key)
    for reference, target_id in restricting:
        async for row in _referring(reads, reference, target_id):
            if (reference.table, row["_id"]) not in deleted:
                raise _restricted(reads.catalog, reference, target_id, row["_id"])
    changed: dict[DocumentKey, tuple[Document, Document]] = {}
    for reference, _, row in nulled:
        key = (reference.table, row["_id"])
        if key not in deleted:
            before, after = changed.get(key, (row, row))
            changed[key] = before, _without(after, reference.path, reference.removes_field)
    return DeletionPlan(deleted, changed)


async def _referring(reads: RangeReads, reference: Reference, target_id: str) -> AsyncIterator[Document]:
    """The documents that refer to the target, batch by batch."""
    table = reference.table
    index = reads.catalog.layout(table).indexes[reference.index]
    prefix = encode_column(target_id)
    bounds = KeyRange(prefix, 1, prefix, prefix + PREFIX_END)
    batch = reads.limits.scan_batch_items
    while True:
        rows = await reads.fetch(table, index, bounds, "asc", batch)
        last = rows[-1] if len(rows) == batch else None
        reads.depend(table, index, bounds, "asc", last)
        reads.count_read(table, rows)
        for row in rows:
            yield row
        if last is None:
            return
        bounds = bounds._replace(low=successor(key_bytes(index.key(last))))
        batch = min(batch * 4, reads.limits.scan_batch_items_max)


def _without(document: Document, path: tuple[str, ...], remove: bool) -> Document:
    """A copy of the document whose reference at `path` is null, or gone. Shares what it does not change."""
    name = path[0]
    changed = dict(document)
    if len(path) > 1:
        changed[name] = _without(document[name], path[1:], remove)
    elif remove:
        del changed[name]
    else:
        changed[name] = None
    return changed


def _restricted(catalog: Catalog, reference: Reference, target_id: str, referring_id: str) -> ConvexError:
    data = {
        "code": "restrict",
        "table": reference.table,
        "field": reference.field,
        "target": target_id,
        "message": f"{target_id} of table `{reference.target}` cannot be deleted: "
        f"`{reference.field}` of a document in table `{reference.table}` refers to it",
    }
    # The id of a document that the caller may not be allowed to see is not told.
    if (policy := catalog.policies.get(reference.table)) is None or policy.read is None:
        data["id"] = referring_id
    return ConvexError(data)
