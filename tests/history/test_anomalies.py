"""The anomalies of weaker isolation, each forced: on one node and on two, in memory and on MongoDB."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from concave.functions.attempts import RunnerOptions
from concave.functions.loader import LoadedApp, load_app
from concave.functions.runner import FunctionRunner
from concave.reactive.engine import Engine
from concave.schema.plan import compile_plan
from concave.storage.committer import Committer
from concave.storage.memory import MemoryDatabase, MemoryStore
from concave.storage.mongo import MongoStore
from concave.storage.timeline import Timeline
from concave.values.runtime import SystemRuntime

BANK = Path(__file__).parent / "bank"


class Meeting:
    """The first `count` who arrive go on together; those who come later do not wait."""

    def __init__(self, count: int) -> None:
        self._missing = count
        self._complete = asyncio.Event()

    async def __call__(self, name: str) -> None:
        self._missing -= 1
        if self._missing <= 0:
            self._complete.set()
        await self._complete.wait()


@dataclass
class Bank:
    """One or two nodes; `first` and `second` may be the same."""

    first: Engine
    second: Engine
    app: LoadedApp

    def meet(self, arrive: Callable[[str], Awaitable[None]]) -> None:
        self.app.modules["_meeting"].arrive = arrive  # type: ignore[attr-defined]

    async def call(self, engine: Engine, function: str, **args: Any) -> Any:
        outcome = await engine.mutation(f"bank:{function}", args)
        assert outcome.ok, outcome.error_message
        return outcome.value

    async def ask(self, function: str, **args: Any) -> Any:
        """A query, on both nodes; the second must have heard of what the first shows."""
        ts = max(self.first.latest_ts, self.second.latest_ts)
        async with asyncio.timeout(10):
            while min(self.first.latest_ts, self.second.latest_ts) < ts:
                await asyncio.sleep(0.001)
        answers = [await engine.query(f"bank:{function}", args) for engine in (self.first, self.second)]
        assert answers[0].value == answers[1].value
        return answers[0].value


@pytest.fixture(params=["memory", "mongo"])
def backend_uri(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "memory" else str(request.getfixturevalue("database_uri"))


@pytest.fixture(params=[1, 2], ids=["one node", "two nodes"])
async def bank(request: pytest.FixtureRequest, backend_uri: str | None) -> AsyncIterator[Bank]:
    runtime = SystemRuntime()
    database = MemoryDatabase(runtime)
    app = load_app(BANK)
    stores: list[MongoStore | MemoryStore] = []
    engines: list[Engine] = []
    for number in range(request.param):
        name = f"node{number}"
        store: MongoStore | MemoryStore = (
            MemoryStore(database, runtime=runtime, node=name)
            if backend_uri is None
            else MongoStore(backend_uri, runtime=runtime, node=name)
        )
        await store.start()
        stores.append(store)
        catalog = await store.push(compile_plan(app.schema))
        timeline = await Timeline.open(store)
        committer = Committer(store, timeline, runtime, node=name)
        runner = FunctionRunner(store, timeline, committer, runtime, options=RunnerOptions(cursor_key=b"test"))
        runner.swap(app, catalog)
        engine = Engine(store, timeline, committer, runner, runtime)
        await engine.start()
        engines.append(engine)
    bank = Bank(engines[0], engines[-1], app)
    await bank.call(bank.first, "open_accounts", balances={"ann": 50.0, "bob": 50.0})
    await bank.ask("balances")
    yield bank
    for engine in engines:
        await engine.close()
    await runtime.close()
    for store in stores:
        await store.close()


async def test_no_update_is_lost(bank: Bank) -> None:
    bank.meet(Meeting(2))
    await asyncio.gather(
        bank.call(bank.first, "deposit", owner="ann", amount=1.0),
        bank.call(bank.second, "deposit", owner="ann", amount=2.0),
    )
    assert await bank.ask("balances") == {"ann": 53.0, "bob": 50.0}


async def test_no_write_skew(bank: Bank) -> None:
    bank.meet(Meeting(2))
    done = await asyncio.gather(
        bank.call(bank.first, "withdraw", owner="ann", other="bob", amount=80.0),
        bank.call(bank.second, "withdraw", owner="bob", other="ann", amount=80.0),
    )
    assert sorted(done) == [False, True]
    assert sum((await bank.ask("balances")).values()) == 20.0


async def test_no_phantom(bank: Bank) -> None:
    await bank.call(bank.first, "book", show="opera", row=1.0)
    await bank.ask("sold", show="opera")
    bank.meet(Meeting(2))
    done = await asyncio.gather(
        bank.call(bank.first, "book", show="opera", row=7.0),
        bank.call(bank.second, "book", show="opera", row=3.0),
    )
    assert sorted(done) == [False, True]
    assert await bank.ask("sold", show="opera") == 2


async def test_no_read_only_anomaly(bank: Bank) -> None:
    """Once a reader has seen the deposit without the withdrawal, the withdrawal must have seen the deposit."""
    reading, may_go_on = asyncio.Event(), asyncio.Event()

    async def withdrawal_waits(name: str) -> None:
        if name == "withdraw":
            reading.set()
            await may_go_on.wait()

    bank.meet(withdrawal_waits)
    withdrawal = asyncio.create_task(bank.call(bank.first, "withdraw_with_fee", owner="ann", other="bob", amount=110.0))
    await reading.wait()
    await bank.call(bank.second, "deposit", owner="bob", amount=20.0)
    assert await bank.ask("balances") == {"ann": 50.0, "bob": 70.0}
    may_go_on.set()
    assert await withdrawal == 0.0
    assert await bank.ask("balances") == {"ann": -60.0, "bob": 70.0}
