"""What a transaction has written: the newest version of each document, in key order where ranges are read.

Documents in here are never changed in place: each write puts a new dict, and whoever hands one to user code copies it.
Every write is also noted in an undo list, so that a savepoint is a position in it.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass

from concave.schema.plan import IndexLayout
from concave.values.keys import key_bytes
from concave.values.types import Document


@dataclass(slots=True, frozen=True)
class OwnWrite:
    """A document that this transaction wrote: as stored at the snapshot, and as it is now. None: not there."""

    before: Document | None
    after: Document | None


@dataclass(slots=True, frozen=True)
class OwnRows:
    """What a range read must know of the transaction's writes to the table, at the moment the read was issued.

    `rows` are (key bytes, document) within the range, ascending. The stored versions of `hidden` are out of date.
    """

    rows: list[tuple[bytes, Document]]
    hidden: frozenset[str]
    hidden_in_range: int


class _OrderedView:
    """The written documents of one table in the order of one index; kept up to date once somebody has asked for it."""

    __slots__ = ("_documents", "_hidden_keys", "_index", "_keys")

    def __init__(self, index: IndexLayout) -> None:
        self._index = index
        self._keys: list[bytes] = []
        self._documents: dict[bytes, Document] = {}
        self._hidden_keys: list[bytes] = []
        """The keys that the stored versions of the written documents have."""

    def put(self, old: Document | None, new: Document | None) -> None:
        """A document's newest version changes."""
        if old is not None:
            key = key_bytes(self._index.key(old))
            del self._documents[key]
            del self._keys[bisect_left(self._keys, key)]
        if new is not None:
            key = key_bytes(self._index.key(new))
            self._documents[key] = new
            insort(self._keys, key)

    def hide(self, stored: Document) -> None:
        """A stored document is written for the first time."""
        insort(self._hidden_keys, key_bytes(self._index.key(stored)))

    def unhide(self, stored: Document) -> None:
        """Its only write is undone."""
        del self._hidden_keys[bisect_left(self._hidden_keys, key_bytes(self._index.key(stored)))]

    def between(self, low: bytes, high: bytes) -> list[tuple[bytes, Document]]:
        keys = self._keys[bisect_left(self._keys, low) : bisect_left(self._keys, high)]
        return [(key, self._documents[key]) for key in keys]

    def hidden_between(self, low: bytes, high: bytes) -> int:
        return bisect_left(self._hidden_keys, high) - bisect_left(self._hidden_keys, low)


class _TableWrites:
    """The writes to one table by id, in order of first write."""

    __slots__ = ("by_id", "hidden", "views")

    def __init__(self) -> None:
        self.by_id: dict[str, OwnWrite] = {}
        self.hidden: frozenset[str] | None = frozenset()
        self.views: dict[str, _OrderedView] = {}


class OwnWrites:
    """The write buffer of one transaction."""

    __slots__ = ("_tables", "_undo")

    def __init__(self) -> None:
        self._tables: dict[str, _TableWrites] = {}
        self._undo: list[tuple[str, str, OwnWrite | None]] = []

    def __bool__(self) -> bool:
        return bool(self._undo)

    def find(self, table: str, id: str) -> OwnWrite | None:
        """The write to this document, if there is one."""
        writes = self._tables.get(table)
        return None if writes is None else writes.by_id.get(id)

    def put(self, table: str, id: str, before: Document | None, after: Document | None) -> None:
        """Set the document's new version. `before` is the stored version; of a second write it is the first's."""
        previous = self.find(table, id)
        self._undo.append((table, id, previous))
        self._set(table, id, OwnWrite(before if previous is None else previous.before, after))

    def savepoint(self) -> int:
        return len(self._undo)

    def rollback_to(self, savepoint: int) -> None:
        """Undo every write made since."""
        while len(self._undo) > savepoint:
            self._set(*self._undo.pop())

    def rows(self, table: str, index: IndexLayout, low: bytes, high: bytes) -> OwnRows | None:
        """What a read of this range must merge; None if the table has no writes."""
        writes = self._tables.get(table)
        if writes is None or not writes.by_id:
            return None
        view = writes.views.get(index.name)
        if view is None:
            view = writes.views[index.name] = _OrderedView(index)
            for write in writes.by_id.values():
                view.put(None, write.after)
                if write.before is not None:
                    view.hide(write.before)
        if writes.hidden is None:
            writes.hidden = frozenset(
                document_id for document_id, write in writes.by_id.items() if write.before is not None
            )
        return OwnRows(view.between(low, high), writes.hidden, view.hidden_between(low, high))

    def document_delta(self, table: str) -> int:
        """How many more documents the table has than at the snapshot."""
        writes = self._tables.get(table)
        if writes is None:
            return 0
        return sum((write.after is not None) - (write.before is not None) for write in writes.by_id.values())

    def all(self) -> list[tuple[str, str, OwnWrite]]:
        """Every written document as (table, id, write), in order of first write within each table."""
        return [
            (table, document_id, write)
            for table, writes in self._tables.items()
            for document_id, write in writes.by_id.items()
        ]

    def _set(self, table: str, id: str, write: OwnWrite | None) -> None:
        writes = self._tables.get(table)
        if writes is None:
            writes = self._tables[table] = _TableWrites()
        old = writes.by_id.get(id)
        if write is None:
            del writes.by_id[id]
        else:
            writes.by_id[id] = write
        for view in writes.views.values():
            view.put(None if old is None else old.after, None if write is None else write.after)
        if old is None and write is not None and write.before is not None:
            writes.hidden = None
            for view in writes.views.values():
                view.hide(write.before)
        elif write is None and old is not None and old.before is not None:
            writes.hidden = None
            for view in writes.views.values():
                view.unhide(old.before)
