"""Nested mutations against a model: any tree of writes, calls, failures and catches leaves what it should."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

INTERPRETER = """
from typing import Any
from concave import define_table, mutation, query, v

things = define_table(name=v.string()).index("by_name", ["name"])

@mutation
async def run(ctx, steps: list[Any]):
    for step in steps:
        if step["do"] == "insert":
            await ctx.db.insert("things", {"name": step["name"]})
        elif step["do"] == "deleteFirst":
            first = await ctx.db.query("things").with_index("by_name").first()
            if first is not None:
                await ctx.db.delete(first["_id"])
        elif step["do"] == "fail":
            raise ValueError("as told")
        elif step["do"] == "call":
            try:
                await ctx.run_mutation(run, {"steps": step["steps"]})
            except ValueError:
                if not step["catch"]:
                    raise
    return [thing["name"] for thing in await ctx.db.query("things").with_index("by_name").collect()]

@query
async def names(ctx):
    return [thing["name"] for thing in await ctx.db.query("things").with_index("by_name").collect()]
"""

leaves = st.one_of(
    st.builds(lambda name: {"do": "insert", "name": name}, st.sampled_from("abcde")),
    st.just({"do": "deleteFirst"}),
    st.just({"do": "fail"}),
)
steps = st.recursive(
    st.lists(leaves, max_size=4),
    lambda children: st.lists(
        st.one_of(
            leaves,
            st.builds(lambda inner, catch: {"do": "call", "steps": inner, "catch": catch}, children, st.booleans()),
        ),
        max_size=4,
    ),
    max_leaves=12,
)


class ModelFailure(Exception):
    pass


def model(names: list[str], program: list[dict[str, Any]]) -> list[str]:
    """What the names are after the program. Raises `ModelFailure` if it fails."""
    for step in program:
        if step["do"] == "insert":
            names = sorted([*names, step["name"]])
        elif step["do"] == "deleteFirst":
            names = names[1:]
        elif step["do"] == "fail":
            raise ModelFailure
        else:
            try:
                names = model(names, step["steps"])
            except ModelFailure:
                if not step["catch"]:
                    raise
    return names


def depth(program: list[dict[str, Any]]) -> int:
    return 1 + max((depth(step["steps"]) for step in program if step["do"] == "call"), default=0)


async def test_any_tree_of_calls(serve):
    world = await serve({"interpreter.py": INTERPRETER})
    loop = asyncio.get_running_loop()
    state: list[str] = []

    async def check(program: list[dict[str, Any]]) -> None:
        nonlocal state
        outcome = await world.mutation("interpreter:run", steps=program)
        try:
            state = model(state, program)
        except ModelFailure:
            assert not outcome.ok
        else:
            assert outcome.ok, outcome.error_message
            assert outcome.value == state
        assert await world.value("interpreter:names") == state

    @settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(steps.filter(lambda program: depth(program) <= 8))
    def run(program: list[dict[str, Any]]) -> None:
        asyncio.run_coroutine_threadsafe(check(program), loop).result(20)

    await asyncio.to_thread(run)
