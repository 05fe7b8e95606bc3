"""Where the functions of this app meet; the tests say how."""

from __future__ import annotations

from collections.abc import Awaitable, Callable


async def nobody_waits(name: str) -> None:
    """The default."""


arrive: Callable[[str], Awaitable[None]] = nobody_waits
