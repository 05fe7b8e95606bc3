"""One table of messages. `runs` counts how often `list` was executed in this process."""

from __future__ import annotations

from concave import action, define_table, mutation, query, v

messages = define_table(
    channel=v.string(),
    author=v.string(),
    body=v.string(),
).index("by_channel", ["channel"])

_runs = 0


@query(args={"channel": v.string()})
async def list_(ctx, channel):
    global _runs
    _runs += 1
    return await ctx.db.query("messages").with_index("by_channel", channel=channel).order("desc").take(50)


@query(args={"channel": v.string(), "before": v.number()})
async def page(ctx, channel, before):
    return await (
        ctx.db.query("messages")
        .with_index("by_channel", lambda q: q.eq("channel", channel).lt("_creationTime", before))
        .order("desc")
        .take(20)
    )


@mutation(args={"channel": v.string(), "author": v.string(), "body": v.string()}, returns=v.id("messages"))
async def send(ctx, channel, author, body):
    return await ctx.db.insert("messages", {"channel": channel, "author": author, "body": body})


@action(args={}, returns=v.number())
async def runs(ctx):
    return _runs
