"""Posts and counters, an action that takes its time, and a query that tells how often it ran."""

from __future__ import annotations

import asyncio

from concave import ConvexError, action, define_table, mutation, query, v

posts = define_table(channel=v.string(), body=v.string()).index("by_channel", ["channel"])
counters = define_table(name=v.string(), value=v.number()).index("by_name", ["name"], unique=True)


@mutation(args={"channel": v.string(), "body": v.string()}, returns=v.id("posts"))
async def send(ctx, channel, body):
    return await ctx.db.insert("posts", {"channel": channel, "body": body})


@mutation(args={"id": v.id("posts"), "body": v.string()}, returns=v.null())
async def edit(ctx, id, body):
    if await ctx.db.get(id) is None:
        raise ConvexError("no such post")
    await ctx.db.patch(id, {"body": body})


@query(args={"channel": v.string()})
async def bodies(ctx, channel):
    return [post["body"] for post in await ctx.db.query("posts").with_index("by_channel", channel=channel).collect()]


@query(args={"channel": v.string()}, returns=v.object(posts=v.number(), run=v.number()))
async def run_of(ctx, channel):
    """Another result for each run, whether or not the posts have changed."""
    found = await ctx.db.query("posts").with_index("by_channel", channel=channel).collect()
    return {"posts": float(len(found)), "run": ctx.random.random()}


@mutation(args={"name": v.string()}, returns=v.number())
async def increment(ctx, name):
    counter = await ctx.db.query("counters").with_index("by_name", name=name).unique()
    if counter is None:
        await ctx.db.insert("counters", {"name": name, "value": 1.0})
        return 1.0
    await ctx.db.patch(counter["_id"], {"value": counter["value"] + 1})
    return counter["value"] + 1


@query(args={"name": v.string()})
async def value_of(ctx, name):
    counter = await ctx.db.query("counters").with_index("by_name", name=name).unique()
    return 0.0 if counter is None else counter["value"]


@action(args={"seconds": v.number(), "channel": v.string()}, returns=v.string())
async def later(ctx, seconds, channel):
    """Wait, then post."""
    await asyncio.sleep(seconds)
    await ctx.run_mutation(send, {"channel": channel, "body": "later"})
    return "done"
