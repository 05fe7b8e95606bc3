"""Permits: how many run at once, and who gives up when."""

from __future__ import annotations

import asyncio

import pytest

from concave.functions.permits import Permits
from concave.values.errors import OverloadError
from concave.values.runtime import SystemRuntime


async def test_no_more_than_the_permits_run_at_once():
    permits = Permits("queries", 2, 5.0, SystemRuntime())
    running = most = 0
    order: list[int] = []

    async def call(number: int) -> None:
        nonlocal running, most
        async with permits:
            running += 1
            most = max(most, running)
            order.append(number)
            await asyncio.sleep(0)
            running -= 1

    await asyncio.gather(*[call(number) for number in range(10)])
    assert most == 2
    assert order == list(range(10))


async def test_a_caller_gives_up_when_nothing_moves():
    permits = Permits("queries", 1, 0.01, SystemRuntime())
    async with permits:
        with pytest.raises(OverloadError) as raised:
            await permits.__aenter__()
    assert raised.value.code == "TooManyConcurrentRequests"
    async with permits:  # the permit is not lost
        pass


async def test_a_cancelled_caller_takes_no_permit_with_it():
    permits = Permits("queries", 1, 5.0, SystemRuntime())

    async def call() -> None:
        async with permits:
            pass

    async with permits:
        waiting = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        second = asyncio.ensure_future(call())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
    await second
    async with permits:
        pass
