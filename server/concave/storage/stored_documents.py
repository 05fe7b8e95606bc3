"""What is wrong with a stored document that cannot be read, in words for whoever has to mend it.

MongoDB's validators keep such documents out; they come in where another program goes past them
(`bypassDocumentValidation`, `validationLevel: off`). Reads check no more than the engine itself rests on: that every
value is one of Convex, that `_id` is a string and `_creationTime` a number (50 ns a document). The reasons are looked
for only when that fails, in the raw document. Whether a document fits its table is looked at when a function failed
over it (`functions/blame.py`), and by `concave doctor`.
"""

from __future__ import annotations

from typing import Any, Final

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument

from concave.schema.json_schema import HIDDEN_FIELD
from concave.storage.bson_documents import Codec, DocumentCodec, ForeignTypeError, foreign_value
from concave.storage.document_check import system_field_problem
from concave.values.errors import DeveloperError
from concave.values.types import Document

UNDECODED: Final[Any] = CodecOptions(document_class=RawBSONDocument)
_AS_FOUND: Final[Codec] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)


def decoded(raw: RawBSONDocument, codec: DocumentCodec) -> Document | str:
    """The document, or what keeps everybody from reading it."""
    try:
        if (problem := system_field_problem(raw)) is not None:
            return problem
        return codec.finish([bson.decode(raw.raw, codec.options)])[0]
    except (InvalidBSON, ForeignTypeError) as error:
        try:
            return foreign_value(bson.decode(raw.raw, _AS_FOUND)) or str(error)
        except InvalidBSON:
            return str(error)


def stored_columns(raw: RawBSONDocument) -> Any:
    """The encoded index columns that are stored with a document that `decoded` could read; None if there are none."""
    return bson.decode(raw.raw).get(HIDDEN_FIELD)


def index_missing(table: str, index: str, reason: str) -> DeveloperError:
    """The error of a function that reads by an index which the database has lost."""
    return DeveloperError(
        "IndexMissing",
        f"the index `{index}` of table `{table}` is not in the database any more, or another one has its name "
        f"({reason}): another program removed it. `concave schema push` creates it again.",
    )
