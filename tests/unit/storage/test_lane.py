"""Replies are decoded as documents of a table, errors as what they are; who waits for a primary that hangs gives up on
it when there is a new one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import bson
import pytest
from bson import ObjectId
from bson.errors import InvalidBSON
from pymongo.errors import AutoReconnect, NetworkTimeout

from concave.storage.bson_documents import INTEGERS_ARE_FLOATS, INTEGERS_ARE_INT64, Codec
from concave.storage.lane import Lane, decode

CODECS = pytest.mark.parametrize("codec", [INTEGERS_ARE_FLOATS, INTEGERS_ARE_INT64])


def body_of(reply: dict[str, Any]) -> memoryview:
    """As on the wire: four bytes of flags and the section's kind come before the document."""
    return memoryview(b"\0" * 5 + bson.encode(reply))


@CODECS
def test_an_error_that_names_the_topology_is_an_error_and_not_a_document_of_foreign_types(codec: Codec) -> None:
    refused = {
        "topologyVersion": {"processId": ObjectId(), "counter": 7},
        "ok": 0.0,
        "errmsg": "operation was interrupted",
        "code": 11602,
        "codeName": "InterruptedDueToReplStateChange",
    }
    assert decode(body_of(refused), codec) == refused


@CODECS
def test_a_document_of_foreign_types_is_refused(codec: Codec) -> None:
    reply = {"cursor": {"id": 0, "firstBatch": [{"_id": ObjectId()}]}, "ok": 1.0}
    with pytest.raises(InvalidBSON, match="ObjectId is no Convex value"):
        decode(body_of(reply), codec)


class Hanging:
    """A driver's client and its connection to the server `old`, which takes messages and never answers."""

    def __init__(self) -> None:
        self.primary = "old"
        self.address = "old"
        self.is_aborted = False
        self.conn = SimpleNamespace(get_conn=self)
        self.transport = self
        self._lost: asyncio.Future[tuple[bytes, int]] = asyncio.get_running_loop().create_future()

    @property
    def topology_description(self) -> Any:
        kinds = {name: "RSPrimary" if name == self.primary else "RSSecondary" for name in ("old", "new")}
        servers = {name: SimpleNamespace(address=name, server_type_name=kind) for name, kind in kinds.items()}
        return SimpleNamespace(server_descriptions=lambda: servers)

    def is_closing(self) -> bool:
        return self._lost.done()

    def write(self, data: bytes) -> None:
        assert data

    def abort(self) -> None:
        self.is_aborted = True
        self._lost.set_exception(OSError("connection closed"))

    async def read(self, request_id: int, bytes_max: int) -> tuple[bytes, int]:
        return await self._lost

    async def close_conn(self, reason: str) -> None:
        assert reason

    async def __aexit__(self, *error: object) -> None:
        """The connection is given back to its pool."""


async def test_who_waits_for_a_hanging_primary_gives_up_when_it_has_a_successor() -> None:
    server = Hanging()
    waiting = asyncio.create_task(Lane(server, server, server).run(((1, b"message", 0),), 60.0))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    server.primary = "new"
    with pytest.raises(AutoReconnect):
        await asyncio.wait_for(waiting, 10)


async def test_without_a_successor_it_waits_as_long_as_it_was_told() -> None:
    server = Hanging()
    with pytest.raises(NetworkTimeout):
        await Lane(server, server, server).run(((1, b"message", 0),), 0.8)  # type: ignore[arg-type]
    assert not server.is_aborted
