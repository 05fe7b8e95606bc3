"""Sizes of values, and the limits on what may be stored (`spec/data-model.md` 1.4 to 1.6)."""

from __future__ import annotations

from collections.abc import Callable

from concave.values.errors import DeveloperError, error_at
from concave.values.faults import ValueFaultError
from concave.values.limits import DEFAULT_LIMITS
from concave.values.names import KNOWN_FIELD_NAMES, SYSTEM_FIELDS, field_name_problem
from concave.values.types import Document, Value


def size(value: Value) -> int:
    """Bytes that `value` counts as. Null and Boolean 1, numbers 9, strings and bytes 2 and their length, arrays 2 and
    their elements, objects 2 and per field its name, 1 and its value."""
    kind = type(value)
    if kind is str:
        return 2 + (len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass")))
    if kind is float:
        return 9
    if kind is dict:
        total = 2
        for name, item in value.items():
            item_kind = type(item)
            if item_kind is str and item.isascii():
                total += len(name) + 3 + len(item)
            elif item_kind is float:
                total += len(name) + 10
            else:
                total += len(name) + 1 + size(item)
        return total
    if kind is list:
        total = 2
        for item in value:
            total += size(item)
        return total
    if value is None or kind is bool:
        return 1
    if kind is bytes:
        return 2 + len(value)
    # Int64 and a plain int, which is a Float64 where nobody says otherwise.
    return 9


def check_value(value: Value, *, where: str = "Value") -> None:
    """Raise `DeveloperError` if `value` breaks a limit that holds for every value: fields, elements, names, 64 levels
    of nesting, 32 MiB.

    Codes `TooManyFieldsError`, `ArrayTooLong`, `InvalidFieldName`, `TooNestedError`, `ValueTooLargeError`.
    """
    try:
        _check(value, DEFAULT_LIMITS.value_nesting_max, _value_too_nested)
        check_total(value)
    except ValueFaultError as fault:
        raise error_at(fault, where) from None


def check_document(document: Document, *, where: str = "Document") -> None:
    """Raise `DeveloperError` if a document, system fields included, may not be stored.

    Besides the codes of `check_value`: `InvalidDocumentError` for more than 16 levels, the document being the first,
    and `InvalidFieldName` for a reserved top-level field. 1,048,576 bytes fit, one more is `ValueTooLargeError`.
    """
    try:
        for name in document:
            if name[:1] == "_" and name not in SYSTEM_FIELDS:
                raise ValueFaultError(
                    "InvalidFieldName",
                    f"field name {name!r} starts with an underscore, which is reserved at the top level of a document. "
                    "Rename the field.",
                )
        _check(document, DEFAULT_LIMITS.document_nesting_max, _document_too_nested)
    except ValueFaultError as fault:
        raise error_at(fault, where) from None
    total = size(document)
    if total > DEFAULT_LIMITS.document_bytes_max:
        raise DeveloperError(
            "ValueTooLargeError",
            f"{where} is too large ({total} bytes; the most is {DEFAULT_LIMITS.document_bytes_max}). "
            "Split it into several documents, or keep large content in file storage.",
        )


def check_array_length(count: int) -> None:
    """Raise `ValueFaultError` if an array of `count` elements is too long."""
    if count > DEFAULT_LIMITS.array_elements_max:
        raise ValueFaultError(
            "ArrayTooLong",
            f"the array has {count} elements, the most is {DEFAULT_LIMITS.array_elements_max}. "
            "Keep the elements in documents of a table of their own.",
        )


def check_field_count(count: int) -> None:
    """Raise `ValueFaultError` if an object of `count` fields has too many."""
    if count > DEFAULT_LIMITS.object_fields_max:
        raise ValueFaultError(
            "TooManyFieldsError",
            f"the object has {count} fields, the most is {DEFAULT_LIMITS.object_fields_max}. "
            "Keep the entries in an array, or in documents of a table of their own.",
        )


def check_names(value: dict[str, Value]) -> None:
    """Raise `ValueFaultError` if a key of an object may not be one. One set operation when all are known."""
    if not KNOWN_FIELD_NAMES.issuperset(value):
        for name in value:
            problem = field_name_problem(name)
            if problem is not None:
                raise ValueFaultError("InvalidFieldName", problem)


def check_total(value: Value) -> None:
    """Raise `ValueFaultError` if a value is larger than any value may be."""
    total = size(value)
    if total > DEFAULT_LIMITS.value_bytes_max:
        raise ValueFaultError(
            "ValueTooLargeError",
            f"the value is too large ({total} bytes; the most is {DEFAULT_LIMITS.value_bytes_max}). "
            "Pass it in parts, or as a file.",
        )


def too_nested() -> ValueFaultError:
    """The fault of a container below the deepest permitted level."""
    return _value_too_nested()


def _value_too_nested() -> ValueFaultError:
    return ValueFaultError(
        "TooNestedError",
        f"arrays and objects are nested more than {DEFAULT_LIMITS.value_nesting_max} levels deep. Flatten the value.",
    )


def _document_too_nested() -> ValueFaultError:
    return ValueFaultError(
        "InvalidDocumentError",
        f"arrays and objects are nested more than {DEFAULT_LIMITS.document_nesting_max} levels deep, the document "
        "being the first. Flatten it, or keep the inner parts in documents of a table of their own.",
    )


def _check(value: Value, room: int, nested: Callable[[], ValueFaultError]) -> None:
    """Raise for what is wrong with the shape of `value`, which may have `room` levels of nesting."""
    kind = type(value)
    if kind is dict:
        if room == 0:
            raise nested()
        check_field_count(len(value))
        check_names(value)
        for name, item in value.items():
            if type(item) is dict or type(item) is list:
                try:
                    _check(item, room - 1, nested)
                except ValueFaultError as fault:
                    fault.inside_field(name)
                    raise
    elif kind is list:
        if room == 0:
            raise nested()
        check_array_length(len(value))
        for position, item in enumerate(value):
            if type(item) is dict or type(item) is list:
                try:
                    _check(item, room - 1, nested)
                except ValueFaultError as fault:
                    fault.inside_element(position)
                    raise
