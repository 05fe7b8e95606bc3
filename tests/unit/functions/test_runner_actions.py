"""Actions: calls in transactions of their own, plain functions in threads, errors that keep their data."""

from __future__ import annotations

from dataclasses import replace

import pytest

from concave.storage.store import WriteConflict
from concave.values.errors import EngineError
from concave.values.limits import DEFAULT_LIMITS

TASKS = """
import threading
from concave import ConvexError, action, define_table, internal_action, internal_mutation, internal_query, v

tasks = define_table(title=v.string())

@internal_mutation(args={"title": v.string()})
async def add(ctx, title):
    if title == "bad":
        raise ConvexError({"title": title})
    print("adding", title)
    return await ctx.db.insert("tasks", {"title": title})

@internal_query
async def titles(ctx):
    return sorted(task["title"] for task in await ctx.db.query("tasks").collect())

@internal_action(args={"title": v.string()})
async def addTwice(ctx, title):
    await ctx.run_mutation(add, {"title": title})
    await ctx.run_mutation("tasks:add", {"title": title})

@action
async def work(ctx):
    before = await ctx.run_query(titles)
    await ctx.run_action(addTwice, {"title": "a"})
    return {"before": before, "after": await ctx.run_query(titles)}

@action
def blocking(ctx):
    print("in a thread")
    ctx.run_mutation(add, {"title": "b"})
    ctx.run_action(addTwice, {"title": "c"})
    return {"titles": ctx.run_query(titles), "main": threading.current_thread() is threading.main_thread()}

@action
def blockingFailure(ctx):
    ctx.run_mutation(add, {"title": "kept"})
    ctx.run_mutation(add, {"title": "bad"})

@action
async def failure(ctx):
    await ctx.run_mutation(add, {"title": "kept"})
    try:
        await ctx.run_mutation(add, {"title": "bad"})
    except ConvexError as error:
        print("data", error.data)
        raise

@action
async def careless(ctx):
    ctx.run_mutation(add, {"title": "never"})

@action(returns=v.string())
async def badResult(ctx):
    return 1

@action
async def hang(ctx):
    import asyncio
    await asyncio.Event().wait()

@action
def who(ctx):
    return ctx.auth.get_user_identity()
"""
FILES = {"tasks.py": TASKS}


async def test_each_call_of_an_action_is_a_transaction_of_its_own(serve):
    world = await serve(FILES)
    outcome = await world.action("tasks:work")
    assert outcome.ok, outcome.error_message
    assert outcome.value == {"before": [], "after": ["a", "a"]}
    assert outcome.value_json == b'{"after":["a","a"],"before":[]}'


async def test_a_plain_function_runs_in_a_thread_and_its_calls_block(serve):
    world = await serve(FILES)
    outcome = await world.action("tasks:blocking")
    assert outcome.ok, outcome.error_message
    assert outcome.value == {"titles": ["b", "c", "c"], "main": False}


async def test_errors_of_the_called_function_keep_their_data(serve):
    world = await serve(FILES)
    for path in ("tasks:failure", "tasks:blockingFailure"):
        outcome = await world.action(path)
        assert outcome.error_data == {"title": "bad"}
        assert "    at add (app/tasks.py:10)" in outcome.error_message
    assert await world.value("tasks:titles") == ["kept", "kept"]


async def test_calls_left_behind_are_counted_in_the_log(serve):
    world = await serve(FILES)
    outcome = await world.action("tasks:careless")
    assert outcome.ok
    assert outcome.log_lines[-1].startswith("[WARN] 1 unawaited operation: [ctx.run_mutation at tasks.py:")
    assert await world.value("tasks:titles") == []


async def test_results_of_actions_are_checked(serve):
    world = await serve(FILES)
    assert "ReturnsValidationError" in (await world.action("tasks:badResult")).error_message


async def test_actions_time_out(serve):
    world = await serve(FILES, limits=replace(DEFAULT_LIMITS, action_time_s_max=0.01))
    assert "timed out" in (await world.action("tasks:hang")).error_message


async def test_identity_reaches_plain_actions(serve):
    world = await serve(FILES)
    world.identity = {"subject": "someone"}
    assert (await world.action("tasks:who")).value == {"subject": "someone"}


async def test_a_conflict_that_lasts_is_the_actions_failure(serve):
    world = await serve(FILES, limits=replace(DEFAULT_LIMITS, conflict_backoff_first_s=0.001))

    async def refuse(entry):
        raise WriteConflict("somebody else")

    world.store.append = refuse
    outcome = await world.action("tasks:work")
    assert "on every subsequent retry" in outcome.error_message


async def test_trouble_with_the_database_is_raised(serve):
    world = await serve(FILES)

    async def fail(*args, **kwargs):
        raise ConnectionResetError("gone")

    world.store.scan = fail
    with pytest.raises(EngineError):
        await world.action("tasks:work")
