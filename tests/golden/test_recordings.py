"""What official clients and the server have said to each other, once more: the same words from the client get the same
words from a session, with the engine on a store in memory.

Recordings are made by `record.py`; the lines' form is in `tests/support/wire_log.py`. Where several
things go on at once, how many Transitions tell of them is a matter of speed: then what they come to is compared.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import orjson
import pytest

from concave.sync.session import Session
from memory_engine import MemoryNode, memory_node
from wire_log import ZERO_TS, Bindings, Line, read_log, ts_of

HERE = Path(__file__).resolve().parent
RECORDINGS = sorted((HERE / "recordings").glob("*.wire"))
TIMEOUT_S = 10.0
ZERO = {"querySet": 0, "identity": 0, "ts": ZERO_TS}


class Client:
    """One client's present connection: takes what the session sends, and checks what holds of every conversation."""

    def __init__(self, node: MemoryNode) -> None:
        self._node = node
        self._heard = asyncio.Event()
        self.connect()

    def connect(self) -> None:
        self.session = Session(self._node.engine, self._node.runtime, self)
        self.inbox: list[dict[str, Any]] = []
        self._version = ZERO
        self._observed = 0

    def send(self, data: bytes, is_transition: bool) -> bool:
        message = orjson.loads(data)
        if is_transition:
            assert message["startVersion"] == self._version, "I3: a Transition starts where the one before ended"
            self._version = message["endVersion"]
        elif message.get("ts"):
            assert ts_of(message["ts"]) > ts_of(self._version["ts"]) or self._observed, "I4: the response comes first"
        self.inbox.append(message)
        self._heard.set()
        return True

    def close(self, code: int, reason: str) -> None:
        raise AssertionError(f"the session ended with {code} {reason}")

    def say(self, message: dict[str, Any]) -> None:
        if message.get("maxObservedTimestamp"):
            self._observed = ts_of(message["maxObservedTimestamp"])
        self.session.receive(orjson.dumps(message))

    async def hear(self, count: int) -> None:
        """Wait for so many messages, or for as many as there will be."""
        async with asyncio.timeout(TIMEOUT_S):
            while len(self.inbox) < count:
                self._heard.clear()
                await self._heard.wait()


@pytest.mark.parametrize("file", RECORDINGS, ids=lambda file: file.stem)
async def test_recording(file: Path) -> None:
    lines = read_log(file)
    assert lines
    bindings = Bindings()
    async with memory_node(HERE.parent / "interop" / "app") as node:
        clients = {number: Client(node) for number in {line.client for line in lines}}
        for from_client, block in itertools.groupby(lines, lambda line: line.from_client):
            if from_client:
                said = list(block)
                for line in said:
                    _act(clients[line.client], line, bindings)
            else:
                await _expect(clients, list(block), bindings, is_race=_is_race(said))
        for client in clients.values():
            client.session.disconnected()


def _act(client: Client, line: Line, bindings: Bindings) -> None:
    if line.message is not None:
        client.say(bindings.filled(line.message))
    elif line.text == "drops":
        client.session.disconnected()
    else:
        assert line.text == "connects"
        client.connect()


def _is_race(said: list[Line]) -> bool:
    """Whether several things go on at once after these lines, so that Transitions may come between them, or not."""
    kinds = [line.message["type"] for line in said if line.message is not None]
    return "Action" in kinds or len([kind for kind in kinds if kind != "Connect"]) > 1


async def _expect(clients: dict[int, Client], block: list[Line], bindings: Bindings, *, is_race: bool) -> None:
    for number, client in clients.items():
        expected = [line.message for line in block if line.client == number and line.message is not None]
        if is_race:
            await _expect_effect(client, expected, bindings)
        else:
            await client.hear(len(expected))
            bindings.check(*(list(map(_in_order, messages)) for messages in (expected, client.inbox)))
        client.inbox.clear()


def _in_order(message: dict[str, Any]) -> dict[str, Any]:
    """A Transition's modifications have no order among themselves."""
    if message["type"] != "Transition":
        return message
    return {**message, "modifications": sorted(message["modifications"], key=lambda one: one["queryId"])}


async def _expect_effect(client: Client, expected: list[dict[str, Any]], bindings: Bindings) -> None:
    responses, effect = _effect(expected)
    async with asyncio.timeout(TIMEOUT_S):
        while not _is_reached(_effect(client.inbox), len(responses), effect):
            await asyncio.sleep(0)
    found_responses, found_effect = _effect(client.inbox)
    bindings.check(responses, found_responses)
    bindings.check(effect["modifications"], found_effect["modifications"])


def _is_reached(found: tuple[list[Any], dict[str, Any]], responses: int, effect: dict[str, Any]) -> bool:
    end, wanted = found[1]["end"], effect["end"]
    return (
        len(found[0]) == responses
        and found[1]["closes"]
        and end["querySet"] == wanted["querySet"]
        and end["identity"] == wanted["identity"]
        and found[1]["modifications"].keys() == effect["modifications"].keys()
        and all(ts_of(response["ts"]) <= ts_of(end["ts"]) for response in found[0] if response.get("ts"))
    )


def _effect(messages: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The messages that are no Transitions; and of the Transitions where they end, the last modification of each query,
    and whether one closes the conversation."""
    others = []
    effect: dict[str, Any] = {"end": ZERO, "modifications": {}, "closes": False}
    for message in messages:
        effect["closes"] = message["type"] == "Transition"
        if message["type"] == "Transition":
            effect["end"] = message["endVersion"]
            effect["modifications"] |= {str(one["queryId"]): one for one in message["modifications"]}
        else:
            others.append(message)
    return others, effect
