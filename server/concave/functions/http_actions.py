"""What running an HTTP action needs and gives (function-runtime.md 7). The exchange is in `http.http_actions`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from concave.database.calls import CallTracker
from concave.functions.contexts import ActionAuth, ActionCalls, ActionCtx
from concave.functions.frames import Identity
from concave.functions.outcomes import NO_DATA, NoData
from concave.values.errors import ConcaveError, DeveloperError
from concave.values.types import Value


class RefusedAuth(ActionAuth):
    """`ctx.auth` of a caller whose token is not valid. The request is served; only asking who it is fails."""

    __slots__ = ("_refusal",)

    def __init__(self, refusal: ConcaveError) -> None:
        super().__init__(None)
        self._refusal = refusal

    async def get_user_identity(self) -> dict[str, Any] | None:
        """Raises `DeveloperError` with what is wrong with the `Authorization` header."""
        raise DeveloperError(self._refusal.code, self._refusal.client_message)


class HttpActionCtx(ActionCtx):
    """The context of an HTTP action: that of an action."""

    __slots__ = ("_refusal",)

    def __init__(
        self,
        calls: ActionCalls,
        tracker: CallTracker,
        identity: Identity | None,
        refusal: ConcaveError | None,
        now: float,
        random: Random,
        env: Mapping[str, str],
    ) -> None:
        super().__init__(calls, tracker, identity, now, random, env)
        self._refusal = refusal

    @property
    def auth(self) -> ActionAuth:
        return super().auth if self._refusal is None else RefusedAuth(self._refusal)


Respond: TypeAlias = Callable[[HttpActionCtx], Awaitable[int]]
"""Calls the handler and sends its response, to the last byte; returns the status."""


@dataclass(slots=True, frozen=True)
class HttpActionFailure:
    """An uncaught error of a handler. `code` is for the client; `trace` as well, None where errors are redacted."""

    code: str
    trace: str | None
    data: Value | NoData = NO_DATA
