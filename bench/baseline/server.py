"""What a Python developer would write without concave: the yardstick of `bench/live.py`.

One Starlette app, one change stream. A changed channel's query runs once, its result is encoded once and sent to the
channel's subscribers. JSON over a websocket; no transactions, no validation, no authentication, no resends.

    {"subscribe": "general"}                          -> {"channel": "general", "messages": [...]} now and when changed
    {"send": {"channel", "author", "body"}, "id": 1}  -> {"sent": 1} when MongoDB has acknowledged (majority)
    GET /messages?channel=general                     -> the same list, once

Run: `python bench/baseline/server.py MONGODB_URI PORT`
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from pymongo import AsyncMongoClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

LIMIT = 50


class Chat:
    def __init__(self, uri: str) -> None:
        self.client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri, w="majority")
        self.messages = self.client.get_default_database()["baseline_messages"]
        self.subscribers: dict[str, set[WebSocket]] = defaultdict(set)
        self.changed: set[str] = set()
        self.wake = asyncio.Event()

    async def latest(self, channel: str) -> str:
        cursor = self.messages.find({"channel": channel}).sort("createdAt", -1).limit(LIMIT)
        rows = [{**row, "_id": str(row["_id"])} async for row in cursor]
        return json.dumps({"channel": channel, "messages": rows})

    async def send(self, channel: str, author: str, body: str) -> None:
        await self.messages.insert_one(
            {"channel": channel, "author": author, "body": body, "createdAt": time.time() * 1000}
        )

    async def watch(self) -> None:
        async with await self.messages.watch([{"$match": {"operationType": "insert"}}]) as stream:
            async for change in stream:
                self.changed.add(change["fullDocument"]["channel"])
                self.wake.set()

    async def publish(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            changed, self.changed = self.changed, set()
            for channel in changed:
                if self.subscribers[channel]:
                    text = await self.latest(channel)
                    for socket in list(self.subscribers[channel]):
                        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                            await socket.send_text(text)


def create_app(uri: str) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.chat = Chat(uri)
        await app.state.chat.messages.create_index([("channel", 1), ("createdAt", 1)])
        tasks = [asyncio.create_task(app.state.chat.watch()), asyncio.create_task(app.state.chat.publish())]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def socket(websocket: WebSocket) -> None:
        chat: Chat = websocket.app.state.chat
        await websocket.accept()
        mine: list[str] = []
        try:
            while True:
                message = json.loads(await websocket.receive_text())
                if "subscribe" in message:
                    channel = message["subscribe"]
                    chat.subscribers[channel].add(websocket)
                    mine.append(channel)
                    await websocket.send_text(await chat.latest(channel))
                else:
                    await chat.send(**message["send"])
                    await websocket.send_text(json.dumps({"sent": message["id"]}))
        except WebSocketDisconnect:
            pass
        finally:
            for channel in mine:
                chat.subscribers[channel].discard(websocket)

    async def messages(request: Request) -> Response:
        chat: Chat = request.app.state.chat
        return Response(await chat.latest(request.query_params["channel"]), media_type="application/json")

    return Starlette(
        routes=[WebSocketRoute("/ws", socket), Route("/messages", messages)],
        lifespan=lifespan,
    )


if __name__ == "__main__":
    uvicorn.run(
        create_app(sys.argv[1]),
        port=int(sys.argv[2]),
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
    )
