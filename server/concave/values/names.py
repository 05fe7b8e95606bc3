"""Names of fields, tables and indexes, and paths to fields (`spec/data-model.md` 1.5).

* *Field name*: any key of an object. At most 1,024 bytes of printable ASCII, not starting with `$`.
* *Identifier*: tables, indexes, fields that a validator or an index names. 1 to 64 of `[A-Za-z0-9_]`, first a letter
  or `_`, not only `_`.
* *Field path*: identifiers joined by dots. It walks objects only.
"""

from __future__ import annotations

import re
from typing import Final

from concave.values.errors import DeveloperError
from concave.values.limits import DEFAULT_LIMITS
from concave.values.types import UNSET, Unset, Value

SYSTEM_FIELDS: Final = frozenset({"_id", "_creationTime"})
"""The only top-level fields of a document that may start with `_`."""

_FIELD_NAME: Final = re.compile(rf"(?!\$)[\x20-\x7e]{{0,{DEFAULT_LIMITS.field_name_bytes_max}}}")
_IDENTIFIER: Final = re.compile(r"_*[A-Za-z][A-Za-z0-9_]*|_+[0-9][A-Za-z0-9_]*")

# Field names seen and found good. Programs use few names again and again, so a set look-up replaces the pattern.
# Bounded in number and length, since record keys are field names too and come from clients.
KNOWN_FIELD_NAMES: Final[set[str]] = {"_id", "_creationTime"}
_KNOWN_NAMES_MAX: Final = 8_192
_KNOWN_NAME_CHARS_MAX: Final = 64


def is_identifier(name: str) -> bool:
    """Whether `name` may name a table, an index, or a field in a validator."""
    return len(name) <= DEFAULT_LIMITS.identifier_chars_max and _IDENTIFIER.fullmatch(name) is not None


def is_field_name(name: str) -> bool:
    """Whether `name` may be a key of an object."""
    return field_name_problem(name) is None


def is_system_name(name: str) -> bool:
    """Whether a table or index of this name belongs to the system."""
    return name.startswith("_")


def field_name_problem(name: str) -> str | None:
    """What is wrong with `name` as a key of an object, or None. The fast path is one set look-up."""
    if name in KNOWN_FIELD_NAMES:
        return None
    if _FIELD_NAME.fullmatch(name) is None:
        return _explain_field_name(name)
    if len(name) <= _KNOWN_NAME_CHARS_MAX:
        if len(KNOWN_FIELD_NAMES) >= _KNOWN_NAMES_MAX:
            KNOWN_FIELD_NAMES.clear()
        KNOWN_FIELD_NAMES.add(name)
    return None


def check_field_name(name: str, *, where: str) -> None:
    """Raise `DeveloperError` (`InvalidFieldName`) if `name` cannot be a key of an object."""
    problem = field_name_problem(name)
    if problem is not None:
        raise DeveloperError("InvalidFieldName", f"{where}: {problem}")


def check_identifier(name: str, *, what: str, code: str = "InvalidIdentifier") -> None:
    """Raise `DeveloperError` if `name` is no identifier. `what` names its role, such as `table name`."""
    if not is_identifier(name):
        raise DeveloperError(
            code,
            f"{name!r} is no valid {what}: use 1 to {DEFAULT_LIMITS.identifier_chars_max} letters, digits and "
            "underscores, beginning with a letter or an underscore, and not underscores only.",
        )


def split_path(path: str) -> tuple[str, ...]:
    """The segments of a field path; dots at its ends are ignored. Raises `DeveloperError` (`InvalidFieldPath`)."""
    segments = tuple(path.strip(".").split("."))
    for segment in segments:
        if not is_identifier(segment):
            raise DeveloperError(
                "InvalidFieldPath",
                f"{path!r} is no valid field path: {segment!r} is no identifier. A path is field names joined by dots, "
                "each of letters, digits and underscores.",
            )
    return segments


def value_at(document: Value, segments: tuple[str, ...]) -> Value | Unset:
    """The value at a path. A step into an array, a scalar or a missing field gives `UNSET`."""
    value = document
    for segment in segments:
        if not isinstance(value, dict):
            return UNSET
        value = value.get(segment, UNSET)
    return value


def _explain_field_name(name: str) -> str:
    shown = name if len(name) <= 80 else name[:77] + "..."
    if name.startswith("$"):
        return f"field name {shown!r} starts with `$`, which is reserved. Rename the field."
    if len(name) > DEFAULT_LIMITS.field_name_bytes_max:
        return (
            f"field name {shown!r} is longer than {DEFAULT_LIMITS.field_name_bytes_max} characters. "
            "Shorten it, or keep the text in a field's value."
        )
    return (
        f"field name {shown!r} has characters other than printable ASCII. "
        "Rename the field, or keep the text in a field's value."
    )
