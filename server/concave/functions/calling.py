"""How a function's handler is called with its arguments, decided once when the app is loaded.

Mostly that is `handler(ctx, **args)` and nothing else. Annotations may ask for more: a parameter annotated with a
pydantic model receives an instance, one annotated `int` an int. A parameter without a default whose argument is
optional receives `UNSET` when the argument is missing.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from concave.functions.annotations import is_pydantic_model
from concave.schema.validators import ObjectValidator, Validator
from concave.values.errors import argument_validation_error
from concave.values.types import UNSET, Unset

Call: TypeAlias = Callable[[Any, dict[str, Any]], Any]
"""Called with the context and the validated arguments; returns what the handler returns."""

_Convert: TypeAlias = Callable[[str, Any], Any]

_NAMED: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(slots=True, frozen=True)
class Parameters:
    """What a handler takes: the context first, then these, by name. `rest` is true if there is a `**args`."""

    ctx: inspect.Parameter | None
    named: tuple[inspect.Parameter, ...]
    positional_only: tuple[inspect.Parameter, ...]
    rest: bool

    @classmethod
    def of(cls, handler: Callable[..., Any]) -> Parameters:
        """Read from the handler's signature. Raises `ValueError` or `TypeError` if it has none."""
        parameters = list(inspect.signature(handler).parameters.values())
        ctx = None
        if parameters and parameters[0].kind in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            ctx = parameters.pop(0)
        return cls(
            ctx=ctx,
            named=tuple(parameter for parameter in parameters if parameter.kind in _NAMED),
            positional_only=tuple(p for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY),
            rest=any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters),
        )


def compile_call(
    handler: Callable[..., Any], parameters: Parameters, args: Validator, hints: Mapping[str, Any]
) -> Call:
    """How to call `handler`. Arguments are known to fit `args`, and `args` to fit the parameters (`specs.py`)."""
    converts = {
        parameter.name: convert
        for parameter in parameters.named
        if (convert := _conversion(hints.get(parameter.name))) is not None
    }
    missing: tuple[str, ...] = ()
    if isinstance(args, ObjectValidator):
        missing = tuple(
            parameter.name
            for parameter in parameters.named
            if parameter.default is inspect.Parameter.empty and args.fields[parameter.name].is_optional
        )
        check_names = None
    else:
        check_names = _names_check(parameters)

    if not converts and not missing and check_names is None:
        return lambda ctx, arguments: handler(ctx, **arguments)

    def call(ctx: Any, arguments: dict[str, Any]) -> Any:
        if check_names is not None:
            check_names(arguments)
        arguments = dict(arguments)
        for name, convert in converts.items():
            if name in arguments:
                arguments[name] = convert(name, arguments[name])
        for name in missing:
            arguments.setdefault(name, UNSET)
        return handler(ctx, **arguments)

    return call


def _names_check(parameters: Parameters) -> Callable[[Mapping[str, Any]], None] | None:
    """With `args=v.any()` the parameters' names are all there is to check."""
    required = [p.name for p in parameters.named if p.default is inspect.Parameter.empty]
    known = None if parameters.rest else frozenset(parameter.name for parameter in parameters.named)
    if not required and known is None:
        return None

    def check(arguments: Mapping[str, Any]) -> None:
        for name in required:
            if name not in arguments:
                raise argument_validation_error(f"Object is missing the required field `{name}`.")
        if known is not None:
            for name in arguments:
                if name not in known:
                    raise argument_validation_error(
                        f"Object contains extra field `{name}` that the function does not take."
                    )

    return check


def _conversion(annotation: Any) -> _Convert | None:
    """What turns an argument into what its annotation promises; None where it is that already."""
    if is_pydantic_model(annotation):
        return _to_model(annotation)
    if annotation is int:
        return _to_int
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [m for m in typing.get_args(annotation) if m not in (type(None), Unset)]
        convert = _conversion(members[0]) if len(members) == 1 else None
        if convert is not None:
            return lambda name, value: None if value is None else convert(name, value)
    return None


def _to_int(name: str, value: Any) -> Any:
    if type(value) is not float:
        return value
    if not value.is_integer():
        raise argument_validation_error(
            f"Value does not match validator.\nPath: .{name}\nValue: {value}\nIt must be an integer."
        )
    return int(value)


def _to_model(model: Any) -> _Convert:
    def convert(name: str, value: Any) -> Any:
        try:
            return model.model_validate(value)
        except ValueError as error:  # pydantic's ValidationError is one
            raise argument_validation_error(f"Value does not fit {model.__name__}.\nPath: .{name}\n{error}") from error

    return convert
