"""The words of a store that refuses a write because of a unique index: the same from every store."""

from __future__ import annotations

from typing import Final

from concave.schema.plan import IndexLayout
from concave.storage.store import WriteRefused
from concave.values.codec import encode_json
from concave.values.names import value_at
from concave.values.types import UNSET, Document

_SHOWN_MAX: Final = 100
"""Characters of a value in a message."""


def unique_refusal(
    table: str, index: str, layout: IndexLayout | None, document: Document | None, position: int | None
) -> WriteRefused:
    """`document` was refused because its key in `index` is taken. `layout` is None for an index that some other program
    made, `document` if it is not known which one it was."""
    fields = () if layout is None else layout.fields[:-2]
    key = "" if document is None else ", ".join(f"{field} = {_shown(document, field)}" for field in fields)
    message = f"the unique index `{table}.{index}` holds this key already" + (f": {key}" if key else "")
    return WriteRefused("unique", message, position=position, index=index, table=table, fields=fields)


def _shown(document: Document, field: str) -> str:
    value = value_at(document, tuple(field.split(".")))
    text = "nothing" if value is UNSET else encode_json(value).decode()
    return text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "..."
