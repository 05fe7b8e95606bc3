"""A session whose node is about to stop: what is under way is answered and shown, then the connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from concave.values.timestamps import ts_to_wire
from concave.values.types import Timestamp

Settled = Callable[..., Awaitable[None]]
NewClient = Callable[..., Any]

AWAY = (1001, "ServerRestart")


class Gate:
    """Holds every call of one function until it is opened."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.opened = asyncio.Event()
        self.waiting = 0

    async def __call__(self, path: str) -> None:
        if path == self._path:
            self.waiting += 1
            await self.opened.wait()


@pytest.fixture
def connected(new_client: NewClient) -> Any:
    client = new_client()
    client.connect()
    return client


async def test_an_idle_session_ends_at_once(connected: Any, settled: Settled) -> None:
    connected.modify({0: ("get", {"key": "a"})})
    await settled(lambda: bool(connected.transitions))
    connected.session.drain()
    assert connected.closed == AWAY


async def test_one_that_has_not_said_hello_ends_at_once(new_client: NewClient) -> None:
    client = new_client()
    client.session.drain()
    assert client.closed == AWAY


async def test_a_promised_transition_comes_first(connected: Any, settled: Settled) -> None:
    connected.modify({0: ("get", {"key": "a"})})
    connected.session.drain()
    assert connected.closed is None
    await settled(lambda: connected.closed is not None)
    assert connected.closed == AWAY
    assert connected.values() == {0: None}


async def test_the_running_mutation_is_answered_and_shown_and_no_other_is_begun(
    node: Any, connected: Any, settled: Settled
) -> None:
    node.pace = gate = Gate("add")
    for number in range(3):
        connected.mutate(number, key="a", by=1)
    await settled(lambda: gate.waiting == 1)
    connected.session.drain()
    connected.mutate(3, key="a", by=1)
    await settled()
    assert connected.closed is None
    gate.opened.set()
    await settled(lambda: connected.closed is not None)
    assert connected.closed == AWAY
    assert connected.resolved == {0}
    assert node.applied == [("s", 0)]


async def test_while_an_action_runs_everything_goes_on(node: Any, connected: Any, settled: Settled) -> None:
    node.pace = gate = Gate("slow")
    connected.say("Action", requestId=0, udfPath="slow", args=[{"x": 1}])
    await settled(lambda: gate.waiting == 1)
    connected.session.drain()
    connected.mutate(1, key="a", by=1)
    await settled(lambda: 1 in connected.resolved)
    assert connected.closed is None
    gate.opened.set()
    await settled(lambda: connected.closed is not None)
    assert connected.closed == AWAY
    assert connected.responses.keys() == {0, 1}
    assert connected.transitions[-1] is connected.messages[-1]


async def test_a_client_from_a_node_that_is_ahead_waits_with_its_calls(
    node: Any, new_client: NewClient, settled: Settled
) -> None:
    client = new_client()
    ahead = Timestamp(node.latest_ts + 3)
    client.connect(maxObservedTimestamp=ts_to_wire(ahead))
    client.mutate(0, key="a", by=1)
    client.say("Action", requestId=1, udfPath="slow", args=[{"x": 1}])
    await settled()
    assert node.applied == []
    assert client.messages == []
    while node.latest_ts < ahead:
        node.write("b", 1)
    await settled(lambda: client.responses.keys() == {0, 1})
    assert client.responses.keys() == {0, 1}
