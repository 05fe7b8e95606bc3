"""Whether the documents of a table fit a schema that is about to be pushed (`data-model.md` 5.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from concave.schema.catalog import Catalog
from concave.schema.checking import ValidationFailure
from concave.values.keys import IndexKey
from concave.values.types import Document

BAD_DOCUMENTS_MAX: Final = 5
"""How many offenders a refused push names."""


class DocumentCheck:
    """Checks one table's documents, one after the other; unique indexes are checked over all that were shown."""

    def __init__(self, catalog: Catalog, table: str) -> None:
        self._check = catalog.check_document(table)
        self._unique = [index for index in catalog.layout(table).indexes.values() if index.unique]
        self._holders: dict[tuple[str, IndexKey], str] = {}

    def problem(self, document: Document) -> str | None:
        """What is wrong with the document, None if nothing is."""
        try:
            self._check(document)
        except ValidationFailure as failure:
            return failure.text
        for index in self._unique:
            key = index.unique_key(index.key(document))
            if key is not None:
                holder = self._holders.setdefault((index.name, key), document["_id"])
                if holder != document["_id"]:
                    return f"the unique index `{index.name}` would hold the same key for {holder}"
        return None


def system_field_problem(document: Mapping[str, Any]) -> str | None:
    """What is wrong with `_id` and `_creationTime` of a document as some program wrote it."""
    if type(document["_id"]) is not str:
        return (
            f"its _id is of the type {type(document['_id']).__name__}, not a string: concave.new_document_id makes ids"
        )
    created = document.get("_creationTime")
    if not isinstance(created, int | float) or isinstance(created, bool):
        return "its _creationTime is not a number: milliseconds since 1970"
    return None
