"""Whether a function failed because of a stored document that does not fit its table.

Another program may have written it past the collection's validator. Reads do not check whole documents: that would cost
every query, and the fault shows where the function stumbles over it (a missing field, a string where a number was
expected, a result that its validator refuses). Only then are documents that the function read looked at once more.
"""

from __future__ import annotations

from typing import Final

from concave.database.transaction import Transaction
from concave.schema.checking import ValidationFailure
from concave.storage.store import Store, StoreError, stored_document_invalid
from concave.values.errors import ConcaveError, DeveloperError

DOCUMENTS_MAX: Final = 256
"""How many documents are looked at after a failure."""

INTERVALS_MAX: Final = 32
"""How many ranges of the read set are."""


async def blamed_document(tx: Transaction, store: Store, failure: BaseException) -> DeveloperError | None:
    """The error that names the document, with `failure` as its cause; None if no document that was read is at fault.

    Errors that functions raise on purpose, and those of the engine that say what is wrong, are left alone.
    """
    if isinstance(failure, ConcaveError) and failure.code != "ReturnsValidationError":
        return None
    left = DOCUMENTS_MAX
    for number, interval in enumerate(tx.read_set):
        if not left or number == INTERVALS_MAX:
            break
        layout = tx.catalog.layout(interval.table).indexes[interval.index]
        try:
            documents = await store.scan(
                interval.table, layout, interval.low, interval.high, order="asc", limit=left, ts=tx.ts
            )
        except (StoreError, ConcaveError):
            return None
        left -= len(documents)
        check = tx.catalog.check_document(interval.table)
        for document in documents:
            try:
                check(document)
            except ValidationFailure as fault:
                error = stored_document_invalid(interval.table, document["_id"], fault.text)
                error.__cause__ = failure
                return error
    return None
