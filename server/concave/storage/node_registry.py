"""Which nodes are alive: each says so in `_nodes` every few seconds, and needs nobody's leave to come or go.

    {_id: node, host, pid, started, heartbeat, seq, ts}

* `heartbeat` is the database's time, so nodes' clocks need not agree; `started` is the node's own.
* `seq` and `ts` are the newest log number and timestamp that the node had published by then.
* A node that has been silent for `LEASE_S` counts as dead; MongoDB removes its entry some time later. One that only
  stood still is back with its next heartbeat.
* A node that stops in good order removes its entry itself.

A heartbeat is a majority write and so tells, by the way, whether the database takes commits, and what time it is there;
`last` keeps that for readiness.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bson.int64 import Int64 as BsonLong
from pymongo.errors import OperationFailure

from concave.storage.commit_log import bson_timestamp, from_bson_timestamp
from concave.storage.lane import Lanes
from concave.storage.store import StoreError
from concave.values.runtime import Runtime
from concave.values.types import Timestamp

logger = logging.getLogger(__name__)

NODES: Final = "_nodes"
HEARTBEAT_S: Final = 2.0
LEASE_S: Final = 20.0
EXPIRE_S: Final = 300
"""When MongoDB may remove the entry of a silent node."""

LEAVE_S_MAX: Final = 1.0
_TIMEOUT_S: Final = 5.0


@dataclass(slots=True, frozen=True)
class NodeRecord:
    """A live node. `seq` and `ts` are what it had published at its last heartbeat."""

    node: str
    host: str
    pid: int
    started: datetime
    seq: int
    ts: Timestamp


@dataclass(slots=True, frozen=True)
class Heartbeat:
    """An answered heartbeat: when, on our monotonic clock, and the cluster time of the answer."""

    at_s: float
    cluster_ts: Timestamp


Position = Callable[[], tuple[int, Timestamp]]
"""The newest log number and timestamp that the node has published."""


def node_name(runtime: Runtime) -> str:
    """A name for this process that no other node has or had: host, process id, and some chance."""
    return f"{socket.gethostname()}-{os.getpid()}-{runtime.random_bytes(4).hex()}"


class NodeRegistry:
    """This node's entry, and a look at the others'. `run` is a task that the node's owner keeps."""

    def __init__(self, lanes: Lanes, runtime: Runtime, *, node: str, position: Position) -> None:
        self._lanes = lanes
        self._runtime = runtime
        self._node = node
        self._position = position
        self._started = datetime.fromtimestamp(runtime.now_ms() / 1000, UTC)
        self.last: Heartbeat | None = None
        """The newest answered heartbeat."""

    async def run(self) -> None:
        """Announce this node until cancelled."""
        expiry = {"key": {"heartbeat": 1}, "name": "expiry", "expireAfterSeconds": EXPIRE_S}
        is_prepared = False
        while True:
            try:
                if not is_prepared:
                    await self._lanes.command({"createIndexes": NODES, "indexes": [expiry]})
                    is_prepared = True
                await self.beat()
            except (StoreError, OperationFailure) as error:
                logger.warning("the node cannot announce itself: %s", error)
            await self._runtime.sleep(HEARTBEAT_S)

    async def beat(self) -> None:
        """One heartbeat. Raises `StoreUnavailable` and pymongo's `OperationFailure`."""
        seq, ts = self._position()
        entry: dict[str, Any] = {
            "host": {"$literal": socket.gethostname()},
            "pid": os.getpid(),
            "started": self._started,
            "heartbeat": "$$NOW",
            "seq": BsonLong(seq),
            "ts": bson_timestamp(ts),
        }
        update = {"q": {"_id": self._node}, "u": [{"$set": entry}], "upsert": True}
        command = {"update": NODES, "updates": [update], "writeConcern": {"w": "majority", "wtimeout": 4_000}}
        reply = await self._lanes.command(command, timeout_s=_TIMEOUT_S)
        trouble = reply.get("writeErrors") or reply.get("writeConcernError")
        if trouble:
            raise OperationFailure(f"a heartbeat was not taken: {trouble}")
        self.last = Heartbeat(self._runtime.monotonic(), from_bson_timestamp(reply["operationTime"]))

    async def leave(self) -> None:
        """Remove this node's entry; without an answer it expires by itself."""
        delete = {"q": {"_id": self._node}, "limit": 1}
        try:
            async with asyncio.timeout(LEAVE_S_MAX):
                await self._lanes.command({"delete": NODES, "deletes": [delete]})
        except (StoreError, OperationFailure, TimeoutError) as error:
            logger.info("the node's entry is left to expire: %s", error)

    async def live_nodes(self) -> list[NodeRecord]:
        """The nodes heard of within `LEASE_S`, by the database's clock."""
        is_alive = {"$gt": ["$heartbeat", {"$subtract": ["$$NOW", int(LEASE_S * 1000)]}]}
        command = {"find": NODES, "filter": {"$expr": is_alive}, "readConcern": {"level": "majority"}}
        reply = await self._lanes.command({**command, "batchSize": 10_000, "singleBatch": True})
        return [
            NodeRecord(
                found["_id"],
                found["host"],
                int(found["pid"]),
                found["started"],
                int(found["seq"]),
                from_bson_timestamp(found["ts"]),
            )
            for found in reply["cursor"]["firstBatch"]
        ]
