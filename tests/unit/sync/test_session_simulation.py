"""Many sessions under random interleavings: I2, I3 and I4 on every message, I6 and I7 at the end.

The checks are in the client of `conftest.py`. A failure names its seed; run it again with `SIMULATION_SEED=<seed>`.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from typing import Any

import pytest

from concave.reactive import refresh
from concave.values.errors import OverloadError

SEEDS = (
    [int(seed)]
    if (seed := os.environ.get("SIMULATION_SEED"))
    else list(range(int(os.environ.get("SIMULATION_SEEDS", "25"))))
)
KEYS = ["a", "b", "c", "d"]
QUERIES: list[tuple[str, Any]] = [("all", {}), ("bad", {}), ("page", {})] + [
    (path, {"key": key}) for path in ("get", "parity") for key in KEYS
]


class Person:
    """Somebody with a client: subscribes, mutates, reads slowly, loses the connection and comes back."""

    def __init__(self, number: int, new_client: Callable[..., Any], rng: random.Random) -> None:
        self.name = f"person-{number}"
        self.new_client = new_client
        self.rng = rng
        self.next_request = 0
        self.next_query = 0
        self.unanswered: dict[int, dict[str, Any]] = {}
        self.connections = 0
        self.queries: dict[int, tuple[str, Any]] = {}
        self.client: Any = None
        self.reconnect()

    def reconnect(self) -> None:
        """As the JS client does: all queries with their journals, then all mutations that are not resolved."""
        journals = {}
        if self.client is not None:
            self.note_progress()
            journals = self.client.journals
            self.client.session.disconnected()
        self.client = client = self.new_client()
        client.connect(sessionId=self.name, connectionCount=self.connections)
        self.connections += 1
        pages = {n: q for n, q in self.queries.items() if journals.get(n) is not None}
        client.modify({n: q for n, q in self.queries.items() if n not in pages})
        for query_id, query in pages.items():
            client.modify({query_id: query}, journal=journals[query_id])
        for request_id, args in self.unanswered.items():
            client.mutate(request_id, **args)

    def note_progress(self) -> None:
        for request_id in self.client.resolved:
            self.unanswered.pop(request_id, None)

    def step(self) -> None:
        client, rng = self.client, self.rng
        assert client.closed is None
        match rng.choices(["add", "remove", "mutate", "stall", "read", "reconnect", "logout"], [4, 2, 6, 1, 3, 1, 1])[
            0
        ]:
            case "add":
                added = {self.next_query + n: rng.choice(QUERIES) for n in range(rng.randint(1, 3))}
                self.next_query += 3
                self.queries |= added
                client.modify(added)
            case "remove" if self.queries:
                gone = rng.choice(list(self.queries))
                del self.queries[gone]
                client.modify(remove=(gone,))
            case "mutate":
                args = {"key": rng.choice(KEYS), "by": rng.randint(1, 3)}
                self.unanswered[self.next_request] = args
                client.mutate(self.next_request, **args)
                self.next_request += 1
            case "stall":
                client.reads = False
            case "read":
                client.reads = True
                client.take(rng.randint(1, 5))
            case "reconnect":
                self.reconnect()
            case "logout":
                client.say("Authenticate", baseVersion=client.session.state.recv_identity, tokenType="None")


@pytest.mark.parametrize("seed", SEEDS)
async def test_any_interleaving_keeps_the_invariants(
    seed: int, node: Any, new_client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(seed)
    if seed % 2:
        # Every step lets others run, as it does when there are thousands of subscribers.
        monkeypatch.setattr(refresh, "STEP_S", 0.0)
        monkeypatch.setattr(refresh, "STEP_SUBSCRIBERS", 1)

    async def pace(path: str) -> None:
        for _ in range(rng.choice([0, 0, 1, 3, 20])):
            await asyncio.sleep(0)

    async def no_wait(seconds: float) -> None:
        await asyncio.sleep(0)

    node.pace = pace
    monkeypatch.setattr(node.runtime, "sleep", no_wait)
    people = [Person(number, new_client, rng) for number in range(5)]
    for _ in range(300):
        rng.choice(people).step()
        if rng.random() < 0.05:
            node.write(rng.choice(KEYS), rng.randint(0, 9))
        if rng.random() < 0.02:
            node.rounds.discard_all()
        if rng.random() < 0.02:
            node.trouble[rng.choice(QUERIES)[0]] = [OverloadError("OutOfRetention", "this snapshot is gone")]
        for _ in range(rng.choice([0, 0, 0, 1, 5, 30])):
            await asyncio.sleep(0)

    def is_quiet() -> bool:
        for person in people:
            person.client.reads = True
            person.client.take()
            person.note_progress()
        return not any(p.unanswered or p.client.version["querySet"] != p.client.sent_version for p in people)

    for _ in range(20_000):
        if is_quiet():
            break
        await asyncio.sleep(0)
    assert is_quiet(), [p.unanswered for p in people]
    for _ in range(300):
        await asyncio.sleep(0)
    is_quiet()

    assert len(set(node.applied)) == len(node.applied), "I6: a request took effect twice"
    assert len(node.applied) == sum(person.next_request for person in people)
    for person in people:
        assert person.client.results.keys() == person.queries.keys()
        # I7: what the client holds is what a fresh query returns.
        person.client._check_results(set(person.queries), person.queries, node.latest_ts)
        person.client.session.state.validate()
        person.client.session.disconnected()
    assert all(not live.subscriptions for live in node.cache.live_queries())
    assert len(node.invalidation) <= 20_000
