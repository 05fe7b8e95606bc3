"""One version of an app, compiled for one catalog: what the runner calls.

Functions are compiled on their first call, because their validators need the catalog's table numbers. A reload or a
push makes a new `ServedApp`; calls under way keep the one they began with, nested calls included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from concave.functions.calling import Call
from concave.functions.decorators import FunctionKind, FunctionReference
from concave.functions.loader import LoadedApp
from concave.functions.registry import not_found_text
from concave.functions.specs import FunctionSpec
from concave.schema.catalog import Catalog
from concave.schema.checking import Check, ValidationFailure, compile_check
from concave.values.errors import ClientError, DeveloperError, argument_validation_error, returns_validation_error
from concave.values.sizes import size
from concave.values.types import Value

FunctionName = str | FunctionReference[..., Any]
"""How functions name each other: the decorated function, or its path."""


@dataclass(slots=True, frozen=True)
class CompiledFunction:
    """A function and its checks. `call` takes a context and checked arguments."""

    spec: FunctionSpec
    call: Call
    _check_args: Check
    _check_returns: Check | None
    _args_bytes_max: int

    def checked_args(self, args: Value) -> dict[str, Value]:
        """The arguments, plain ints made floats where numbers are wanted. Raises `ArgumentValidationError`."""
        if type(args) is not dict:
            raise argument_validation_error("the arguments of a function are one object with a field for each")
        bytes_used = size(args)
        if bytes_used > self._args_bytes_max:
            raise DeveloperError(
                "InvalidArguments",
                f"Arguments for {self.spec.path} are too large (actual: {bytes_used} bytes, "
                f"limit: {self._args_bytes_max} bytes). Pass them in parts, by several calls.",
            )
        try:
            checked: dict[str, Value] = self._check_args(args)
        except ValidationFailure as failure:
            raise argument_validation_error(failure.text) from None
        return checked

    def checked_result(self, value: Value) -> Value:
        """The result, as `checked_args`. Raises `ReturnsValidationError`."""
        if self._check_returns is None:
            return value
        try:
            return self._check_returns(value)
        except ValidationFailure as failure:
            raise returns_validation_error(failure.text) from None


class ServedApp:
    """Finds functions by path. `development` adds hints to what is said of missing ones."""

    __slots__ = ("_args_bytes_max", "_compiled", "_development", "app", "catalog")

    def __init__(self, app: LoadedApp, catalog: Catalog, *, args_bytes_max: int, development: bool) -> None:
        self.app = app
        self.catalog = catalog
        self._args_bytes_max = args_bytes_max
        self._development = development
        self._compiled: dict[str, CompiledFunction] = {}

    def find(self, path: str, *, internal_ok: bool) -> CompiledFunction:
        """The function of that path in any accepted spelling.

        Raises `DeveloperError` (`FunctionNotFound`), also for an internal function if these are not allowed, and
        `ClientError` for what cannot be a path.
        """
        function = self._compiled.get(path)
        if function is None:
            spec = self.app.registry.get(path)
            if spec is None:
                raise self._not_found(path, internal_ok=internal_ok)
            function = self._compiled.get(spec.path) or self._compile(spec)
        if function.spec.visibility == "internal" and not internal_ok:
            raise self._not_found(path, internal_ok=internal_ok)
        return function

    def find_as(self, kind: FunctionKind, path: str, *, internal_ok: bool) -> CompiledFunction:
        """As `find`; raises `DeveloperError` (`WrongFunctionType`) too."""
        function = self.find(path, internal_ok=internal_ok)
        if function.spec.kind != kind:
            raise DeveloperError(
                "WrongFunctionType",
                f"Trying to execute {function.spec.path} as {kind.capitalize()}, "
                f"but it is defined as {function.spec.kind_title}.",
            )
        return function

    def find_named(self, kind: FunctionKind, name: FunctionName) -> CompiledFunction:
        """The function that another function names; internal ones are allowed. Raises as `find_as`."""
        if isinstance(name, FunctionReference):
            return self.find_as(kind, name.path, internal_ok=True)
        if isinstance(name, str):
            try:
                return self.find_as(kind, name, internal_ok=True)
            except ClientError as error:  # it was a function that wrote this path
                raise DeveloperError(error.code, error.message) from None
        raise DeveloperError(
            "InvalidFunctionName",
            f"a function is named by the decorated function or its path such as 'messages:list', not {name!r}",
        )

    def _compile(self, spec: FunctionSpec) -> CompiledFunction:
        function = CompiledFunction(
            spec,
            spec.call,
            compile_check(spec.args, self.catalog),
            None if spec.returns is None else compile_check(spec.returns, self.catalog),
            self._args_bytes_max,
        )
        self._compiled[spec.path] = function
        return function

    def _not_found(self, path: str, *, internal_ok: bool) -> DeveloperError:
        text = not_found_text(self.app.registry, path, internal_ok=internal_ok, hint=self._development)
        return DeveloperError("FunctionNotFound", text)
