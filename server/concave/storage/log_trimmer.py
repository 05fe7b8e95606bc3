"""Keeping the commit log short (docs/decisions/0003): old entries lose their `writes`, much older ones are deleted.

* An entry loses its `writes` when it is older than `writes_s` and every live node has published it; its `requests`,
  which answer resent mutations (I6), stay until it is older than `requests_s`.
* One node at a time does this, under a lease; the lease's notes say how far it has got: `trimmed` and `deleted` are the
  newest numbers dealt with. Every step may be done twice, so a lease that is lost on the way does no harm.
* Commits are not disturbed: batches are small, no transaction holds anything, and the trimmer rests longer than it
  works. No entry that a commit may still write to or be checked against is touched.
* The newest entry is never touched: its number is what the next one's follows from.

An entry's age follows from the entries behind it, which tell the timestamp of the one before them (`prevTs`); so of two
neighbours only the older can be known to be old.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from bson.int64 import Int64 as BsonLong
from pymongo.errors import OperationFailure

from concave.storage.commit_log import COMMITS, from_bson_timestamp
from concave.storage.lane import Lanes
from concave.storage.lease import Lease
from concave.storage.node_registry import NodeRegistry
from concave.storage.store import StoreError
from concave.values.runtime import Runtime
from concave.values.types import Timestamp

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 60.0
LEASE_TERM_S: Final = 60.0
BATCH_ENTRIES: Final = 200
REST_FACTOR: Final = 4.0
"""How long the trimmer rests after a batch, in times of what the batch took: at most a fifth of its time is work."""
REST_S_MIN: Final = 0.02

_NANOSECONDS: Final = 1_000_000_000


@dataclass(slots=True, frozen=True)
class LogRetention:
    """How long entries are kept whole, and how long the outcomes of requests; in seconds of cluster time."""

    writes_s: float = 3_600.0
    requests_s: float = 14 * 86_400.0
    """A client may resend a mutation for so long (sync-protocol.md 3.4)."""


@dataclass(slots=True)
class Trimmed:
    """What one pass did: up to which numbers entries have lost their writes, and have been deleted."""

    trimmed: int
    deleted: int


class LogTrimmer:
    """Trims the log of one database. `run` is a task that the node's owner keeps."""

    def __init__(
        self, lanes: Lanes, registry: NodeRegistry, runtime: Runtime, *, node: str, retention: LogRetention
    ) -> None:
        self._lanes = lanes
        self._registry = registry
        self._runtime = runtime
        self._retention = retention
        self._lease = Lease(lanes, "log trimmer", node, term_s=LEASE_TERM_S)

    async def run(self) -> None:
        """Make a pass every minute or so, until cancelled."""
        while True:
            # Nodes that were started together do not ask for the lease together.
            share = int.from_bytes(self._runtime.random_bytes(2), "big") / 65_536
            await self._runtime.sleep(INTERVAL_S * (0.5 + share))
            try:
                await self.pass_once()
            except (StoreError, OperationFailure) as error:
                logger.warning("the commit log could not be trimmed: %s", error)

    async def pass_once(self) -> Trimmed | None:
        """Trim what may be trimmed now; None if another node is at it.

        Raises `StoreUnavailable` and pymongo's `OperationFailure`.
        """
        notes = await self._lease.take()
        if notes is None:
            return None
        done = Trimmed(int(notes.get("trimmed", 0)), int(notes.get("deleted", 0)))
        try:
            nodes = await self._registry.live_nodes()
            published = min((node.seq for node in nodes), default=0)
            now = await self._cluster_time()
            await self._trim(done, published, _before(now, self._retention.writes_s))
            await self._delete(done, _before(now, self._retention.requests_s))
        finally:
            await self._lease.give_up()
        return done

    async def _trim(self, done: Trimmed, published: int, before: Timestamp) -> None:
        while (upto := min(published, await self._old_since(done.trimmed, before))) > done.trimmed:
            started = self._runtime.monotonic()
            command = _of_range(done.trimmed, upto)
            update = {"q": {**command, "writes": {"$exists": True}}, "u": {"$unset": {"writes": ""}}, "multi": True}
            await self._write({"update": COMMITS, "updates": [update]})
            done.trimmed = upto
            if not await self._note(done, started):
                return

    async def _delete(self, done: Trimmed, before: Timestamp) -> None:
        while (upto := min(done.trimmed, await self._old_since(done.deleted, before))) > done.deleted:
            started = self._runtime.monotonic()
            await self._write({"delete": COMMITS, "deletes": [{"q": _of_range(done.deleted, upto), "limit": 0}]})
            done.deleted = upto
            if not await self._note(done, started):
                return

    async def _old_since(self, after: int, before: Timestamp) -> int:
        """The newest of the first entries with numbers above `after` that are older than `before`; else `after`."""
        wanted = {"_id": {"$gt": BsonLong(after + 1)}, "prevTs": {"$exists": True}}
        command = {"find": COMMITS, "filter": wanted, "projection": {"prevTs": 1}, "sort": {"_id": 1}}
        reply = await self._lanes.command({**command, "limit": BATCH_ENTRIES, "singleBatch": True})
        found = after
        for mark in reply["cursor"]["firstBatch"]:
            if from_bson_timestamp(mark["prevTs"]) >= before:
                break
            found = int(mark["_id"]) - 1
        return found

    async def _note(self, done: Trimmed, started: float) -> bool:
        """Write down how far we are, and rest. False if the lease is lost."""
        notes = {"trimmed": BsonLong(done.trimmed), "deleted": BsonLong(done.deleted)}
        rest = max(REST_S_MIN, (self._runtime.monotonic() - started) * REST_FACTOR)
        if await self._lease.take(notes) is None:
            return False
        await self._runtime.sleep(rest)
        return True

    async def _write(self, command: dict[str, Any]) -> None:
        reply = await self._lanes.command({**command, "writeConcern": {"w": "majority"}})
        trouble = reply.get("writeErrors") or reply.get("writeConcernError")
        if trouble:
            raise OperationFailure(f"a batch of the log could not be trimmed: {trouble}")

    async def _cluster_time(self) -> Timestamp:
        reply = await self._lanes.command({"ping": 1})
        return from_bson_timestamp(reply["operationTime"])


def _before(now: Timestamp, age_s: float) -> Timestamp:
    return Timestamp(max(0, now - int(age_s * _NANOSECONDS)))


def _of_range(after: int, upto: int) -> dict[str, Any]:
    return {"_id": {"$gt": BsonLong(after), "$lte": BsonLong(upto)}}
