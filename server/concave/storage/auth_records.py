"""What the built-in auth provider keeps: accounts, sessions, its signing key, and guesses at passwords.

| collection | a document |
|---|---|
| `_auth_accounts` | `{_id: login, subject, name, hash}` |
| `_auth_sessions` | `{_id: family, subject, login, token, replaced, replacedAt, expires}` |
| `_auth_settings` | `{_id: "issuer", value}`, `{_id: "signing key", kid, private}` |
| `_auth_guesses` | `{_id: what is guessed at, or who guesses, count, until}` |

They lie beside the app's documents, outside the commit log: no function reads them, and no live query depends on them.
Every write is one command on one document that may be run twice. The database's clock decides what has expired.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, ParamSpec, TypeVar

from pymongo.errors import OperationFailure

from concave.storage.lane import Lanes
from concave.storage.store import StoreError
from concave.values.errors import OverloadError
from concave.values.types import Document

ACCOUNTS: Final = "_auth_accounts"
SESSIONS: Final = "_auth_sessions"
SETTINGS: Final = "_auth_settings"
GUESSES: Final = "_auth_guesses"
AUTH_COLLECTIONS: Final = (ACCOUNTS, SESSIONS, SETTINGS, GUESSES)

RACE_S: Final = 10.0
"""How long after its replacement a refresh token may come again without ending the session: two tabs of one browser
refresh at once."""

_MAJORITY: Final = {"w": "majority", "wtimeout": 5_000}
_ATTEMPTS_MAX: Final = 3

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(slots=True, frozen=True)
class AccountRecord:
    """`login` is what its owner types, normalised; `subject` never changes; `hash` is of the password."""

    login: str
    subject: str
    name: str
    hash: str


class Rotation(Enum):
    """What became of an exchange of refresh tokens."""

    DONE = "done"
    UNKNOWN = "unknown"
    """No such session, or it has ended."""
    RACED = "raced"
    """The token was replaced a moment ago."""
    REUSED = "reused"
    """The token was replaced before: somebody has a copy. The session is ended."""


def _raises_overload(
    method: Callable[Parameters, Awaitable[Result]],
) -> Callable[Parameters, Awaitable[Result]]:
    """Whatever the database says no with, whoever signs in can only try again."""

    @functools.wraps(method)
    async def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        try:
            return await method(*args, **kwargs)
        except (StoreError, OperationFailure) as error:
            raise OverloadError("AuthUnavailable", f"Accounts cannot be reached at the moment: {error}") from error

    return wrapped


class AuthRecords:
    """All methods raise `OverloadError` (`AuthUnavailable`) while the database does not answer."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes

    @_raises_overload
    async def prepare(self) -> None:
        """Let MongoDB remove what has expired."""
        for collection, field in ((SESSIONS, "expires"), (GUESSES, "until")):
            expiry = {"key": {field: 1}, "name": "expiry", "expireAfterSeconds": 0}
            await self._lanes.command({"createIndexes": collection, "indexes": [expiry]})

    @_raises_overload
    async def setting(self, name: str, proposed: Document) -> Document:
        """The setting of that name: the one proposed, if there is none yet."""
        found = await self._change(SETTINGS, {"_id": name}, {"$setOnInsert": proposed}, upsert=True)
        assert found is not None
        return found

    # -- accounts -----------------------------------------------------------------------------------------------------

    @_raises_overload
    async def add_account(self, account: AccountRecord) -> bool:
        """False if the login is taken."""
        fields = {"subject": account.subject, "name": account.name, "hash": account.hash}
        found = await self._change(ACCOUNTS, {"_id": account.login}, {"$setOnInsert": fields}, upsert=True)
        return found is not None and found["subject"] == account.subject

    @_raises_overload
    async def account(self, login: str) -> AccountRecord | None:
        found = await self._find(ACCOUNTS, login)
        return None if found is None else AccountRecord(login, found["subject"], found["name"], found["hash"])

    @_raises_overload
    async def change_hash(self, login: str, hash: str) -> None:
        """Keep another hash of the same password, or of a new one."""
        await self._change(ACCOUNTS, {"_id": login}, {"$set": {"hash": hash}})

    # -- sessions -----------------------------------------------------------------------------------------------------

    @_raises_overload
    async def begin_session(self, family: str, account: AccountRecord, token_hash: str, lasts_s: float) -> None:
        change = [
            {
                "$set": {
                    "subject": {"$literal": account.subject},
                    "login": {"$literal": account.login},
                    "token": token_hash,
                    "expires": {"$add": ["$$NOW", int(lasts_s * 1000)]},
                }
            }
        ]
        await self._change(SESSIONS, {"_id": family}, change, upsert=True)

    @_raises_overload
    async def rotate(self, family: str, old: str, new: str, lasts_s: float) -> tuple[Rotation, str]:
        """Exchange a session's token, given by their hashes; with `DONE` comes the login."""
        is_current = {"_id": family, "token": old, "$expr": {"$gt": ["$expires", "$$NOW"]}}
        change = [
            {
                "$set": {
                    "token": new,
                    "replaced": old,
                    "replacedAt": "$$NOW",
                    "expires": {"$add": ["$$NOW", int(lasts_s * 1000)]},
                }
            }
        ]
        found = await self._change(SESSIONS, is_current, change)
        if found is not None:
            return Rotation.DONE, found["login"]
        found = await self._find(SESSIONS, family)
        if found is None:
            return Rotation.UNKNOWN, ""
        if found["token"] == new:  # done by the first sending of this very command
            return Rotation.DONE, found["login"]
        if found["token"] == old:
            return Rotation.UNKNOWN, ""
        a_moment_ago = {"$gt": [{"$add": ["$replacedAt", int(RACE_S * 1000)]}, "$$NOW"]}
        raced = {"_id": family, "replaced": old, "$expr": a_moment_ago}
        if await self._find_by(SESSIONS, raced) is not None:
            return Rotation.RACED, ""
        await self.end_session(family)
        return Rotation.REUSED, ""

    @_raises_overload
    async def end_session(self, family: str, token_hash: str | None = None) -> None:
        """End a session, and with it all its refresh tokens; with a hash, only if that is its token."""
        query: Document = {"_id": family} if token_hash is None else {"_id": family, "token": token_hash}
        deletes = [{"q": query, "limit": 1}]
        await self._lanes.command({"delete": SESSIONS, "deletes": deletes, "writeConcern": _MAJORITY})

    # -- guesses ------------------------------------------------------------------------------------------------------

    @_raises_overload
    async def count_guess(self, key: str, window_s: float) -> int:
        """Count one more; how many there have been since the first of the window."""
        is_over = {"$lte": [{"$ifNull": ["$until", "$$NOW"]}, "$$NOW"]}
        fresh = {"$add": ["$$NOW", int(window_s * 1000)]}
        change = [
            {
                "$set": {
                    "count": {"$cond": [is_over, 1, {"$add": ["$count", 1]}]},
                    "until": {"$cond": [is_over, fresh, "$until"]},
                }
            }
        ]
        found = await self._change(GUESSES, {"_id": key}, change, upsert=True)
        assert found is not None
        return int(found["count"])

    @_raises_overload
    async def forget_guesses(self, key: str) -> None:
        await self._lanes.command({"delete": GUESSES, "deletes": [{"q": {"_id": key}, "limit": 1}]})

    # -- commands -----------------------------------------------------------------------------------------------------

    async def _change(self, collection: str, query: Document, update: Any, *, upsert: bool = False) -> Document | None:
        """The document after the change, None if there was none to change."""
        command = {"findAndModify": collection, "query": query, "update": update, "upsert": upsert, "new": True}
        for attempt in range(1, _ATTEMPTS_MAX + 1):
            try:
                reply = await self._lanes.command({**command, "writeConcern": _MAJORITY})
                break
            except OperationFailure as error:
                # Two upserts at once: one of them finds the other's document when it tries again.
                if error.code != 11000 or attempt == _ATTEMPTS_MAX:
                    raise
        found: Document | None = reply["value"]
        return found

    async def _find(self, collection: str, id: str) -> Document | None:
        return await self._find_by(collection, {"_id": id})

    async def _find_by(self, collection: str, query: Document) -> Document | None:
        command = {"find": collection, "filter": query, "limit": 1, "singleBatch": True}
        reply = await self._lanes.command({**command, "readConcern": {"level": "majority"}})
        found: list[Document] = reply["cursor"]["firstBatch"]
        return found[0] if found else None
