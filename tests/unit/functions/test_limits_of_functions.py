"""Limits of one call: time, arguments, result, calls at once; each at its value and one above, and the warnings."""

from __future__ import annotations

import asyncio
import builtins
from dataclasses import replace

import pytest

from concave.values.limits import DEFAULT_LIMITS

APP = """
import asyncio
import builtins
from concave import define_table, mutation, query, v

rows = define_table(text=v.string(), inner=v.optional(v.any()))

@query
async def works(ctx, seconds: float):
    builtins.advance(seconds)
    return "done"

@query
async def catches(ctx):
    try:
        builtins.advance(1.5)
        await ctx.db.query("rows").collect()
    except Exception:
        pass
    return "not to be had"

@query
async def waits(ctx):
    builtins.advance(0.4)
    await ctx.db.query("rows").collect()
    builtins.advance(0.4)
    return "done"

@query
async def calls(ctx):
    builtins.advance(0.4)
    await ctx.run_query(works, {"seconds": 0.4})
    builtins.advance(0.4)
    return "done"

@query
async def reads(ctx, count: int):
    found = await asyncio.gather(*[ctx.db.query("rows").take(1) for _ in range(count)])
    return len(found)

@query
async def gives(ctx, length: int):
    return "x" * length

@query
async def takes(ctx, text: str):
    return len(text)

@mutation
async def writes(ctx, length: int, levels: int):
    inner = {}
    for _ in range(levels - 2):
        inner = {"inner": inner}
    await ctx.db.insert("rows", {"text": "x" * length, "inner": inner})
"""
FILES = {"app.py": APP}


@pytest.fixture
async def world(serve, monkeypatch):
    """A clock that only the functions and slow reads move on."""
    now = [1000.0]

    def advance(seconds):
        now[0] += seconds

    monkeypatch.setattr(builtins, "advance", advance, raising=False)

    async def make(**limits):
        world = await serve(FILES, limits=replace(DEFAULT_LIMITS, **limits))
        monkeypatch.setattr(world.runtime, "monotonic", lambda: now[0], raising=False)
        return world

    return make


async def test_a_second_of_the_functions_own_code(world):
    world = await world()
    assert (await world.query("app:works", seconds=0.8)).log_lines == []
    outcome = await world.query("app:works", seconds=1.0)
    assert outcome.value == "done"
    assert outcome.log_lines == ["[WARN] Function execution took a long time (actual: 1.00s, limit: 1s)."]
    outcome = await world.query("app:works", seconds=1.001)
    assert "Function execution timed out (maximum duration: 1s)" in outcome.error_message


async def test_it_cannot_be_caught(world):
    world = await world()
    outcome = await world.query("app:catches")
    assert "Function execution timed out (maximum duration: 1s)" in outcome.error_message


async def test_waiting_for_the_database_does_not_count(world):
    world = await world()
    scan = world.store.scan

    async def slow_scan(*args, **kwargs):
        builtins.advance(10)  # type: ignore[attr-defined]
        return await scan(*args, **kwargs)

    world.store.scan = slow_scan
    assert (await world.query("app:waits")).value == "done"


async def test_what_a_called_function_takes_counts(world):
    world = await world()
    outcome = await world.query("app:calls")
    assert "Function execution timed out" in outcome.error_message


async def test_calls_at_once(world):
    world = await world(concurrent_operations_max=3)
    scan = world.store.scan

    async def scan_in_a_moment(*args, **kwargs):
        await asyncio.sleep(0)
        return await scan(*args, **kwargs)

    world.store.scan = scan_in_a_moment
    assert (await world.query("app:reads", count=3)).value == 3
    outcome = await world.query("app:reads", count=4)
    assert "Too many concurrent operations in a single function execution (limit: 3)." in outcome.error_message


async def test_the_size_of_the_result(world):
    world = await world(result_bytes_max=100)
    assert (await world.query("app:gives", length=78)).log_lines == []
    outcome = await world.query("app:gives", length=98)
    assert outcome.ok
    assert outcome.log_lines == [
        "[WARN] Large size of the function return value (actual: 100 bytes, limit: 100 bytes)."
    ]
    outcome = await world.query("app:gives", length=99)
    assert "return value is too large (actual: 101 bytes, limit: 100 bytes)" in outcome.error_message


async def test_the_size_of_the_arguments(world):
    # The object and its field's name take 7 bytes, the string 2 and its own.
    world = await world(args_bytes_max=100)
    assert (await world.query("app:takes", text="x" * 71)).log_lines == []
    outcome = await world.query("app:takes", text="x" * 91)
    assert outcome.ok
    assert outcome.log_lines == ["[WARN] Large size of the function arguments (actual: 100 bytes, limit: 100 bytes)."]
    outcome = await world.query("app:takes", text="x" * 92)
    assert "too large (actual: 101 bytes, limit: 100 bytes)" in outcome.error_message


async def test_large_and_deep_documents_are_warned_of(world):
    world = await world()
    assert (await world.mutation("app:writes", length=800_000, levels=12)).log_lines == []
    large, deep = (await world.mutation("app:writes", length=900_000, levels=13)).log_lines
    assert large.startswith('[WARN] Large document written with ID "')
    assert large.endswith(" bytes, limit: 1048576 bytes).")
    assert deep.startswith('[WARN] Deeply nested document written with ID "')
    assert deep.endswith(" (actual: 13 levels, limit: 16 levels).")
