"""What is known of a function of the app: `FunctionSpec`, built from a decorated function when the app is loaded."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from concave.functions.annotations import UnsupportedAnnotation, fields_of, resolve_hints
from concave.functions.calling import Call, Parameters, compile_call
from concave.functions.decorators import FunctionKind, FunctionReference, Visibility
from concave.schema.validators import DocumentLookup, ObjectValidator, Validator, resolve_docs, v


@dataclass(slots=True, frozen=True)
class FunctionSpec:
    """One function of one version of the app. `path` is canonical: `messaging/messages:list`.

    `args` is an object validator or `v.any()`; `returns` is None if nothing was declared. `call` calls the handler with
    a context and validated arguments. `file` and `line` are of the definition.
    """

    path: str
    kind: FunctionKind
    visibility: Visibility
    args: Validator
    returns: Validator | None
    handler: Callable[..., Any]
    is_async: bool
    call: Call
    file: str
    line: int

    @property
    def module(self) -> str:
        return self.path.partition(":")[0]

    @property
    def name(self) -> str:
        return self.path.partition(":")[2]

    @property
    def kind_title(self) -> str:
        """The kind as messages write it: `Query`, `Mutation`, `Action`."""
        return self.kind.capitalize()

    def to_json(self, lookup: DocumentLookup) -> dict[str, Any]:
        """The function in the form of upstream's `function-spec` (http-and-admin.md 5.8)."""
        return {
            "identifier": f"{self.module}.js:{self.name}",
            "functionType": self.kind_title,
            "visibility": {"kind": self.visibility},
            "args": resolve_docs(self.args, lookup).json(),
            "returns": {"type": "any"} if self.returns is None else resolve_docs(self.returns, lookup).json(),
        }


class InvalidFunction(Exception):
    """A decorated function that cannot be one of the app's. The text says why and how to mend it."""


def build_spec(reference: FunctionReference[..., Any], path: str) -> FunctionSpec:
    """Check a definition and compile how to call it. Raises `InvalidFunction`."""
    handler = reference.handler
    decorator = f"@{'internal_' if reference.visibility == 'internal' else ''}{reference.kind}"
    name = getattr(handler, "__name__", repr(handler))
    is_async = _is_async(handler, decorator, name, may_be_plain=reference.kind == "action")
    try:
        parameters = Parameters.of(handler)
    except (TypeError, ValueError) as error:
        raise InvalidFunction(f"{decorator} `{name}`: its parameters cannot be read: {error}") from error
    _check_shape(parameters, decorator, name)
    try:
        hints = resolve_hints(handler)
    except UnsupportedAnnotation as error:
        if reference.args is None:
            raise InvalidFunction(f"{decorator} `{name}`: {error}") from error
        hints = {}  # the validators are declared, so the annotations may say what they like
    try:
        args = _infer_args(parameters, hints) if reference.args is None else reference.args
    except UnsupportedAnnotation as error:
        raise InvalidFunction(f"{decorator} `{name}`: {error}") from error
    _check_args(args, parameters, decorator, name)
    return FunctionSpec(
        path=path,
        kind=reference.kind,
        visibility=reference.visibility,
        args=args,
        returns=reference.returns,
        handler=handler,
        is_async=is_async,
        call=compile_call(handler, parameters, args, hints),
        file=reference.file,
        line=reference.line,
    )


def _is_async(handler: Callable[..., Any], decorator: str, name: str, *, may_be_plain: bool) -> bool:
    function = handler if inspect.isroutine(handler) else type(handler).__call__
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise InvalidFunction(f"{decorator} `{name}` is a generator; return a list instead of using `yield`")
    if inspect.iscoroutinefunction(function):
        return True
    if not may_be_plain:
        raise InvalidFunction(
            f"{decorator} `{name}` is not async: write `async def {name}(ctx, ...)`. "
            "Blocking code belongs into an action, which may be a plain `def`"
        )
    return False


def _check_shape(parameters: Parameters, decorator: str, name: str) -> None:
    if parameters.ctx is None:
        raise InvalidFunction(f"{decorator} `{name}` takes no context: its first parameter is `ctx`")
    if parameters.positional_only:
        raise InvalidFunction(
            f"{decorator} `{name}`: arguments are passed by name, so `{parameters.positional_only[0].name}` "
            "cannot be positional only"
        )


def _infer_args(parameters: Parameters, hints: dict[str, Any]) -> Validator:
    if parameters.rest:
        return v.any()  # `**args` takes anything; validators for it can only be declared
    return v.object(fields_of(parameters.named, hints))


def _check_args(args: Validator, parameters: Parameters, decorator: str, name: str) -> None:
    """Every argument must have a parameter to go to, and every parameter an argument or a default."""
    if not isinstance(args, ObjectValidator):
        if args.kind != "any":
            raise InvalidFunction(f"{decorator} `{name}`: args= is a dict of validators, v.object(...) or v.any()")
        return
    ctx = parameters.ctx
    if ctx is not None and ctx.kind is not inspect.Parameter.POSITIONAL_ONLY and ctx.name in args.fields:
        raise InvalidFunction(
            f"{decorator} `{name}`: the argument `{ctx.name}` has the name of the context parameter; "
            f"make that positional only: `def {name}({ctx.name}, /, **args)`"
        )
    taken = {parameter.name for parameter in parameters.named}
    if not parameters.rest:
        for field in args.fields:
            if field not in taken:
                raise InvalidFunction(
                    f"{decorator} `{name}`: args= declares `{field}`, but the function takes no such parameter; "
                    "add it, or take the rest with `**args`"
                )
    for parameter in parameters.named:
        if parameter.name not in args.fields and parameter.default is inspect.Parameter.empty:
            raise InvalidFunction(
                f"{decorator} `{name}`: the parameter `{parameter.name}` has no default and args= does not declare it"
            )
