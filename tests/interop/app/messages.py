"""A table of messages, and functions that succeed, fail and nest in the ways that clients must see."""

from __future__ import annotations

import logging

from concave import (
    ConvexError,
    action,
    define_table,
    internal_query,
    mutation,
    pagination_opts_validator,
    query,
    v,
)

messages = define_table(
    channel=v.string(),
    body=v.string(),
    rank=v.optional(v.number()),
).index("by_channel", ["channel"])

counters = define_table(name=v.string(), value=v.number()).index("by_name", ["name"], unique=True)


@query(args={"channel": v.string()})
async def list_(ctx, channel):
    return await ctx.db.query("messages").with_index("by_channel", channel=channel).collect()


@query(args={"channel": v.string()}, returns=v.number())
async def count(ctx, channel):
    return len(await ctx.db.query("messages").with_index("by_channel", channel=channel).collect())


@query(args={"channel": v.string(), "paginationOpts": pagination_opts_validator})
async def pages(ctx, channel, paginationOpts):
    return await ctx.db.query("messages").with_index("by_channel", channel=channel).paginate(paginationOpts)


@mutation(args={"channel": v.string(), "body": v.string()}, returns=v.id("messages"))
async def send(ctx, channel, body):
    return await ctx.db.insert("messages", {"channel": channel, "body": body})


@mutation(args={"id": v.id("messages"), "body": v.string()}, returns=v.null())
async def edit(ctx, id, body):
    await ctx.db.patch(id, {"body": body})


@mutation(args={"id": v.id("messages")}, returns=v.null())
async def remove(ctx, id):
    await ctx.db.delete(id)


@mutation(args={"name": v.string()}, returns=v.number())
async def increment(ctx, name):
    """Read, then write: concurrent calls must not lose a count."""
    counter = await ctx.db.query("counters").with_index("by_name", name=name).unique()
    if counter is None:
        await ctx.db.insert("counters", {"name": name, "value": 1})
        return 1
    await ctx.db.patch(counter["_id"], {"value": counter["value"] + 1})
    return counter["value"] + 1


@query(args={"value": v.any()})
async def echo(ctx, value):
    return value


@mutation(args={"value": v.any()})
async def echo_mutation(ctx, value):
    return value


@action(args={"value": v.any()})
async def echo_action(ctx, value):
    return value


@action(args={"channel": v.string(), "bodies": v.array(v.string())}, returns=v.number())
async def send_all(ctx, channel, bodies):
    for body in bodies:
        await ctx.run_mutation(send, {"channel": channel, "body": body})
    return await ctx.run_query("messages:count", {"channel": channel})


@mutation(args={"data": v.any()})
async def refuse(ctx, data):
    await ctx.db.insert("messages", {"channel": "refused", "body": "must not stay"})
    raise ConvexError(data)


@query(args={"data": v.any()})
async def refuse_query(ctx, data):
    raise ConvexError(data)


@mutation(args={})
async def crash(ctx):
    raise ValueError("something broke")


@mutation(args={})
async def nothing(ctx):
    return None


@query(args={})
async def logs(ctx):
    print("hello", 3, {"a": 1})
    logging.getLogger("app").warning("careful: %s", "wet floor")
    return "logged"


@internal_query(args={})
async def hidden(ctx):
    return "internal"


@query(args={"characters": v.number()})
async def large(ctx, characters):
    """Characters of two, three and four bytes."""
    return "é€🙂" * int(characters / 3)
