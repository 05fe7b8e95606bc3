"""Awaitable calls: forgotten ones are found, concurrent ones work, nested ones hold the others up."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from concave.database.calls import CallTracker, DatabaseCall
from concave.database.writer import DatabaseWriter
from concave.values.errors import DeveloperError


async def test_a_forgotten_await_is_reported_with_its_line_and_nothing_was_written(world: Any) -> None:
    tx, db = await world.writing()
    db.insert("strict", {"name": "lost"})
    with pytest.raises(DeveloperError) as caught:
        db.calls.check()
    assert caught.value.code == "UnawaitedCall"
    line = test_a_forgotten_await_is_reported_with_its_line_and_nothing_was_written.__code__.co_firstlineno + 2
    assert f"never awaited: db.insert at test_calls.py:{line}; put `await` before it" in str(caught.value)
    assert tx.writes() == ()
    gc.collect()  # no "coroutine was never awaited" from Python: warnings are errors here


async def test_awaited_calls_are_no_fault(world: Any) -> None:
    _, db = await world.writing()
    await db.insert("strict", {"name": "kept"})
    assert len(await db.query("strict").collect()) == 1
    db.calls.check()


async def test_a_call_that_failed_is_no_fault(world: Any) -> None:
    _, db = await world.writing()
    with pytest.raises(DeveloperError):
        await db.get("nonsense")
    db.calls.check()


async def test_gather_runs_calls_in_order_of_issue(world: Any) -> None:
    _, db = await world.writing()
    ids = await asyncio.gather(*(db.insert("strict", {"name": str(i)}) for i in range(20)))
    assert [row["name"] for row in await db.query("strict").collect()] == [str(i) for i in range(20)]
    documents = await asyncio.gather(*map(db.get, ids))
    assert [document["name"] for document in documents if document] == [str(i) for i in range(20)]
    db.calls.check()


async def test_tasks_and_task_groups_take_calls(world: Any) -> None:
    _, db = await world.writing()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(db.insert("strict", {"name": "a"}))
    assert await asyncio.wait_for(db.get(task.result()), 5)
    db.calls.check()


async def test_concurrent_patches_of_one_document_lose_nothing(world: Any) -> None:
    (document_id,) = await world.fill("items", [{"n": 0.0}])
    _, db = await world.writing()
    await asyncio.gather(db.patch(document_id, {"a": 1.0}), db.patch(document_id, {"b": 2.0}), db.delete(document_id))
    assert await db.get(document_id) is None
    _, db = await world.writing()
    await asyncio.gather(db.patch(document_id, {"a": 1.0}), db.patch(document_id, {"b": 2.0}))
    document = await db.get(document_id)
    assert (document["a"], document["b"], document["n"]) == (1.0, 2.0, 0.0)


async def test_a_task_left_running_is_reported_and_cannot_act_later(world: Any) -> None:
    tx, db = await world.writing()
    task = asyncio.ensure_future(db.insert("strict", {"name": "late"}))
    with pytest.raises(DeveloperError, match="never awaited"):
        db.calls.check()
    with pytest.raises(DeveloperError, match="after its function had returned"):
        await task
    assert tx.writes() == ()


async def test_a_call_under_way_when_the_function_returns_is_reported() -> None:
    tracker = CallTracker()
    gate: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def waits() -> int:
        return await gate

    task = asyncio.ensure_future(DatabaseCall(tracker, "db.get", waits, (), depth=1))
    await asyncio.sleep(0)
    with pytest.raises(DeveloperError, match=r"still running when the function returned: db\.get at"):
        tracker.check()
    gate.set_result(1)
    assert await task == 1


async def test_awaiting_twice_is_refused(world: Any) -> None:
    tx, db = await world.writing()
    call = db.insert("strict", {"name": "a"})
    await call
    with pytest.raises(DeveloperError, match=r"awaited twice: db\.insert at"):
        await call
    assert len(tx.writes()) == 1


async def test_a_task_cancelled_before_it_began_is_no_fault(world: Any) -> None:
    _, db = await world.writing()
    task = asyncio.ensure_future(db.insert("strict", {"name": "a"}))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    db.calls.check()


async def test_while_a_nested_call_has_the_transaction_the_callers_calls_wait(world: Any) -> None:
    tx, caller = await world.writing()
    callee = DatabaseWriter(tx, CallTracker(journaled=False))
    outer: asyncio.Future[str] | None = None
    async with tx.lend(caller.calls):
        mark = tx.savepoint()
        outer = asyncio.ensure_future(caller.insert("strict", {"name": "outer"}))
        await callee.insert("strict", {"name": "inner"})
        assert not outer.done()
        tx.rollback_to(mark)
    await outer
    assert [row["name"] for row in await caller.query("strict").collect()] == ["outer"]
    caller.calls.check()


async def test_concurrent_nested_calls_take_turns(world: Any) -> None:
    tx, caller = await world.writing()
    inside = 0
    order: list[int] = []

    async def nested(number: int) -> None:
        nonlocal inside
        async with tx.lend(caller.calls):
            inside += 1
            assert inside == 1
            db = DatabaseWriter(tx, CallTracker(journaled=False))
            await db.insert("strict", {"name": str(number)})
            await asyncio.sleep(0)
            order.append(number)
            inside -= 1

    await asyncio.gather(*(nested(i) for i in range(4)))
    assert order == [0, 1, 2, 3]


async def test_async_for_waits_for_its_turn(world: Any) -> None:
    await world.fill("strict", [{"name": "a"}])
    tx, caller = await world.writing()
    seen: list[str] = []

    async def loop() -> None:
        seen.extend([row["name"] async for row in caller.query("strict")])

    async with tx.lend(caller.calls):
        task = asyncio.ensure_future(loop())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == []
    await task
    assert seen == ["a"]


async def test_a_write_that_a_failed_nested_call_left_under_way_writes_nothing(world: Any) -> None:
    (document_id,) = await world.fill("items", [{"n": 1.0}])
    tx, caller = await world.writing()
    gate = asyncio.Event()
    get = world.store.get

    async def slow(*arguments: Any) -> Any:
        await gate.wait()
        return await get(*arguments)

    world.store.get = slow
    async with tx.lend(caller.calls):
        mark = tx.savepoint()
        callee = DatabaseWriter(tx, CallTracker(journaled=False))
        patching = asyncio.ensure_future(callee.patch(document_id, {"n": 2.0}))
        inserting = asyncio.ensure_future(callee.insert("strict", {"name": "behind it"}))
        await asyncio.sleep(0)
        callee.calls.closed = True
        tx.rollback_to(mark)
    gate.set()
    for task in (patching, inserting):
        with pytest.raises(DeveloperError, match="rolled back; nothing was written"):
            await task
    await caller.patch(document_id, {"a": 1.0})
    (write,) = tx.writes()
    assert (write.after["n"], write.after["a"]) == (1.0, 1.0)
