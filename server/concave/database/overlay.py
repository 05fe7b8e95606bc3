"""A snapshot as it will be once transactions that are not committed yet are: for running the next one on top of them.

The mutations of a waiting line (`functions/lines.py`) run one after the other at one snapshot, and each must see what
those before it wrote. An overlay keeps the documents that they wrote and merges them into what the store returns.
"""

from __future__ import annotations

from collections.abc import Iterable

from concave.database.own_writes import OwnWrites
from concave.database.transaction import copy_document
from concave.schema.plan import IndexLayout
from concave.storage.store import DocumentWrite, Order, Store
from concave.values.keys import key_bytes
from concave.values.types import Document, Timestamp


class Overlay:
    """The reads that a transaction asks of its store, at one snapshot, with later writes on top."""

    __slots__ = ("_store", "_writes")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writes = OwnWrites()

    def put(self, writes: Iterable[DocumentWrite]) -> None:
        """Add what a transaction that ran on this overlay wrote. The documents must not change any more."""
        for write in writes:
            self._writes.put(write.table, write.id, write.before, write.after)

    async def get(self, table: str, id: str, ts: Timestamp) -> Document | None:
        write = self._writes.find(table, id)
        if write is None:
            return await self._store.get(table, id, ts)
        return None if write.after is None else copy_document(write.after)

    async def scan(
        self, table: str, index: IndexLayout, low: bytes, high: bytes, *, order: Order, limit: int, ts: Timestamp
    ) -> list[Document]:
        rows = self._writes.rows(table, index, low, high) if limit > 0 else None
        if rows is None:
            return await self._store.scan(table, index, low, high, order=order, limit=limit, ts=ts)
        more = limit + rows.hidden_in_range
        stored = await self._store.scan(table, index, low, high, order=order, limit=more, ts=ts)
        found = [
            (key_bytes(index.key(document)), document) for document in stored if document["_id"] not in rows.hidden
        ]
        found.extend((key, copy_document(document)) for key, document in rows.rows)
        found.sort(key=lambda row: row[0], reverse=order == "desc")
        return [document for _, document in found[:limit]]

    async def count(self, table: str, ts: Timestamp) -> int:
        return await self._store.count(table, ts) + self._writes.document_delta(table)
