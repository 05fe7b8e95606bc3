"""Argument validators out of annotations: `(ctx, channelId: Id["channels"], limit: int = 50)`.

| annotation | validator |
|---|---|
| `str`, `bool`, `bytes`, `float`, `Int64`, `None` | string, boolean, bytes, number, int64, null |
| `int` | number; as a parameter it arrives as an `int`, and a fraction is refused |
| `Id["t"]` | id of table `t` |
| `X \\| Y`, `Optional[X]` | union, nullable |
| `list[X]`, `Sequence[X]` | array |
| `dict[str, X]`, `Mapping[str, X]` | record |
| `Literal["a", "b"]` | literal, union of literals |
| a pydantic model, a `TypedDict` | object of its fields; as a parameter a model arrives as an instance |
| `Any`, `object`, no annotation | any |
| a validator itself, or `Annotated[X, validator]` | that validator |

A default makes a parameter optional; `None` as the default of a parameter that is not nullable does not admit null.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeGuard

from concave.schema.validators import Fields, Validator, v
from concave.values.ids import table_of_annotation
from concave.values.types import Int64, Unset

_SCALARS: Final[Mapping[object, Callable[[], Validator]]] = {
    str: v.string,
    bool: v.boolean,
    bytes: v.bytes,
    float: v.number,
    int: v.number,
    Int64: v.int64,
    None: v.null,
    type(None): v.null,
    Any: v.any,
    object: v.any,
    inspect.Parameter.empty: v.any,
    list: lambda: v.array(v.any()),
    dict: lambda: v.record(v.string(), v.any()),
}
_ARRAYS: Final = (list, collections.abc.Sequence, collections.abc.Iterable)
_RECORDS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class UnsupportedAnnotation(Exception):
    """An annotation that says nothing about a Convex value. The text says what may stand there instead."""


class PydanticModel(Protocol):
    """As much of `pydantic.BaseModel` as is used here; pydantic itself is loaded by who needs it."""

    model_fields: Mapping[str, Any]

    @classmethod
    def model_validate(cls, obj: Any) -> Any: ...


def is_pydantic_model(annotation: object) -> TypeGuard[type[PydanticModel]]:
    return (
        isinstance(annotation, type) and hasattr(annotation, "model_validate") and hasattr(annotation, "model_fields")
    )


def resolve_hints(handler: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function with names resolved in its module. Raises `UnsupportedAnnotation`."""
    try:
        return typing.get_type_hints(handler, include_extras=True)
    except NameError as error:
        raise UnsupportedAnnotation(f"the annotation names `{error.name}`, which its module does not know") from error
    except (TypeError, SyntaxError) as error:
        raise UnsupportedAnnotation(f"the annotations cannot be evaluated: {error}") from error


def fields_of(parameters: collections.abc.Iterable[inspect.Parameter], hints: Mapping[str, Any]) -> Fields:
    """The argument object that parameters describe. Raises `UnsupportedAnnotation` naming the parameter."""
    fields: dict[str, Validator] = {}
    for parameter in parameters:
        try:
            validator = validator_of(hints.get(parameter.name, inspect.Parameter.empty))
        except UnsupportedAnnotation as error:
            raise UnsupportedAnnotation(f"parameter `{parameter.name}`: {error}") from error
        is_optional = parameter.default is not inspect.Parameter.empty
        fields[parameter.name] = validator.optional() if is_optional else validator
    return fields


def validator_of(annotation: Any) -> Validator:
    """The validator that an evaluated annotation stands for. Raises `UnsupportedAnnotation`."""
    if isinstance(annotation, Validator):
        return annotation
    try:
        scalar = _SCALARS.get(annotation)
    except TypeError:  # not hashable, so none of these
        scalar = None
    if scalar is not None:
        return scalar()
    table = table_of_annotation(annotation)
    if table is not None:
        return v.id(table)
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is typing.Annotated:
        given = next((extra for extra in arguments[1:] if isinstance(extra, Validator)), None)
        return given if given is not None else validator_of(arguments[0])
    if origin is typing.Literal:
        literals = [_literal(value) for value in arguments]
        return literals[0] if len(literals) == 1 else v.union(*literals)
    if origin in (typing.Union, types.UnionType):
        return _union([member for member in arguments if member is not Unset])
    if origin in _ARRAYS and arguments:
        return v.array(validator_of(arguments[0]))
    if origin in _RECORDS:
        keys = validator_of(arguments[0])
        return v.record(keys, validator_of(arguments[1]))
    if origin in (typing.Required, typing.NotRequired):
        return validator_of(arguments[0])
    if is_pydantic_model(annotation):
        return _model(annotation)
    if typing.is_typeddict(annotation):
        return _typed_dict(annotation)
    if isinstance(annotation, typing.NewType):
        return validator_of(annotation.__supertype__)
    raise UnsupportedAnnotation(
        f"{_named(annotation)} is no type of a Convex value; use str, float, bool, bytes, Int64, None, Id[...], "
        "list[...], dict[str, ...], Literal[...], a pydantic model or a validator, or declare args={...}"
    )


def _union(members: list[Any]) -> Validator:
    validators = [validator_of(member) for member in members]
    return validators[0] if len(validators) == 1 else v.union(*validators)


def _literal(value: Any) -> Validator:
    if value is None:
        return v.null()
    if not isinstance(value, str | bool | int | float):
        raise UnsupportedAnnotation(f"Literal[{value!r}]: a literal is a string, a number or a boolean")
    return v.literal(value)


def _model(model: type[PydanticModel]) -> Validator:
    fields: dict[str, Validator] = {}
    for name, field in model.model_fields.items():
        try:
            validator = validator_of(field.annotation)
        except UnsupportedAnnotation as error:
            raise UnsupportedAnnotation(f"field `{name}` of {model.__name__}: {error}") from error
        alias = field.validation_alias if isinstance(field.validation_alias, str) else field.alias
        fields[alias or name] = validator if field.is_required() else validator.optional()
    return v.object(fields)


def _typed_dict(annotation: Any) -> Validator:
    fields: dict[str, Validator] = {}
    for name, hint in resolve_hints(annotation).items():
        # Where annotations are strings, the class itself has not noticed its `NotRequired` fields.
        is_required = name in annotation.__required_keys__ and typing.get_origin(hint) is not typing.NotRequired
        validator = validator_of(hint)
        fields[name] = validator if is_required else validator.optional()
    return v.object(fields)


def _named(annotation: Any) -> str:
    return f"`{annotation.__name__}`" if isinstance(annotation, type) else f"`{annotation!r}`"
