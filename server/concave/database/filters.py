"""Filter expressions: the `q` of `.filter(lambda q: q.eq(q.field("done"), False))` (data-model.md 6.2).

Each expression carries its wire form, which makes the fingerprint of a query, and a closure that evaluates it. All
comparisons use the total order of data-model.md 2, missing fields included, so no comparison can fail; arithmetic takes
two Int64 or two Float64 and fails otherwise with `EvalError`. An `int` literal is a Float64, as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from concave.values.codec import describe, encode, normalize
from concave.values.errors import DeveloperError
from concave.values.names import is_identifier
from concave.values.order import compare, values_equal
from concave.values.types import INT64_MAX, INT64_MIN, UNSET, Document, Int64, Value

Evaluate = Callable[[Document], Value]


class Expression:
    """One expression. `json` is its wire form, `evaluate(document)` its value, which may be `UNSET`."""

    __slots__ = ("evaluate", "json")

    def __init__(self, json: object, evaluate: Evaluate) -> None:
        self.json = json
        self.evaluate = evaluate

    def __eq__(self, other: object) -> bool:
        raise DeveloperError(
            "InvalidFilter",
            "filter expressions cannot be compared with == and !=: use q.eq(...) and q.neq(...)",
        )

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        raise DeveloperError(
            "InvalidFilter",
            "a filter expression has no truth value in Python: combine expressions with q.and_(...), q.or_(...) and "
            "q.not_(...) instead of and, or and not",
        )


class FilterBuilder:
    """What a filter's function gets. Operands are expressions or values; every method returns an `Expression`."""

    __slots__ = ()

    def field(self, path: str) -> Expression:
        """The value at a path such as `address.city`; `UNSET` where a step is missing or no object."""
        steps = _steps(path)
        json = {"$field": ".".join(steps)}
        if len(steps) == 1:
            name = steps[0]
            return Expression(json, lambda document: document.get(name, UNSET))

        def walk(document: Document) -> Value:
            value: Value = document
            for step in steps:
                if type(value) is not dict:
                    return UNSET
                value = value.get(step, UNSET)
            return value

        return Expression(json, walk)

    def eq(self, left: Value, right: Value) -> Expression:
        """`left` equals `right`: same type, same value; -0.0 is not 0.0, NaN is NaN."""
        a, b, json = _two("$eq", left, right)
        return Expression(json, lambda document: _equal(a(document), b(document)))

    def neq(self, left: Value, right: Value) -> Expression:
        a, b, json = _two("$neq", left, right)
        return Expression(json, lambda document: not _equal(a(document), b(document)))

    def lt(self, left: Value, right: Value) -> Expression:
        a, b, json = _two("$lt", left, right)
        return Expression(json, lambda document: compare(a(document), b(document)) < 0)

    def lte(self, left: Value, right: Value) -> Expression:
        a, b, json = _two("$lte", left, right)
        return Expression(json, lambda document: compare(a(document), b(document)) <= 0)

    def gt(self, left: Value, right: Value) -> Expression:
        a, b, json = _two("$gt", left, right)
        return Expression(json, lambda document: compare(a(document), b(document)) > 0)

    def gte(self, left: Value, right: Value) -> Expression:
        a, b, json = _two("$gte", left, right)
        return Expression(json, lambda document: compare(a(document), b(document)) >= 0)

    def add(self, left: Value, right: Value) -> Expression:
        return _arithmetic("$add", left, right, lambda a, b: a + b, lambda a, b: a + b)

    def sub(self, left: Value, right: Value) -> Expression:
        return _arithmetic("$sub", left, right, lambda a, b: a - b, lambda a, b: a - b)

    def mul(self, left: Value, right: Value) -> Expression:
        return _arithmetic("$mul", left, right, lambda a, b: a * b, lambda a, b: a * b)

    def div(self, left: Value, right: Value) -> Expression:
        """Int64 division truncates towards zero; Float64 division follows IEEE (1.0 / 0.0 is infinite)."""
        return _arithmetic("$div", left, right, _int_quotient, _float_quotient)

    def mod(self, left: Value, right: Value) -> Expression:
        """The remainder, with the sign of `left`, as in C."""
        return _arithmetic("$mod", left, right, _int_remainder, _float_remainder)

    def neg(self, operand: Value) -> Expression:
        """`-operand` of an Int64 or a Float64."""
        inner = _expression(operand)
        evaluate = inner.evaluate

        def negated(document: Document) -> Value:
            value = evaluate(document)
            if type(value) is Int64:
                return _checked("$neg", -int(value), value)
            if type(value) is float:
                return -value
            raise _eval_error(f"$neg takes an Int64 or a Float64, not {_printed(value)}")

        return Expression({"$neg": inner.json}, negated)

    def and_(self, *operands: Value) -> Expression:
        """True if all operands are; evaluated left to right until one is false. Without operands true."""
        inner = [_expression(operand) for operand in operands]
        evaluates = [operand.evaluate for operand in inner]

        def conjunction(document: Document) -> bool:
            return all(_truth("$and", evaluate(document)) for evaluate in evaluates)

        return Expression({"$and": [operand.json for operand in inner]}, conjunction)

    def or_(self, *operands: Value) -> Expression:
        """True if any operand is; evaluated left to right until one is true. Without operands false."""
        inner = [_expression(operand) for operand in operands]
        evaluates = [operand.evaluate for operand in inner]

        def disjunction(document: Document) -> bool:
            return any(_truth("$or", evaluate(document)) for evaluate in evaluates)

        return Expression({"$or": [operand.json for operand in inner]}, disjunction)

    def not_(self, operand: Value) -> Expression:
        """The opposite of a Boolean."""
        inner = _expression(operand)
        evaluate = inner.evaluate
        return Expression({"$not": inner.json}, lambda document: not _truth("$not", evaluate(document)))


FILTER_BUILDER = FilterBuilder()


def build_filter(build: Callable[[FilterBuilder], Value]) -> tuple[object, Callable[[Document], bool]]:
    """The wire form of a filter and its predicate. Raises `DeveloperError` for what is no expression."""
    if not callable(build):
        raise DeveloperError(
            "InvalidFilter", "filter takes a function, as in .filter(lambda q: q.eq(q.field('done'), False))"
        )
    expression = _expression(build(FILTER_BUILDER))
    evaluate = expression.evaluate
    return expression.json, lambda document: _truth("filter", evaluate(document))


def _expression(operand: Value) -> Expression:
    if isinstance(operand, Expression):
        return operand
    if operand is UNSET:
        return Expression({"$literal": {"$undefined": None}}, lambda document: UNSET)
    value = normalize(operand, where="a filter's literal")
    return Expression({"$literal": encode(value)}, lambda document: value)


def _two(operator: str, left: Value, right: Value) -> tuple[Evaluate, Evaluate, object]:
    a, b = _expression(left), _expression(right)
    return a.evaluate, b.evaluate, {operator: [a.json, b.json]}


def _steps(path: str) -> list[str]:
    steps = path.strip(".").split(".") if isinstance(path, str) else []
    if not steps or not all(is_identifier(step) for step in steps):
        raise DeveloperError(
            "InvalidFieldPath",
            f"{path!r} is no field path: give names of letters, digits and _ joined by dots, such as 'address.city'",
        )
    return steps


def _equal(a: Value, b: Value) -> bool:
    if type(a) is str and type(b) is str:
        return a == b
    return values_equal(a, b)


def _truth(operator: str, value: Value) -> bool:
    if value is True or value is False:
        return bool(value)
    raise _eval_error(f"{operator} takes Booleans, not {_printed(value)}")


def _arithmetic(
    operator: str,
    left: Value,
    right: Value,
    integers: Callable[[int, int], int],
    floats: Callable[[float, float], float],
) -> Expression:
    a, b, json = _two(operator, left, right)

    def evaluate(document: Document) -> Value:
        x, y = a(document), b(document)
        if type(x) is Int64 and type(y) is Int64:
            try:
                return _checked(operator, integers(int(x), int(y)), x, y)
            except ZeroDivisionError:
                raise _eval_error(f"{operator} divides {_printed(x)} by zero") from None
        if type(x) is float and type(y) is float:
            return floats(x, y)
        raise _eval_error(f"{operator} takes two Int64 or two Float64, not {_printed(x)} and {_printed(y)}")

    return Expression(json, evaluate)


def _checked(operator: str, result: int, *operands: Value) -> Int64:
    if not INT64_MIN <= result <= INT64_MAX:
        raise _eval_error(f"{operator} of {' and '.join(map(_printed, operands))} does not fit in an Int64")
    return Int64(result)


def _int_quotient(a: int, b: int) -> int:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _int_remainder(a: int, b: int) -> int:
    remainder = abs(a) % abs(b)
    return -remainder if a < 0 else remainder


def _float_quotient(a: float, b: float) -> float:
    if b != 0:
        return a / b
    if a == 0 or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _float_remainder(a: float, b: float) -> float:
    if b == 0 or math.isinf(a):
        return math.nan
    return math.fmod(a, b)


def _eval_error(message: str) -> DeveloperError:
    return DeveloperError("EvalError", message)


_TYPE_NAMES: dict[type[Any], str] = {
    type(None): "Null",
    Int64: "Int64",
    float: "Float64",
    bool: "Boolean",
    str: "String",
    bytes: "Bytes",
    list: "Array",
    dict: "Object",
}


def _printed(value: Value) -> str:
    if value is UNSET:
        return "a missing field"
    return f"{describe(value)} ({_TYPE_NAMES.get(type(value), type(value).__name__)})"
