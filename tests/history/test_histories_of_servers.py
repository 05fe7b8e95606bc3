"""Random transactions on two servers and one database, recorded by their clients and checked for cycles."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from history_checker import Append, Outcome, Read, Transaction, check, from_registers
from processes import concave_server, database_in

LEDGER = Path(__file__).parent / "ledger"
CLIENTS = 6
TRANSACTIONS = 60
KEYS = 4
SEED = 20240607


@pytest.fixture(scope="module")
def urls(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two servers on one database."""
    uri = database_in(mongo_uri, "history")
    with ExitStack() as stack:
        yield [
            stack.enter_context(
                concave_server("serve", LEDGER, "--db", uri, directory=tmp_path_factory.mktemp(name))
            ).url
            for name in ("first", "second")
        ]


class Recorder:
    """One client: makes transactions at random and notes what became of them."""

    def __init__(self, name: str, url: str, what: str, random: Random, numbers: Iterator[int]) -> None:
        self.name = name
        self._url = url
        self._what = what
        self._random = random
        self._numbers = numbers
        self.history: list[tuple[str, list[tuple[str, str, Any]], Outcome]] = []

    async def run(self, http: httpx.AsyncClient) -> None:
        for number in range(TRANSACTIONS):
            operations = self._operations()
            is_query = all(operation[0] == "read" for operation in operations) and self._random.random() < 0.5
            if is_query:
                path, args = "ledger:look", {"keys": [operation[1] for operation in operations]}
            else:
                path, args = "ledger:run", {"operations": operations}
            results, outcome = await self._call(http, "query" if is_query else "mutation", path, args)
            answered = [
                (*operation[:2], result if operation[0] == "read" else operation[2])
                for operation, result in zip(operations, results or [None] * len(operations), strict=True)
                if operation[0] == "write" or results is not None
            ]
            self.history.append((f"{self.name}.{number}", answered, outcome))

    def _operations(self) -> list[list[Any]]:
        operations: list[list[Any]] = []
        for _ in range(self._random.randint(1, 4)):
            key = f"{self._what} {self._random.randrange(KEYS)}"
            if self._random.random() < 0.5:
                # The order of a register's versions is known from transactions that read what they overwrite.
                if self._what == "register":
                    operations.append(["read", key])
                operations.append(["write", key, next(self._numbers)])
            else:
                operations.append(["read", key])
        return operations

    async def _call(
        self, http: httpx.AsyncClient, kind: str, path: str, args: dict[str, Any]
    ) -> tuple[list[Any] | None, Outcome]:
        body = {"path": path, "args": {"what": self._what, **args}, "format": "json"}
        answer = await http.post(f"{self._url}/api/{kind}", json=body)
        if answer.status_code >= 500:
            return None, Outcome.UNKNOWN
        content = json.loads(answer.text)
        assert content["status"] == "success", content
        return content["value"], Outcome.COMMITTED


async def record(urls: list[str], what: str) -> list[Any]:
    numbers = itertools.count(1)
    recorders = [
        Recorder(f"client{number}", urls[number % 2], what, Random(f"{SEED} {what} {number}"), numbers)
        for number in range(CLIENTS)
    ]
    async with httpx.AsyncClient(timeout=30) as http:
        await asyncio.gather(*(recorder.run(http) for recorder in recorders))
    return [transaction for recorder in recorders for transaction in recorder.history]


@pytest.mark.slow
async def test_lists(urls: list[str]) -> None:
    history = [
        Transaction(
            name,
            tuple(
                Read(key, tuple(int(item) for item in value)) if what == "read" else Append(key, int(value))
                for what, key, value in operations
            ),
            outcome,
        )
        for name, operations, outcome in await record(urls, "list")
    ]
    committed = [transaction for transaction in history if transaction.outcome is Outcome.COMMITTED]
    assert len(committed) > len(history) * 0.9
    assert check(history) == []


@pytest.mark.slow
async def test_registers(urls: list[str]) -> None:
    history = [
        (name, [(what, key, int(value)) for what, key, value in operations], outcome)
        for name, operations, outcome in await record(urls, "register")
        # What an unanswered transaction read is not known, so neither is what it overwrote.
        if outcome is Outcome.COMMITTED
    ]
    assert len(history) > CLIENTS * TRANSACTIONS * 0.9
    assert check(from_registers(history)) == []
