"""Counters, which mutations read and write back, and a query that reads as many index ranges as it is told to."""

from __future__ import annotations

import asyncio

from concave import define_table, mutation, query, v

counters = define_table(name=v.string(), count=v.number()).index("by_name", ["name"])


@mutation(args={"name": v.string()}, returns=v.id("counters"))
async def create(ctx, name):
    return await ctx.db.insert("counters", {"name": name, "count": 0})


@mutation(args={"id": v.id("counters")}, returns=v.number())
async def bump(ctx, id):
    counter = await ctx.db.get(id)
    count = counter["count"] + 1
    await ctx.db.patch(id, {"count": count})
    return count


@query(args={"id": v.id("counters")}, returns=v.number())
async def read(ctx, id):
    return (await ctx.db.get(id))["count"]


@query(args={"prefix": v.string(), "names": v.number()}, returns=v.number())
async def watch(ctx, prefix, names):
    """How many of `names` names there are. Each is an interval of its own in the read set."""
    found = await asyncio.gather(
        *(
            ctx.db.query("counters").with_index("by_name", name=f"{prefix} {number}").first()
            for number in range(int(names))
        )
    )
    return len([counter for counter in found if counter is not None])
