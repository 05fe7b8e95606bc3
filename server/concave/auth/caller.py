"""What has been proved about whoever sends a request or holds a socket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from concave.functions.frames import Identity
from concave.values.errors import ClientError, forbidden


@dataclass(slots=True, eq=False)
class Voucher:
    """Held by all callers that one provider vouches for. It is withdrawn, for good, when the app drops the provider."""

    is_withdrawn: bool = False


@dataclass(slots=True, frozen=True)
class Caller:
    """`identity` is what functions are shown; admins have none unless they act as a user.

    `is_admin` opens internal functions and admin endpoints; `is_read_only` admins run queries only. From `expires_ms`,
    in milliseconds since 1970, the proof is worth nothing; None: it does not expire. `voucher` is of users only.
    """

    identity: Identity | None = None
    is_admin: bool = False
    is_read_only: bool = False
    expires_ms: float | None = None
    voucher: Voucher | None = None

    def is_expired(self, now_ms: float) -> bool:
        """Whether the proof has lost its worth: by time, or because its provider is trusted no longer."""
        if self.expires_ms is not None and now_ms >= self.expires_ms:
            return True
        return self.voucher is not None and self.voucher.is_withdrawn

    @property
    def write_refusal(self) -> ClientError | None:
        """Why the caller may run no mutation and no action; None if nothing is in the way."""
        return not_permitted("deployment:data:write") if self.is_read_only else None


ANONYMOUS: Final = Caller()


def not_permitted(action: str) -> ClientError:
    """403. The official CLI recognises the sentence (http-and-admin.md 4.2)."""
    return forbidden("OperationNotPermitted", f"You do not have permission to perform this operation ({action}).")
