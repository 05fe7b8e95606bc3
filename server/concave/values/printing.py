"""How values are printed in messages for people (`spec/data-model.md` 1.7)."""

from __future__ import annotations

import math

import orjson

from concave.values.encoding import base64
from concave.values.types import Int64, Unset, Value


def describe(value: Value) -> str:
    """`null`, `5` (Int64), `5.0`, `NaN`, `inf`, `true`, `"text"`, `b"B64"`, `[a, b]`, `{name: value}` with sorted
    names, `undefined` for `UNSET`. What is no value is printed as Python would."""
    kind = type(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is str:
        return _quote(value)
    if kind is Int64:
        return str(int(value))
    if kind is float or kind is int:
        number = float(value)
        return "NaN" if math.isnan(number) else repr(number)
    if kind is bytes:
        return f'b"{base64(value)}"'
    if kind is list:
        return "[" + ", ".join(map(describe, value)) + "]"
    if kind is dict:
        return "{" + ", ".join(f"{name}: {describe(value[name])}" for name in sorted(value)) + "}"
    if kind is Unset:
        return "undefined"
    return repr(value)


def _quote(text: str) -> str:
    # A lone surrogate is what the message may be about, so it must not break the printing.
    return orjson.dumps(text.encode("utf-8", "backslashreplace").decode()).decode()
