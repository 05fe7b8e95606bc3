"""`@query`, `@mutation`, `@action` and their internal forms: how a coroutine function becomes a function of the app.

A decorated function stays what it was for Python code: `await list(ctx, channelId=...)` calls it as a plain helper,
without validation. For the engine it is a `FunctionReference`, to be handed to `ctx.run_query` and its like.

Nothing is checked here but what cannot wait. Mistakes in a definition are found when the app is loaded
(`specs.build_spec`), so that all of them are reported at once, each with file and line.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Literal, ParamSpec, TypeVar, overload

from concave.schema.validators import Validator, as_validator
from concave.values.errors import DeveloperError

FunctionKind = Literal["query", "mutation", "action"]
Visibility = Literal["public", "internal"]
ValidatorOrFields = Validator | Mapping[str, Validator]
"""A validator, or the fields of an object: `{"id": v.id("users")}` stands for `v.object({"id": v.id("users")})`."""

P = ParamSpec("P")
R = TypeVar("R")


class FunctionReference(Generic[P, R]):
    """A function of the app. `path` is known once the app is loaded: `messaging/messages:list`."""

    def __init__(
        self,
        handler: Callable[P, R],
        kind: FunctionKind,
        visibility: Visibility,
        args: Validator | None,
        returns: Validator | None,
        name: str | None,
    ) -> None:
        functools.update_wrapper(self, handler)
        self.__name__: str = getattr(handler, "__name__", type(handler).__name__)
        self.handler = handler
        self.kind: FunctionKind = kind
        self.visibility: Visibility = visibility
        self.args = args
        """The declared argument validator; None where it is to be inferred from the annotations."""
        self.returns = returns
        self.name = name
        """The name given to the decorator; None where the function is called as its variable is."""
        self.file, self.line = _definition_place(handler)
        self._path: str | None = None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the undecorated function: nothing is validated, no transaction of its own."""
        return self.handler(*args, **kwargs)

    @property
    def path(self) -> str:
        """The canonical path. Raises `DeveloperError` while the function belongs to no loaded app."""
        if self._path is None:
            raise DeveloperError(
                "UnregisteredFunction",
                f"the {self.kind} `{self.__name__}` ({self.file}:{self.line}) is not among the app's functions: "
                "define it at the top level of a module whose name does not start with `_`",
            )
        return self._path

    def bind(self, path: str) -> None:
        """Called by the loader when the function has found its place."""
        self._path = path

    def __repr__(self) -> str:
        return f"<{self.visibility} {self.kind} {self._path or self.__name__}>"


class FunctionDecorator:
    """One of the six decorators; used bare or with arguments."""

    __slots__ = ("_kind", "_visibility")

    def __init__(self, kind: FunctionKind, visibility: Visibility) -> None:
        self._kind: FunctionKind = kind
        self._visibility: Visibility = visibility

    @overload
    def __call__(self, handler: Callable[P, R], /) -> FunctionReference[P, R]: ...

    @overload
    def __call__(
        self,
        /,
        *,
        args: ValidatorOrFields | None = None,
        returns: ValidatorOrFields | None = None,
        name: str | None = None,
    ) -> Callable[[Callable[P, R]], FunctionReference[P, R]]: ...

    def __call__(
        self,
        handler: Callable[P, R] | None = None,
        /,
        *,
        args: ValidatorOrFields | None = None,
        returns: ValidatorOrFields | None = None,
        name: str | None = None,
    ) -> FunctionReference[P, R] | Callable[[Callable[P, R]], FunctionReference[P, R]]:
        """`args` and `returns` validate what goes in and comes out; without `args`, the annotations do.

        `name` is the function's name in its path, where the variable cannot have it. Raises `DeveloperError`
        (`InvalidDefinition`, `InvalidValidator`) when used on what is no function, or with what is no validator.
        """
        written = f"@{'internal_' if self._visibility == 'internal' else ''}{self._kind}"
        args_validator = _as_validator(args, f"{written}(args=...)")
        returns_validator = _as_validator(returns, f"{written}(returns=...)")

        def decorate(function: Callable[P, R]) -> FunctionReference[P, R]:
            if isinstance(function, FunctionReference):
                raise DeveloperError(
                    "InvalidDefinition", f"{written}: `{function.__name__}` is a {function.kind} already"
                )
            if not callable(function):
                raise DeveloperError(
                    "InvalidDefinition",
                    f"{written} decorates a function, not {function!r}: write `{written}` or `{written}(args=...)`",
                )
            return FunctionReference(function, self._kind, self._visibility, args_validator, returns_validator, name)

        return decorate if handler is None else decorate(handler)


query: Final = FunctionDecorator("query", "public")
mutation: Final = FunctionDecorator("mutation", "public")
action: Final = FunctionDecorator("action", "public")
internal_query: Final = FunctionDecorator("query", "internal")
internal_mutation: Final = FunctionDecorator("mutation", "internal")
internal_action: Final = FunctionDecorator("action", "internal")


def _as_validator(given: ValidatorOrFields | None, where: str) -> Validator | None:
    return None if given is None else as_validator(given, where=where)


def _definition_place(handler: Callable[..., Any]) -> tuple[str, int]:
    """File and line of the `def` (or its first decorator); those of its class for a callable object."""
    function = inspect.unwrap(handler)
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code is not None else ("<unknown>", 0)
