"""Messages in channels, each with its author's name for it."""

from __future__ import annotations

from concave import define_table, mutation, query, v

messages = (
    define_table(op=v.string(), client=v.string(), number=v.number(), channel=v.string())
    .index("by_channel", ["channel"])
    .index("by_client", ["client", "number"])
)


@mutation(args={"op": v.string(), "client": v.string(), "number": v.number(), "channel": v.string()})
async def send(ctx, op, client, number, channel):
    await ctx.db.insert("messages", {"op": op, "client": client, "number": number, "channel": channel})


@query(args={"channel": v.string()})
async def newest(ctx, channel):
    return await ctx.db.query("messages").with_index("by_channel", channel=channel).order("desc").take(20)


@query(args={"client": v.string()})
async def mine(ctx, client):
    """A client's newest messages."""
    return await ctx.db.query("messages").with_index("by_client", client=client).order("desc").take(5)
