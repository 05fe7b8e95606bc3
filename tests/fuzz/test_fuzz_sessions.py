"""Sessions under hostile clients, with the real engine on a store in memory: nothing raises, every call is answered,
Transitions chain, and somebody else's session on the same engine never notices."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from concave.sync.messages import ModifyQuerySet, MutationRequest, ProtocolError, parse_message
from concave.sync.session import Session
from concave.sync.session_state import Phase
from hostile import Versions, damage, damaged, frame, messages
from memory_engine import MemoryNode, memory_node

APP = Path(__file__).resolve().parents[1] / "interop" / "app"
TIMEOUT_S = 10.0


class Client:
    """A connection that keeps track of what it is owed."""

    def __init__(self, node: MemoryNode, session_id: str) -> None:
        self.session = Session(node.engine, node.runtime, self)
        self.versions = Versions()
        self.asked: Counter[tuple[str, int]] = Counter()
        self.answered: Counter[tuple[str, int]] = Counter()
        self.values: dict[int, Any] = {}
        self.end = {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}
        self.is_covered = True
        """Whether a Transition has followed the last response."""
        self.closed: tuple[int, str] | None = None
        connect = {"type": "Connect", "sessionId": session_id, "connectionCount": 0, "lastCloseReason": None}
        self.session.receive(orjson.dumps({**connect, "clientTs": 0}))

    def send(self, data: bytes, is_transition: bool) -> bool:
        assert self.closed is None, "something was sent after the end"
        message = orjson.loads(data)
        if is_transition:
            assert message["startVersion"] == self.end, "I3"
            self.end = message["endVersion"]
            self.is_covered = True
            for one in message["modifications"]:
                self.values[one["queryId"]] = one.get("value")
        elif "requestId" in message:
            self.is_covered = False
            self.answered[message["type"].removesuffix("Response"), message["requestId"]] += 1
        return True

    def close(self, code: int, reason: str) -> None:
        assert self.closed is None
        assert len(reason.encode()) <= 123
        self.closed = (code, reason)

    def say(self, data: bytes) -> None:
        """Send one frame, and note what it will be owed for it."""
        try:
            message = parse_message(data)
        except ProtocolError:
            message = None
        self.session.receive(data)
        state = self.session.state
        state.validate()
        if state.phase is Phase.OPEN and message is not None:
            if isinstance(message, ModifyQuerySet):
                self.versions.query_set = state.recv_query_set
            elif hasattr(message, "request_id"):
                kind = "Mutation" if isinstance(message, MutationRequest) else "Action"
                self.asked[kind, message.request_id] += 1
            self.versions.identity = state.recv_identity

    async def settled(self) -> None:
        """Wait until the connection has ended, or everything that was asked is answered and shown."""
        state = self.session.state
        async with asyncio.timeout(TIMEOUT_S):
            while self.closed is None and (
                self.asked != self.answered or not self.is_covered or self.end["querySet"] != state.recv_query_set
            ):
                await asyncio.sleep(0)
        assert self.answered <= self.asked, "something was answered twice"


class Bystander(Client):
    """Somebody who only wants to be left alone: a live query, and mutations that it shows."""

    def __init__(self, node: MemoryNode) -> None:
        super().__init__(node, "bystander")
        add = {"type": "Add", "queryId": 0, "udfPath": "messages:count", "args": [{"channel": "bystander"}]}
        self.say(orjson.dumps({"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add]}))
        self.sent = 0

    async def is_well(self) -> None:
        call = {"type": "Mutation", "requestId": self.sent, "udfPath": "messages:send"}
        self.say(orjson.dumps({**call, "args": [{"channel": "bystander", "body": "still here"}]}))
        self.sent += 1
        await self.settled()
        assert self.closed is None
        assert self.values[0] == self.sent


steps = st.lists(st.tuples(messages, damage, st.sampled_from([0, 0, 1, 20])), min_size=1, max_size=12)


def test_sessions(
    keep_trying: Callable[[Callable[[], None]], int], round_settings: settings, errors_logged: list[str]
) -> None:
    async def play(
        node: MemoryNode, bystander: Bystander, script: list[tuple[dict[str, Any], int | None, int]]
    ) -> None:
        # Now and then with the session id of another: only an id that is not known is a secret.
        hostile = Client(node, "hostile" if len(script) % 3 else "bystander's neighbour")
        for message, seed, pause in script:
            data = frame(message, hostile.versions)
            hostile.say(data if seed is None else damaged(data, seed))
            for _ in range(pause):
                await asyncio.sleep(0)
            if hostile.closed is not None:
                hostile = Client(node, "hostile")
        await hostile.settled()
        hostile.session.disconnected()
        await bystander.is_well()
        assert errors_logged == []

    def play_round() -> None:
        with asyncio.Runner() as runner:
            context = memory_node(APP)
            node = runner.run(context.__aenter__())
            bystander = Bystander(node)

            @round_settings
            @given(steps)
            def one(script: list[tuple[dict[str, Any], int | None, int]]) -> None:
                runner.run(play(node, bystander, script))

            try:
                one()
                bystander.session.disconnected()
            finally:
                runner.run(context.__aexit__(None, None, None))

    assert keep_trying(play_round) > 0
