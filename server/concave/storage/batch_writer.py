"""Commits one batch at a time: the log entry and its documents in one MongoDB transaction.

A commit is two round trips: the log entry and one command per collection and kind are sent together, then, when all
were accepted, `commitTransaction`. The log entry goes first, so that in change streams it precedes its documents.

* One lane, one logical session: a new transaction ends a left-over one of the same session on the server.
* A node that dies, or stands still, between its statements and `commitTransaction` leaves an open transaction that
  holds the next log number; MongoDB would let it stand for a minute. Who is blocked by it ends it.
* Whether the outcome is known is always known: once `commitTransaction` was sent without an answer, only another
  answer to it, or the presence of the batch in `_commits`, settles it; nothing is written twice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from bson.binary import Binary
from bson.int64 import Int64 as BsonLong
from pymongo import AsyncMongoClient
from pymongo.errors import ConnectionFailure, NotPrimaryError, OperationFailure, ServerSelectionTimeoutError
from pymongo.helpers_shared import _NOT_PRIMARY_CODES

from concave.storage.commit_log import (
    COMMITS,
    ENTRY_BYTES_MAX,
    REQUEST_KEY,
    entry_document,
    from_bson_timestamp,
    request_key,
    snapshot_ts,
)
from concave.storage.lane import PLAIN, Lane, Lanes, Reply, decode
from concave.storage.mongo_tables import MongoTables
from concave.storage.refusals import unique_refusal
from concave.storage.store import (
    DocumentWrite,
    LogEntry,
    SeqTaken,
    StoreError,
    StoreUnavailable,
    WriteConflict,
    WriteRefused,
)
from concave.values.runtime import Runtime
from concave.values.types import Timestamp

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 8
"""Transactions tried for one batch when the server asks to try again."""

COMMIT_ATTEMPTS: Final = 4
"""How often an unanswered commit is asked for again before the log is looked at."""

BACKOFF_S: Final = 0.002
BACKOFF_DOUBLINGS_MAX: Final = 7

ABANDONED_S: Final = 1.0
"""A transaction in which nothing has happened for so long is nobody's any more. Between the statements and the commit
of a living node there is one round trip."""

APPEND_TIMEOUT_S: Final = 30.0
"""After this long no further attempt is begun: the caller is told that the database does not answer."""

_DUPLICATE_KEY: Final = 11000
_WRITE_CONFLICT: Final = 112
_DOCUMENT_VALIDATION_FAILURE: Final = 121
_TOO_LARGE: Final = frozenset((10334, 17280, 17419, 17420))
_MAJORITY: Final = {"w": "majority"}

_Statements = {"insert": "documents", "update": "updates", "delete": "deletes"}


class _TryAgainError(Exception):
    """The transaction surely did not happen, and the same one may succeed."""


class _LogBlockedError(Exception):
    """The transaction surely did not happen: another one holds the log number, and is not committed yet."""


class _UnknownOutcomeError(Exception):
    """The transaction may have been committed."""


@dataclass(slots=True)
class _Part:
    """One command of the transaction. `positions` are those of its statements in `LogEntry.writes`."""

    kind: Literal["insert", "update", "delete"]
    collection: str
    statements: list[dict[str, Any]]
    positions: list[int]

    def command(self) -> dict[str, Any]:
        return {self.kind: self.collection, _Statements[self.kind]: self.statements}


class BatchWriter:
    """Owns the session under which this node commits; `session_id` is how the feed knows its own transactions."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], lanes: Lanes, database: str, runtime: Runtime) -> None:
        self._client = client
        self._lanes = lanes
        self._database = database
        self._runtime = runtime
        self.session_id: Final = Binary(UUID(bytes=runtime.random_bytes(16), version=4).bytes, 4)
        self._transaction = 0
        self._lane: Lane | None = None
        self._blocked_since: float | None = None
        """Since when no attempt has got as far as to hear whether its log number is free."""

    async def commit(self, entry: LogEntry, tables: MongoTables, *, prev_ts: Timestamp | None) -> Timestamp:
        """Commit the batch; returns the cluster time of the commit.

        After a lost answer this may be a later time, before that of any other entry. Raises what `Store.append` raises.
        """
        document = entry_document(entry, tables, prev_ts=prev_ts)
        parts = [_Part("insert", COMMITS, [document], []), *_parts(entry.writes, tables)]
        uncertain = False
        deadline = self._runtime.monotonic() + APPEND_TIMEOUT_S
        attempts = blocked = 0
        trouble: BaseException | None = None
        while attempts < ATTEMPTS:
            if attempts or blocked:
                await self._back_off(min(attempts + blocked, BACKOFF_DOUBLINGS_MAX))
                if self._runtime.monotonic() > deadline:
                    raise StoreUnavailable(f"MongoDB did not commit batch {entry.batch} in {APPEND_TIMEOUT_S:g} s")
            try:
                return await self._attempt(entry, parts, tables, deadline)
            except _LogBlockedError:
                blocked += 1  # not an attempt: whoever holds the number will commit, or be ended, within the deadline
                await self._end_abandoned(entry.seq)
                continue
            except _TryAgainError as error:
                attempts += 1
                trouble = error.__cause__
                continue
            except _UnknownOutcomeError:
                uncertain = True
            except SeqTaken:
                if not uncertain:
                    raise
            attempts += 1
            settled = await self._settle(entry)
            if settled is not None:
                return settled
        if uncertain:
            raise StoreUnavailable(f"MongoDB did not say what became of batch {entry.batch}")
        if trouble is not None:
            raise StoreUnavailable(f"MongoDB does not answer: {trouble}") from trouble
        raise WriteConflict(f"batch {entry.batch} met a concurrent writer {ATTEMPTS} times")

    async def close(self) -> None:
        if self._lane is not None:
            await self._lane.close()
            self._lane = None

    async def _attempt(
        self, entry: LogEntry, parts: Sequence[_Part], tables: MongoTables, deadline: float
    ) -> Timestamp:
        """One transaction. Raises `_TryAgainError` or `_UnknownOutcomeError` besides the errors of `commit`."""
        self._transaction += 1
        transaction = {
            "lsid": {"id": self.session_id},
            "txnNumber": BsonLong(self._transaction),
            "autocommit": False,
        }
        try:
            lane = await self._open_lane()
            messages = [
                lane.encode(
                    part.command() | transaction | ({} if number else {"startTransaction": True}), self._database
                )
                for number, part in enumerate(parts)
            ]
            _check_sizes(parts, messages)
            bodies = await lane.run(messages)
        except ServerSelectionTimeoutError as error:
            raise StoreUnavailable(f"MongoDB does not answer: {error}") from error
        except ConnectionFailure as error:  # or the driver has just given up this server, and looks for another
            raise _TryAgainError from error
        token = None
        for part, body in zip(parts, bodies, strict=True):
            reply = decode(body, PLAIN)
            token = reply.get("recoveryToken", token)
            failure = _failure(reply, part, entry, tables)
            if not isinstance(failure, _LogBlockedError):
                self._blocked_since = None
            if failure is not None:
                await self._abort(lane, transaction, reply)
                raise failure
        commit: dict[str, Any] = {"commitTransaction": 1, **transaction, "writeConcern": _MAJORITY}
        if token is not None:
            commit["recoveryToken"] = token
        return await self._finish(lane, commit, deadline)

    async def _finish(self, lane: Lane, commit: dict[str, Any], deadline: float) -> Timestamp:
        for attempt in range(COMMIT_ATTEMPTS):
            if attempt:
                await self._back_off(attempt + 4)
                if self._runtime.monotonic() > deadline:
                    break
            try:
                if not lane.is_open:
                    lane = await self._open_lane()
                body = (await lane.run((lane.encode(dict(commit), "admin"),)))[0]
                reply = decode(body, PLAIN)
                if reply["ok"] == 1 and "writeConcernError" not in reply:
                    if attempt == 0:
                        return from_bson_timestamp(reply["operationTime"])
                    break  # committed; but to a second question the server tells the present, not the commit's time
                if (not_primary := _not_primary(reply)) is not None:
                    await lane.close(not_primary)
            except ConnectionFailure:
                continue
            if attempt == 0 and reply["ok"] != 1 and "TransientTransactionError" in reply.get("errorLabels", ()):
                raise _TryAgainError  # the server says that it was not committed, and nobody else was asked
            if attempt and reply["ok"] != 1 and "UnknownTransactionCommitResult" not in reply.get("errorLabels", ()):
                break  # the transaction is not known any more: it was committed, or never will be
        raise _UnknownOutcomeError

    async def _settle(self, entry: LogEntry) -> Timestamp | None:
        """Whether the batch is in the log: its timestamp, or None. Raises `SeqTaken` if another is.

        Nobody tells its exact time, but any time before the next entry's does: what no log entry came between cannot be
        told apart. With a next entry, whose writer heard of ours, that one names it. Raises `StoreUnavailable` where it
        does not: a later time would let this node believe that it knows of commits that it does not.
        """
        reply = await self._lanes.command(
            {
                "find": COMMITS,
                "filter": {"_id": {"$gte": BsonLong(entry.seq)}},
                "projection": {"batch": 1, "prevTs": 1},
                "sort": {"_id": 1},
                "limit": 2,
                "readConcern": {"level": "snapshot"},
            }
        )
        found = reply["cursor"]["firstBatch"]
        if not found:
            return None
        if found[0]["batch"] != entry.batch:
            raise _seq_taken(entry)
        if len(found) == 1:
            return snapshot_ts(reply)
        if "prevTs" not in found[1]:
            raise StoreUnavailable(f"batch {entry.batch} was committed, but nobody knows when")
        return from_bson_timestamp(found[1]["prevTs"])

    async def _abort(self, lane: Lane, transaction: dict[str, Any], reply: Reply) -> None:
        """End the failed transaction at once, so that it blocks nobody; the server ends it anyway at the next one."""
        try:
            if (not_primary := _not_primary(reply)) is not None:
                await lane.close(not_primary)
            else:
                await lane.run((lane.encode({"abortTransaction": 1, **transaction}, "admin"),))
        except ConnectionFailure:
            return

    async def _end_abandoned(self, seq: int) -> None:
        """End the transactions of concave's nodes in which nothing happens any more, if one has blocked us for long.

        Such a node, if it lives, hears of it at its commit, and begins anew. Another database's are ended with it:
        which one a transaction writes to is not told.
        """
        now = self._runtime.monotonic()
        if self._blocked_since is None:
            self._blocked_since = now
        if now - self._blocked_since < ABANDONED_S:
            return
        pipeline: list[dict[str, Any]] = [
            {"$currentOp": {"idleSessions": True}},
            {
                "$match": {
                    "appName": self._client.options.pool_options.appname,
                    "transaction.timeInactiveMicros": {"$gt": int(ABANDONED_S * 1e6)},
                }
            },
            {"$project": {"session": "$lsid.id"}},
        ]
        try:
            reply = await self._lanes.command({"aggregate": 1, "pipeline": pipeline, "cursor": {}}, database="admin")
            sessions = [{"id": found["session"]} for found in reply["cursor"]["firstBatch"]]
            if sessions:
                logger.warning("log entry %d is held by a transaction that goes on no more; ending it", seq)
                await self._lanes.command({"killSessions": sessions}, database="admin")
        except OperationFailure as error:
            logger.warning("the transaction that holds log entry %d could not be ended: %s", seq, error)
        self._blocked_since = now

    async def _open_lane(self) -> Lane:
        if self._lane is None or not self._lane.is_open:
            self._lane = None
            self._lane = await Lane.open(self._client)
        return self._lane

    async def _back_off(self, attempt: int) -> None:
        jitter = int.from_bytes(self._runtime.random_bytes(2), "big") / 65_536
        await self._runtime.sleep(BACKOFF_S * 2**attempt * jitter)


def _parts(writes: Sequence[DocumentWrite], tables: MongoTables) -> list[_Part]:
    """One command per table and kind: deletes, then updates, then inserts, so that unique keys are free in time."""
    deletes: dict[str, _Part] = {}
    updates: dict[str, _Part] = {}
    inserts: dict[str, _Part] = {}
    for position, write in enumerate(writes):
        name = write.table
        if write.after is None:
            part = deletes.get(name) or deletes.setdefault(name, _Part("delete", name, [], []))
            part.statements.append({"q": {"_id": write.id}, "limit": 1})
        elif write.before is None:
            part = inserts.get(name) or inserts.setdefault(name, _Part("insert", name, [], []))
            part.statements.append(tables[name].codec.stored(write.after))
        else:
            part = updates.get(name) or updates.setdefault(name, _Part("update", name, [], []))
            part.statements.append({"q": {"_id": write.id}, "u": tables[name].codec.stored(write.after)})
        part.positions.append(position)
    return [*deletes.values(), *updates.values(), *inserts.values()]


def _check_sizes(parts: Sequence[_Part], messages: Sequence[tuple[int, bytes, int]]) -> None:
    for part, (_, _, document_bytes) in zip(parts, messages, strict=True):
        if document_bytes > ENTRY_BYTES_MAX:
            what = "the log entry" if part.collection == COMMITS else f"a document of {part.collection}"
            raise WriteRefused("too_large", f"{what} would have {document_bytes} bytes; at most {ENTRY_BYTES_MAX} fit")


def _not_primary(reply: Reply) -> NotPrimaryError | None:
    """The error that a reply stands for if its server is no primary any more."""
    if reply["ok"] == 1 or reply.get("code") not in _NOT_PRIMARY_CODES:
        return None
    return NotPrimaryError(reply.get("errmsg", ""), reply)


def _failure(reply: Reply, part: _Part, entry: LogEntry, tables: MongoTables) -> Exception | None:
    """What a reply within the transaction means; None if the command did all it was to do."""
    if reply["ok"] == 1:
        errors = reply.get("writeErrors")
        if errors:
            return _statement_failure(errors[0], part, entry, tables)
        if reply["n"] != len(part.statements):
            return WriteConflict(f"a document of {part.collection} was removed by a foreign writer")
        return None
    code, message = reply.get("code"), reply.get("errmsg", "")
    if code == _WRITE_CONFLICT and part.collection != COMMITS:
        return WriteConflict(f"a foreign writer changed {part.collection} at the same time: {message}")
    if code in _TOO_LARGE:
        return WriteRefused("too_large", message)
    if code in (_DUPLICATE_KEY, _DOCUMENT_VALIDATION_FAILURE):
        return _statement_failure({"index": None, **reply}, part, entry, tables)
    if code == _WRITE_CONFLICT:
        return _LogBlockedError(message)
    if "TransientTransactionError" in reply.get("errorLabels", ()) or _not_primary(reply) is not None:
        return _TryAgainError(message)
    return StoreError(f"MongoDB refused the batch: {message} (code {code})")


def _statement_failure(error: dict[str, Any], part: _Part, entry: LogEntry, tables: MongoTables) -> Exception:
    code, message, number = error.get("code"), error.get("errmsg", ""), error["index"]
    position = None if number is None or part.collection == COMMITS else part.positions[number]
    if code == _DUPLICATE_KEY:
        fields = tuple(error.get("keyPattern", ()))
        if part.collection == COMMITS:
            return _duplicate_request(error, entry) if fields == (REQUEST_KEY,) else _seq_taken(entry)
        table = tables[part.collection]
        index = table.unique_index(fields)
        document = None if position is None else entry.writes[position].after
        return unique_refusal(table.name, index, table.layout.indexes.get(index), document, position)
    if code == _DOCUMENT_VALIDATION_FAILURE:
        return WriteRefused("validator", f"{part.collection}: {message} {error.get('errInfo', '')}", position=position)
    if code in _TOO_LARGE:
        return WriteRefused("too_large", message, position=position)
    if code == _WRITE_CONFLICT:
        return WriteConflict(message)
    return WriteRefused("other", f"{part.collection}: {message} (code {code})", position=position)


def _duplicate_request(error: dict[str, Any], entry: LogEntry) -> WriteRefused:
    key = error.get("keyValue", {}).get(REQUEST_KEY)
    keys = [request_key(record.session_id, record.request_id) for record in entry.requests]
    position = keys.index(key) if key in keys else None
    return WriteRefused("duplicate_request", f"request {key} is already stored", position=position)


def _seq_taken(entry: LogEntry) -> SeqTaken:
    return SeqTaken(f"log number {entry.seq} is taken")
