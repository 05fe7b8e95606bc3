"""A client that comes from a node that is ahead (sync-protocol.md 3.5): nobody goes back in time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from concave.cli.loading import load
from concave.cli.node import Node, NodeOptions, started_node
from concave.storage.mongo import MongoStore
from concave.storage.store import FeedEvent
from concave.sync.session import Session
from concave.values.runtime import SystemRuntime
from concave.values.timestamps import ts_from_wire, ts_to_wire
from concave.values.types import Timestamp

APP = Path(__file__).parent / "app"


class HeldStore(MongoStore):
    """A store whose feed stands still while `lets_pass` is unset."""

    lets_pass: asyncio.Event

    async def feed(self, after: Timestamp) -> AsyncIterator[FeedEvent]:  # type: ignore[override]
        async for event in super().feed(after):
            await self.lets_pass.wait()
            yield event


@dataclass
class Received:
    """A transport that keeps what a session sends."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    closed: tuple[int, str] | None = None

    def send(self, data: bytes, is_transition: bool) -> bool:
        self.messages.append(json.loads(data))
        return True

    def close(self, code: int, reason: str) -> None:
        self.closed = code, reason

    def of_type(self, type: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == type]


@dataclass
class Pair:
    ahead: Node
    behind: Node
    runtime: SystemRuntime

    def session(self, **fields: Any) -> tuple[Session, Received]:
        """A connection to the node that is behind."""
        received = Received()
        session = Session(self.behind.engine, self.runtime, received)
        connect = {"sessionId": "s", "connectionCount": 1, "lastCloseReason": None, "clientTs": 0} | fields
        session.receive(json.dumps({"type": "Connect", **connect}))
        return session, received


@pytest.fixture
async def pair(database_uri: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    app = load(APP)
    monkeypatch.setattr(HeldStore, "lets_pass", asyncio.Event(), raising=False)
    options = NodeOptions(uri=database_uri, admin_key="test|key")
    async with AsyncExitStack() as stack:
        ahead = await stack.enter_async_context(started_node(app, options, SystemRuntime()))
        monkeypatch.setattr("concave.cli.node.MongoStore", HeldStore)
        runtime = SystemRuntime()
        behind = await stack.enter_async_context(started_node(app, options, runtime))
        yield Pair(ahead, behind, runtime)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_client_waits_until_its_new_node_knows_what_it_has_seen(pair: Pair) -> None:
    made = await pair.ahead.engine.mutation("posts:send", {"channel": "a", "body": "first"})
    assert pair.behind.engine.latest_ts < made.ts
    session, received = pair.session(maxObservedTimestamp=ts_to_wire(made.ts))
    add = {"type": "Add", "queryId": 0, "udfPath": "posts:bodies", "args": [{"channel": "a"}]}
    session.receive(json.dumps({"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add]}))
    # The client has seen the post, and so may name it: on the old snapshot this would fail for good.
    edit = {"id": made.value, "body": "edited"}
    session.receive(json.dumps({"type": "Mutation", "requestId": 0, "udfPath": "posts:edit", "args": [edit]}))
    later = {"seconds": 0, "channel": "b"}
    session.receive(json.dumps({"type": "Action", "requestId": 1, "udfPath": "posts:later", "args": [later]}))
    await pair.behind.engine.find_request("nobody", 0)  # as long as a round trip to the database takes
    assert received.messages == []
    HeldStore.lets_pass.set()
    await until(lambda: len(received.of_type("MutationResponse") + received.of_type("ActionResponse")) == 2)
    assert all(answer["success"] for answer in received.of_type("MutationResponse"))
    await until(lambda: ["edited"] in [m["value"] for t in received.of_type("Transition") for m in t["modifications"]])
    assert all(ts_from_wire(message["endVersion"]["ts"]) >= made.ts for message in received.of_type("Transition"))
    session.disconnected()


async def test_the_wait_is_bounded(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concave.reactive.engine.FLOOR_WAIT_S", 0.05)
    made = await pair.ahead.engine.mutation("posts:send", {"channel": "a", "body": "first"})
    session, received = pair.session(maxObservedTimestamp=ts_to_wire(made.ts))
    nothing = {"channel": "a", "body": "x"}
    session.receive(json.dumps({"type": "Mutation", "requestId": 0, "udfPath": "posts:send", "args": [nothing]}))
    await until(lambda: received.closed)
    assert received.closed == (1011, "InternalServerError")
    assert received.messages == []


async def test_a_node_whose_feed_stands_still_is_not_ready(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("concave.reactive.readiness.FEED_LAG_S_MAX", 0.5)
    monkeypatch.setattr("concave.storage.node_registry.HEARTBEAT_S", 0.1)
    readiness = pair.behind.readiness
    await until(lambda: pair.ahead.readiness.reasons() == [])
    await until(lambda: [reason.code for reason in readiness.reasons()] == ["FeedBehind"])
    HeldStore.lets_pass.set()
    await until(lambda: readiness.reasons() == [])
