"""What `MongoStore` has compiled for the tables of a catalog: codecs, bounds, projections, names of unique indexes."""

from __future__ import annotations

from collections.abc import Mapping

from concave.schema.catalog import Catalog
from concave.schema.plan import IndexLayout, TableLayout, TablePlan
from concave.schema.validators import resolve_docs
from concave.storage.auth_records import AUTH_COLLECTIONS
from concave.storage.bounds import BoundsCompiler
from concave.storage.bson_documents import DocumentCodec
from concave.storage.projection import Projection, compile_projection
from concave.storage.store import DocumentWrite, IndexKeyChange
from concave.values.types import Document

TURNS = "_turns"
"""One document, replaced by each node that asks for a turn to commit: `{_id: "wanted", node, n}`."""

SYSTEM_COLLECTIONS = ("_commits", "_tables", "_schema", "_nodes", "_leases", TURNS, *AUTH_COLLECTIONS)
MONGO_ID_INDEX = "_id_"


class MongoTable:
    """One table. Its collection has the table's name."""

    def __init__(self, name: str, plan: TablePlan, catalog: Catalog) -> None:
        self.name = name
        self.layout: TableLayout = plan.layout
        self.codec = DocumentCodec(plan.layout, resolve_docs(plan.document_type, catalog))
        self.project: Projection = compile_projection(
            path for index in plan.layout.indexes.values() for path in index.fields
        )
        self._bounds = {name: (index, BoundsCompiler(index)) for name, index in plan.layout.indexes.items()}
        self._unique = {
            tuple(field for field, _ in index.keys): index.name.removesuffix(".unique")
            for index in plan.mongo_indexes
            if index.unique
        }

    def bounds(self, index: IndexLayout) -> BoundsCompiler:
        """The compiled bounds of an index. One of an older catalog is compiled anew."""
        held = self._bounds.get(index.name)
        if held is not None and (held[0] is index or held[0] == index):
            return held[1]
        return BoundsCompiler(index)

    def unique_index(self, fields: tuple[str, ...]) -> str:
        """The name of the unique index on these Mongo fields, for the error that says its key is taken."""
        if fields == ("_id",):
            return "by_id"
        return self._unique.get(fields, ", ".join(fields))

    def write(self, id: str, before: Document | None, after: Document | None) -> DocumentWrite:
        """A change as seen by this catalog's indexes. `before` needs the indexed fields only."""
        keys = self.layout.keys
        old = keys(before) if before is not None else {}
        new = keys(after) if after is not None else {}
        changes = tuple([IndexKeyChange(name, old.get(name), new.get(name)) for name in self.layout.indexes])
        return DocumentWrite(self.name, id, before, after, changes)


class MongoTables:
    """All tables of a catalog, and the fingerprint of its plan. Empty before the first push."""

    def __init__(self, catalog: Catalog | None = None) -> None:
        self.catalog = catalog
        self.fingerprint = "" if catalog is None else catalog.plan.fingerprint()
        plans: Mapping[str, TablePlan] = {} if catalog is None else catalog.plan.tables
        self._tables = {name: MongoTable(name, plan, catalog) for name, plan in plans.items() if catalog is not None}

    def find(self, name: str) -> MongoTable | None:
        """The table, None if the catalog has none of this name."""
        return self._tables.get(name)

    def __getitem__(self, name: str) -> MongoTable:
        return self._tables[name]
