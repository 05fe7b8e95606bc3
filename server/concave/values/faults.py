"""How the walks over values (decoding, normalizing, checking) report what is wrong and where.

A walk raises `ValueFaultError` at the offending place; each container on the way out adds its step, so that a path
costs nothing as long as nothing is wrong. The walk's entry point turns the fault into a `DeveloperError`
(`errors.error_at`).
"""

from __future__ import annotations


class ValueFaultError(Exception):
    """Something is wrong at one place within a value. Never leaves the package."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self._steps: list[str] = []

    def inside_field(self, name: object) -> None:
        """The fault lies below the field `name` of an object."""
        self._steps.append(f".{name}" if isinstance(name, str) and name.isidentifier() else f"[{name!r}]")

    def inside_element(self, position: int) -> None:
        """The fault lies below an element of an array."""
        self._steps.append(f"[{position}]")

    @property
    def path(self) -> str:
        """Where within the whole value, such as `.tags[3]`; empty for the value itself."""
        return "".join(reversed(self._steps))
