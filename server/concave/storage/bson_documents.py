"""Convex documents as BSON and back.

| Convex | BSON |
|---|---|
| Float64 | double |
| Int64 | long |
| Bytes | binary, subtype 0 |
| the others | their namesakes |

The driver's C code does the work: `Int64` carries BSON's type number, and decoding is steered by a table of the few
types that need a look. Integers that other programs wrote are floats where the validator says number, Int64s elsewhere
(`data-model.md` 8.4). Tables that admit no Int64 read every integer as a float; only tables that admit both need a pass
over the document, and only over the places where a number is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bson.binary import Binary
from bson.code import Code
from bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64 as BsonLong
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp as BsonTimestamp

from concave.schema.json_schema import HIDDEN_FIELD
from concave.schema.plan import TableLayout
from concave.schema.validators import (
    ArrayValidator,
    LiteralValidator,
    ObjectValidator,
    RecordValidator,
    ScalarValidator,
    UnionValidator,
    Validator,
)
from concave.values.types import Document, Int64, Value

Codec = CodecOptions[dict[str, Any]]


class ForeignTypeError(ValueError):
    """A stored document holds a BSON type that no Convex value has; some other program wrote it."""


class _As(TypeDecoder):
    """Decodes one BSON type by calling `convert`."""

    def __init__(self, bson_type: type, convert: Callable[[Any], Value]) -> None:
        self._bson_type = bson_type
        self._convert = convert

    @property
    def bson_type(self) -> type:
        return self._bson_type

    def transform_bson(self, value: Any) -> Value:
        return self._convert(value)


def _refuse(value: Any) -> Value:
    raise ForeignTypeError(f"BSON type {type(value).__name__} is no Convex value")


# Timestamps are missing here because every reply has some; one in a document fails where it is encoded.
_FOREIGN_TYPES: Final = (
    ObjectId,
    datetime,
    Decimal128,
    Regex,
    MinKey,
    MaxKey,
    Code,
    DBRef,
)


def _codec(integer: Callable[[Any], Value], refused: tuple[type, ...] = _FOREIGN_TYPES) -> Codec:
    decoders = [_As(int, integer), _As(BsonLong, integer), _As(Binary, bytes)]
    return CodecOptions(type_registry=TypeRegistry([*decoders, *(_As(kind, _refuse) for kind in refused)]))


INTEGERS_ARE_INT64: Final = _codec(Int64)
INTEGERS_ARE_FLOATS: Final = _codec(float)

LOG_ENTRIES: Final = _codec(Int64, refused=())
"""For entries of the commit log: the documents in them are as their writer held them."""


class DocumentCodec:
    """How the documents of one table are read and written.

    `validator` is the table's document type without `v.doc` references, None if the table takes any document.
    """

    def __init__(self, layout: TableLayout, validator: Validator | None) -> None:
        shape = _Shape(anything=True) if validator is None else _shape(validator)
        self.options: Codec = INTEGERS_ARE_INT64 if _holds_int64(shape) else INTEGERS_ARE_FLOATS
        self._correct = _corrector(shape) if self.options is INTEGERS_ARE_INT64 else None
        self._hidden = layout.hidden
        self._has_hidden = any(column.encoded for index in layout.indexes.values() for column in index.columns)

    @property
    def has_hidden(self) -> bool:
        """Whether documents of this table carry encoded index columns."""
        return self._has_hidden

    def finish(self, documents: list[Document]) -> list[Document]:
        """Turn documents as decoded with `options` into Convex documents, in place.

        Raises `ForeignTypeError` for one without the `_id` and `_creationTime` that the engine rests on.
        """
        # Of an earlier schema, documents may hold encoded columns that this one does not have.
        for document in documents:
            document.pop(HIDDEN_FIELD, None)
        if self.options is INTEGERS_ARE_INT64:
            correct = self._correct
            for document in documents:
                if type(document.get("_creationTime")) is Int64:
                    document["_creationTime"] = float(document["_creationTime"])
                if correct is not None:
                    correct(document)
        for document in documents:
            if type(document.get("_creationTime")) is not float or type(document.get("_id")) is not str:
                raise ForeignTypeError("it has no string `_id` or no number `_creationTime`")
        return documents

    def stored(self, document: Document) -> Document:
        """The document as it is written: with the encoded index columns, where there are any."""
        if not self._has_hidden:
            return document
        hidden = self._hidden(document)
        return document if hidden is None else {**document, HIDDEN_FIELD: hidden}


def foreign_value(value: Any, path: str = "") -> str | None:
    """Where in a document, decoded with the driver's own types, the first value is that no Convex value has."""
    if isinstance(value, dict):
        inner = [(f"{path}.{name}", item) for name, item in value.items()]
    elif isinstance(value, list):
        inner = [(f"{path}[{position}]", item) for position, item in enumerate(value)]
    elif isinstance(value, (*_FOREIGN_TYPES, DatetimeMS, BsonTimestamp)):
        return f"at {path}: the BSON type {type(value).__name__} is no Convex value"
    else:
        return None
    return next((found for at, item in inner if (found := foreign_value(item, at)) is not None), None)


# ---- where a table wants numbers and where Int64s ----


@dataclass(slots=True)
class _Shape:
    """What a place in a document admits, as far as integers are concerned."""

    floats: bool = False
    integers: bool = False
    anything: bool = False
    fields: dict[str, _Shape] = field(default_factory=dict)
    values: _Shape | None = None
    """Of a record."""
    element: _Shape | None = None
    """Of an array."""


def _shape(validator: Validator) -> _Shape:
    match validator:
        case ScalarValidator(scalar=scalar):
            return _Shape(
                floats=scalar == "float64", integers=scalar in ("int64", "commitTs"), anything=scalar == "any"
            )
        case LiteralValidator(value=value):
            return _Shape(floats=type(value) is float, integers=type(value) is Int64)
        case ArrayValidator(element=element):
            return _Shape(element=_shape(element))
        case RecordValidator(values=values):
            return _Shape(values=_shape(values))
        case ObjectValidator(fields=fields):
            return _Shape(fields={name: _shape(inner) for name, inner in fields.items()})
        case UnionValidator(members=members):
            merged = _Shape()
            for member in members:
                merged = _merge(merged, _shape(member))
            return merged
        case _:
            return _Shape()


def _merge(one: _Shape, other: _Shape) -> _Shape:
    fields = dict(one.fields)
    for name, shape in other.fields.items():
        fields[name] = _merge(fields[name], shape) if name in fields else shape
    return _Shape(
        one.floats or other.floats,
        one.integers or other.integers,
        one.anything or other.anything,
        fields,
        _merge(one.values, other.values) if one.values and other.values else one.values or other.values,
        _merge(one.element, other.element) if one.element and other.element else one.element or other.element,
    )


def _holds_int64(shape: _Shape) -> bool:
    inner = [*shape.fields.values(), *(part for part in (shape.values, shape.element) if part is not None)]
    return shape.anything or shape.integers or any(map(_holds_int64, inner))


_Correct = Callable[[Value], Value]


def _corrector(shape: _Shape) -> _Correct | None:
    """A function that makes Int64s floats where only a number can be meant; containers are changed in place."""
    if shape.anything:
        return None
    only_floats = shape.floats and not shape.integers
    fields = [(name, found) for name, inner in shape.fields.items() if (found := _corrector(inner)) is not None]
    values = _corrector(shape.values) if shape.values else None
    element = _corrector(shape.element) if shape.element else None
    if not (only_floats or fields or values or element):
        return None
    if only_floats and not (fields or values or element):
        return _to_float

    def correct(value: Value) -> Value:
        kind = type(value)
        if kind is Int64:
            return float(value) if only_floats else value
        if kind is dict:
            for name, correct_field in fields:
                if name in value:
                    value[name] = correct_field(value[name])
            if values is not None:
                for name in value:
                    if name not in shape.fields:
                        value[name] = values(value[name])
        elif kind is list and element is not None:
            value[:] = map(element, value)
        return value

    return correct


def _to_float(value: Value) -> Value:
    return float(value) if type(value) is Int64 else value
