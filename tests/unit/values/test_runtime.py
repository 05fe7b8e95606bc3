"""Tasks have an owner: they are named, their failures are logged, and closing ends them."""

import asyncio
import logging
import uuid

import pytest

from concave.values.runtime import Runtime, SystemRuntime


async def test_a_task_runs_and_gives_its_result():
    runtime: Runtime = SystemRuntime()

    async def work():
        await runtime.sleep(0)
        return 7

    task = runtime.spawn(work(), name="worker")
    assert task.get_name() == "worker"
    assert await task == 7
    await runtime.close()


async def test_a_failure_is_logged_with_the_tasks_name(caplog):
    runtime = SystemRuntime()

    async def fail():
        raise LookupError("the shelf is empty")

    with caplog.at_level(logging.ERROR, logger="concave.runtime"):
        task = runtime.spawn(fail(), name="stocktaking")
        with pytest.raises(LookupError):
            await task
        await runtime.sleep(0)
    assert "stocktaking" in caplog.text
    assert "the shelf is empty" in caplog.text
    await runtime.close()


async def test_closing_cancels_and_awaits_every_task(caplog):
    runtime = SystemRuntime()
    ended = []
    started = asyncio.Event()

    async def wait_for_ever(name):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(name)

    tasks = [runtime.spawn(wait_for_ever(name), name=name) for name in "ab"]
    await started.wait()
    await runtime.close()
    assert sorted(ended) == ["a", "b"]
    assert all(task.cancelled() for task in tasks)
    assert caplog.text == ""


async def test_a_task_may_close_the_runtime_that_owns_it():
    runtime = SystemRuntime()
    other = runtime.spawn(asyncio.Event().wait(), name="other")

    async def shut_down():
        await runtime.close()
        return "closed"

    assert await runtime.spawn(shut_down(), name="shutdown") == "closed"
    assert other.cancelled()


async def test_nothing_starts_after_closing():
    runtime = SystemRuntime()
    await runtime.close()
    with pytest.raises(RuntimeError, match="task 'late' was started after the runtime had been closed"):
        runtime.spawn(asyncio.sleep(0), name="late")


def test_clock_and_randomness():
    runtime = SystemRuntime()
    assert runtime.now_ms() > 1.7e12
    assert runtime.monotonic() <= runtime.monotonic()
    assert len(runtime.random_bytes(14)) == 14
    assert 0 <= runtime.seed() < 2**64
    assert uuid.UUID(runtime.uuid()).version == 4
