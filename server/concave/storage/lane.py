"""Lanes: MongoDB commands over the driver's own connections, without the driver's per-command machinery.

pymongo's asynchronous `command` starts two tasks and several waits per round trip. Measured here (one core, MongoDB
6.0, one round trip): `db.command` 0.21 ms and 164 us of CPU for a point read, a lane 0.10 ms and 50 us; a commit of
one document 1.7 ms and 650 us against 0.9 ms and 230 us. As every query and every commit pays this, the hot path uses
lanes. pymongo still does what is hard: finding the primary, TLS, authentication, compression, monitoring, failover. A
lane only checks a connection out of its pool, writes OP_MSG messages to it and reads the replies.

This rests on names that pymongo does not promise to keep, all of them in `Lane`; `pyproject.toml` pins the version.

* A command in a lane carries no session but the one it names itself (`lsid`).
* Commands sent together (`Lane.run`) are answered in order: the server handles one connection's messages one by one.
* After any failure or cancellation between sending and the last reply the connection is closed: never reused.
* A primary that hangs, or cannot be reached, closes no connection. Once the driver has heard of its successor, what
  still waits for an answer of the old one gives up on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import bson
from bson.codec_options import DEFAULT_CODEC_OPTIONS, CodecOptions
from bson.errors import InvalidBSON
from bson.int64 import Int64 as BsonLong
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect, ConnectionFailure, NetworkTimeout, PyMongoError, ServerSelectionTimeoutError
from pymongo.helpers_shared import _check_command_response
from pymongo.message import _op_msg

from concave.storage.store import StoreUnavailable

Codec = CodecOptions[dict[str, Any]]
Reply = dict[str, Any]

PLAIN: Codec = DEFAULT_CODEC_OPTIONS
COMMAND_TIMEOUT_S = 20.0
READ_ATTEMPTS = 3
PRIMARY_CHECK_S = 0.5
"""How often a lane that waits for an answer looks whether its server is still the primary."""
MESSAGE_BYTES_MAX = 48_000_000
_BODY_OFFSET = 5
"""Bytes of an OP_MSG reply before its document: four of flags and one that tells the section's kind."""


class Lane:
    """One connection to the primary (or a mongos), held until `close`. One user at a time."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], checkout: Any, connection: Any) -> None:
        self._client = client
        self._checkout = checkout
        self._connection = connection
        self._protocol = connection.conn.get_conn
        self._open = True

    @classmethod
    async def open(cls, client: AsyncMongoClient[dict[str, Any]]) -> Lane:
        """A connection from the client's pool; waits for a primary as long as `serverSelectionTimeoutMS`."""
        checkout = await client._conn_for_writes(None, "concave")
        return cls(client, checkout, await checkout.__aenter__())

    @property
    def is_open(self) -> bool:
        return self._open

    def encode(self, command: dict[str, Any], database: str) -> tuple[int, bytes, int]:
        """`(request id, message, bytes of the largest document in it)`."""
        context = self._connection.compression_context
        request_id, message, _, document_bytes = _op_msg(0, command, database, None, PLAIN, ctx=context)
        return request_id, message, document_bytes

    async def run(
        self, messages: Sequence[tuple[int, bytes, int]], timeout_s: float = COMMAND_TIMEOUT_S
    ) -> list[memoryview]:
        """Send the messages at once and return their replies in order, for `decode`, whether they say ok or not.

        Raises `ConnectionFailure` when the connection is lost or `timeout_s` passes; the lane is closed then.
        """
        protocol = self._protocol
        loop = asyncio.get_running_loop()
        check: asyncio.TimerHandle

        def check_primary() -> None:
            nonlocal check
            if self._has_successor():
                protocol.transport.abort()
            else:
                check = loop.call_later(PRIMARY_CHECK_S, check_primary)

        check = loop.call_later(PRIMARY_CHECK_S, check_primary)
        try:
            async with asyncio.timeout(timeout_s):
                transport = protocol.transport
                if not self._open or transport.is_closing():
                    raise OSError("the connection is closed")
                transport.write(messages[0][1] if len(messages) == 1 else b"".join([text for _, text, _ in messages]))
                bodies = [(await protocol.read(request_id, MESSAGE_BYTES_MAX))[0] for request_id, _, _ in messages]
        except TimeoutError as error:
            failure = NetworkTimeout(f"MongoDB did not answer within {timeout_s:g} s")
            await self.close(failure)
            raise failure from error
        except (OSError, PyMongoError) as error:
            lost = AutoReconnect(f"the connection to MongoDB was lost: {error}")
            await self.close(lost)
            raise lost from error
        except BaseException as error:
            await self.close(error)
            raise
        finally:
            check.cancel()
        return bodies

    async def close(self, error: BaseException | None = None) -> None:
        """Give the connection back; after an error, close it and let the driver judge the server by the error."""
        if not self._open:
            return
        self._open = False
        if error is not None:
            await self._connection.close_conn("error")
        # The driver raises the error again in places; it was raised where it belongs.
        blame = error if isinstance(error, PyMongoError) else None
        await self._checkout.__aexit__(type(blame) if blame else None, blame, None)

    def _has_successor(self) -> bool:
        """Whether another server is known to be the primary now."""
        servers = self._client.topology_description.server_descriptions().values()
        primaries = [server.address for server in servers if server.server_type_name == "RSPrimary"]
        return bool(primaries) and self._connection.address not in primaries


def document_of(body: memoryview) -> memoryview:
    """The BSON document in a reply."""
    return body[_BODY_OFFSET:]


def decode(body: memoryview, codec: Codec) -> Reply:
    """The document of a reply. Raises `InvalidBSON` for what cannot be decoded, or what the codec refuses."""
    try:
        reply = bson.decode(document_of(body), codec)
    except InvalidBSON:
        reply = bson.decode(document_of(body))
        if reply["ok"] == 1:
            raise
        return reply  # an error may hold types that no document has: the id of the server's view of the replica set
    cursor = reply.get("cursor")
    if cursor is not None and cursor["id"]:
        # The codec may have made a float of it. Rare: most replies exhaust their cursor.
        cursor["id"] = BsonLong(bson.decode(document_of(body))["cursor"]["id"])
    return reply


class Lanes:
    """The lanes of one client, at most `limit` at a time; who finds none free waits its turn.

    Lanes that are idle are kept. When one fails, the idle ones are closed, too: most likely their server has gone.
    """

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], database: str, *, limit: int = 16) -> None:
        self._client = client
        self.database = database
        self._idle: list[Lane] = []
        self._free = asyncio.Semaphore(limit)
        self._closed = False

    async def command(
        self,
        command: dict[str, Any],
        *,
        codec: Codec = PLAIN,
        database: str | None = None,
        timeout_s: float = COMMAND_TIMEOUT_S,
    ) -> Reply:
        """Run a command that may safely be run twice; returns the reply.

        Raises pymongo's `OperationFailure` where the server refuses, `StoreUnavailable` where it does not answer.
        """
        async with self._free:
            for attempt in range(1, READ_ATTEMPTS + 1):
                try:
                    body = await self._run_once(command, database or self.database, timeout_s)
                    reply = decode(body, codec)
                    if reply["ok"] != 1:
                        _check_command_response(reply, None)
                except (
                    ConnectionFailure
                ) as error:  # `NotPrimaryError` is one, too: that server is left for the new primary
                    await self._close_idle(error)
                    # After a timeout the caller has waited long enough.
                    if attempt == READ_ATTEMPTS or isinstance(error, (NetworkTimeout, ServerSelectionTimeoutError)):
                        raise StoreUnavailable(f"MongoDB does not answer: {error}") from error
                else:
                    return reply
            raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close the idle lanes; lanes in use are closed when they are given back."""
        self._closed = True
        await self._close_idle()

    async def _run_once(self, command: dict[str, Any], database: str, timeout_s: float) -> memoryview:
        lane = self._idle.pop() if self._idle else await Lane.open(self._client)
        try:
            message = lane.encode(command, database)
            body = (await lane.run((message,), timeout_s))[0]
        finally:
            if self._closed:
                await lane.close()
            elif lane.is_open:
                self._idle.append(lane)
        return body

    async def _close_idle(self, error: BaseException | None = None) -> None:
        idle, self._idle = self._idle, []
        for lane in idle:
            await lane.close(error)
