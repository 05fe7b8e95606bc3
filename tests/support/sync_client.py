"""A client of the sync protocol that does what a test says and nothing by itself: no reconnects, no replays."""

from __future__ import annotations

import asyncio
import json
import uuid
from types import TracebackType
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

TIMEOUT_S = 20.0


class SyncClient:
    """One connection: `async with SyncClient(url) as client`. Requests are numbered from 0 unless told otherwise.

    `values` holds each query's newest result, `updates` how many results it has had; `acknowledged` the successful
    responses by request id. `closed` is the code and reason of the close frame, once it has come.
    """

    def __init__(self, url: str, *, session_id: str | None = None, **connect_fields: Any) -> None:
        self._url = url.replace("http", "ws", 1) + "/api/sync"
        self.session_id = session_id or str(uuid.uuid4())
        self._connect_fields = connect_fields
        self.values: dict[int, Any] = {}
        self.updates: dict[int, int] = {}
        self.responses: dict[int, dict[str, Any]] = {}
        self.last_ts = "AAAAAAAAAAA="
        """End of the last Transition, as it stood in the message."""
        self.closed: tuple[int, str] | None = None
        self._next_request = 0
        self._query_set = 0
        self._heard = asyncio.Event()
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SyncClient:
        self._socket = await connect(self._url, max_size=None)
        self._reader = asyncio.create_task(self._read(self._socket))
        fields = {"connectionCount": 0, "lastCloseReason": None, "clientTs": 0, **self._connect_fields}
        await self.say("Connect", sessionId=self.session_id, **fields)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._socket is not None
        assert self._reader is not None
        await self._socket.close()
        await self._reader

    @property
    def acknowledged(self) -> set[int]:
        return {number for number, response in self.responses.items() if response["success"]}

    async def say(self, type: str, **fields: Any) -> None:
        assert self._socket is not None
        await self._socket.send(json.dumps({"type": type, **fields}))

    async def watch(self, path: str, args: dict[str, Any]) -> int:
        """Add a query; returns its id."""
        base = self._query_set
        self._query_set += 1
        add = {"type": "Add", "queryId": base, "udfPath": path, "args": [args]}
        await self.say("ModifyQuerySet", baseVersion=base, newVersion=self._query_set, modifications=[add])
        return base

    async def send(self, path: str, args: dict[str, Any], *, number: int | None = None, kind: str = "Mutation") -> int:
        """Send a mutation or an action; returns its request id."""
        if number is None:
            number = self._next_request
        self._next_request = max(self._next_request, number + 1)
        await self.say(kind, requestId=number, udfPath=path, args=[args])
        return number

    async def call(self, path: str, args: dict[str, Any], *, number: int | None = None, kind: str = "Mutation") -> Any:
        """The result of a mutation or an action that succeeds."""
        number = await self.send(path, args, number=number, kind=kind)
        await self.until(lambda: number in self.responses)
        response = self.responses[number]
        assert response["success"], response
        return response["result"]

    async def until(self, condition: Any, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until the condition holds; it is looked at after each message and when the connection ends."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    async def _read(self, socket: ClientConnection) -> None:
        try:
            async for text in socket:
                self._take(json.loads(text))
                self._heard.set()
        except ConnectionClosed:
            pass  # without a close frame: the server was killed
        self.closed = (socket.close_code or 1006, socket.close_reason or "")
        self._heard.set()

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "Transition":
            self.last_ts = message["endVersion"]["ts"]
            for modification in message["modifications"]:
                if modification["type"] == "QueryUpdated":
                    query_id = modification["queryId"]
                    self.values[query_id] = modification["value"]
                    self.updates[query_id] = self.updates.get(query_id, 0) + 1
        elif message["type"] in ("MutationResponse", "ActionResponse"):
            assert message["requestId"] not in self.responses, "a request was answered twice"
            self.responses[message["requestId"]] = message
