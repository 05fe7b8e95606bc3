"""The functions of an app by path, and the several ways in which a path may be written (function-runtime.md 1.1)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from concave.functions.specs import FunctionSpec
from concave.values.errors import ClientError

_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.]+")
_EXPORT: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")
_NEAR: Final = 0.6


def canonical_path(text: str) -> str:
    """`dir/module:name` of any accepted spelling: `messages.js:list`, `messages.py:list`, `messages` (= `:default`).

    Raises `ClientError` (`BadConvexFunctionIdentifier`) for what cannot be a path at all.
    """
    module, colon, name = text.partition(":")
    for suffix in (".js", ".py"):
        module = module.removesuffix(suffix)
    segments = module.split("/")
    if (colon and not _EXPORT.fullmatch(name)) or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise ClientError(
            "BadConvexFunctionIdentifier",
            f"{text!r} is not a path to a function: expected `dir/module:function` or `dir/module`",
        )
    return f"{module}:{name if colon else 'default'}"


class Registry:
    """All functions of one version of an app. Immutable."""

    __slots__ = ("_functions",)

    def __init__(self, functions: Iterable[FunctionSpec] = ()) -> None:
        """The specs' paths must be distinct: the loader reports duplicates."""
        self._functions = {spec.path: spec for spec in functions}

    def get(self, path: str) -> FunctionSpec | None:
        """The function of that path, in any accepted spelling; None if there is none.

        Raises `ClientError` for what cannot be a path.
        """
        # The canonical spelling is what clients send, so no more than one look-up for them.
        return self._functions.get(path) or self._functions.get(canonical_path(path))

    def __iter__(self) -> Iterator[FunctionSpec]:
        """All functions, by path."""
        return iter(sorted(self._functions.values(), key=lambda spec: spec.path))

    def __len__(self) -> int:
        return len(self._functions)

    def near_misses(self, path: str, *, internal_ok: bool) -> list[str]:
        """Up to three paths that may have been meant, best first; internal ones only for those who may call them."""
        module, _, name = canonical_path(path).partition(":")
        likeness: dict[str, float] = {}
        for spec in self._functions.values():
            if internal_ok or spec.visibility == "public":
                # The worse half counts: a long module name in common makes no two functions alike.
                score = min(_likeness(module, spec.module), _likeness(name, spec.name))
                if score >= _NEAR or (name == spec.name != "default"):
                    likeness[spec.path] = score
        return sorted(likeness, key=lambda candidate: (-likeness[candidate], candidate))[:3]


def _likeness(a: str, b: str) -> float:
    return difflib.SequenceMatcher(None, a, b).ratio()


def not_found_text(registry: Registry, path: str, *, internal_ok: bool, hint: bool) -> str:
    """What a caller is told whose function is missing, or internal and so missing to them.

    `Could not find function` is what the official CLI looks for, `Could not find public function` what clients show.
    """
    text = f"Could not find {'' if internal_ok else 'public '}function for '{path}'."
    if not hint:
        return text
    if not len(registry):
        return f"{text} The app has no functions: is `--app` the right directory?"
    near = registry.near_misses(path, internal_ok=internal_ok)
    if near:
        return f"{text} Did you mean {' or '.join(repr(candidate) for candidate in near)}?"
    return f"{text} Is the function defined at the top level of its module, and has the app been reloaded?"
