"""A node's way to the simulated database: `MemoryStore` behind requests that take time and replies that get lost.

What the database does happens at one moment, between the request's journey and the reply's; it happens although the
node that asked has died meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any, TypeVar

from concave.schema.catalog import Catalog
from concave.schema.plan import IndexLayout, Plan
from concave.storage.memory import MemoryStore
from concave.storage.store import (
    FeedEvent,
    LogEntry,
    Order,
    PushProgress,
    StoredRequest,
    StoreUnavailable,
    TableStats,
    WriteConflict,
)
from concave.testing.simulation.faults import Faults
from concave.values.types import Document, Timestamp

T = TypeVar("T")

GIVE_UP_S = 0.2
"""How long the store tries before it says that the database does not answer."""

FEED_STALL_S_MAX = 8.0


class SimulatedStore:
    """Implements `Store`. `faults` is asked anew for each operation, `note` writes the trace."""

    def __init__(
        self, inner: MemoryStore, random: Random, faults: Callable[[], Faults], note: Callable[..., None]
    ) -> None:
        self._inner = inner
        self._random = random
        self._faults = faults
        self._note = note

    async def start(self) -> None:
        await self._inner.start()

    async def close(self) -> None:
        await self._inner.close()

    async def push(self, plan: Plan, *, progress: PushProgress | None = None) -> Catalog:
        return await self._inner.push(plan, progress=progress)

    async def current_ts(self) -> Timestamp:
        return await self._read(self._inner.current_ts)

    async def last_seq(self, ts: Timestamp) -> int:
        return await self._read(lambda: self._inner.last_seq(ts))

    async def get(self, table: str, id: str, ts: Timestamp) -> Document | None:
        return await self._read(lambda: self._inner.get(table, id, ts))

    async def scan(
        self, table: str, index: IndexLayout, low: bytes, high: bytes, *, order: Order, limit: int, ts: Timestamp
    ) -> list[Document]:
        return await self._read(lambda: self._inner.scan(table, index, low, high, order=order, limit=limit, ts=ts))

    async def count(self, table: str, ts: Timestamp) -> int:
        return await self._read(lambda: self._inner.count(table, ts))

    async def read_log(self, after_seq: int, limit: int) -> list[LogEntry]:
        return await self._read(lambda: self._inner.read_log(after_seq, limit))

    async def find_request(self, session_id: str, request_id: int) -> StoredRequest | None:
        stored = await self._read(lambda: self._inner.find_request(session_id, request_id))
        if stored is not None and self._random.random() < 0.5:
            # As MongoDB's does that cannot tell the commit's own time: one at which it is visible.
            return replace(stored, ts=self._inner.database.latest)
        return stored

    async def stats(self) -> Sequence[TableStats]:
        return await self._inner.stats()

    async def append(self, entry: LogEntry) -> Timestamp:
        faults = self._faults()
        fate = self._random.random()
        if (fate := fate - faults.append_lost) < 0:
            self._note("append lost", entry.seq, entry.node)
            await self._give_up()
        if (fate := fate - faults.append_unanswered) < 0:
            self._note("append unanswered", entry.seq, entry.node)
            await self._at_database(lambda: self._append(entry))
            await self._give_up()
        if (fate := fate - faults.append_late) < 0:
            self._note("append late", entry.seq, entry.node)
            late_s = self._random.random() * 4 * GIVE_UP_S
            asyncio.get_running_loop().call_later(late_s, lambda: _outcome(self._append(entry)))
            await self._give_up()
        if (fate := fate - faults.append_settled) < 0:
            await self._at_database(lambda: self._append(entry))
            await asyncio.sleep(self._random.random() * GIVE_UP_S)
            ts = await self._at_database(lambda: self._settled_ts(entry))
            self._note("append settled", entry.seq, entry.node, ts)
            return ts
        if (fate := fate - faults.write_conflict) < 0:
            await self._journey()
            raise WriteConflict("some other client wrote at the same time")
        return await self._at_database(lambda: self._append(entry))

    async def ask_for_turn(self) -> None:
        await self._read(self._inner.ask_for_turn)

    async def feed(self, after: Timestamp) -> AsyncGenerator[FeedEvent, None]:
        async with aclosing(self._inner.feed(after)) as events:
            async for event in events:
                faults = self._faults()
                if self._random.random() < faults.feed_break:
                    self._note("feed breaks", self._inner.node)
                    raise StoreUnavailable("the feed broke")
                if self._random.random() < faults.feed_stall:
                    await asyncio.sleep(self._random.random() * FEED_STALL_S_MAX)
                else:
                    await asyncio.sleep(self._delay(faults.feed_delay_s))
                yield event

    async def _append(self, entry: LogEntry) -> Timestamp:
        ts = await self._inner.append(entry)
        self._note("commit", entry.seq, entry.node, ts, len(entry.writes))
        return ts

    async def _settled_ts(self, entry: LogEntry) -> Timestamp:
        """What a store learns when it looks its batch up: the time, or any later one before the next entry's."""
        log = self._inner.database.entries
        return log[entry.seq - 1].ts if len(log) > entry.seq else self._inner.database.latest

    async def _read(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._random.random() < self._faults().read_lost:
            await self._give_up()
        return await self._at_database(operation)

    async def _give_up(self) -> Any:
        await asyncio.sleep(self._random.random() * GIVE_UP_S)
        raise StoreUnavailable("the database does not answer")

    async def _at_database(self, operation: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Request, deed, reply. The deed is done by the loop itself, so nobody's death prevents it."""
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[T] = loop.create_future()
        back_s = self._delay(self._faults().store_delay_s)

        def answer(result: T | None, error: Exception | None) -> None:
            if reply.done():
                return
            if error is not None:
                reply.set_exception(error)
            else:
                reply.set_result(result)  # type: ignore[arg-type]

        def act() -> None:
            result, error = _outcome(operation())
            loop.call_later(back_s, answer, result, error)

        loop.call_later(self._delay(self._faults().store_delay_s), act)
        return await reply

    async def _journey(self) -> None:
        await asyncio.sleep(self._delay(self._faults().store_delay_s))

    def _delay(self, mean_s: float) -> float:
        delay = self._random.expovariate(1 / mean_s)
        if self._random.random() < self._faults().spike:
            delay *= 50 * self._random.random()
        return delay


def _outcome(operation: Coroutine[Any, Any, T]) -> tuple[T | None, Exception | None]:
    """The result or the error of a coroutine that waits for nothing: `MemoryStore`'s."""
    try:
        operation.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result, None
    except Exception as error:
        return None, error
    operation.close()
    raise AssertionError("an operation of the database has to wait")
