from __future__ import annotations

from concave import define_table, internal_mutation, query, v

events = define_table(kind=v.string())


@internal_mutation(args={"kind": v.string()})
async def add(ctx, kind):
    print("received", kind)
    return await ctx.db.insert("events", {"kind": kind})


@query(args={}, returns=v.array(v.string()))
async def kinds(ctx):
    return [event["kind"] for event in await ctx.db.query("events").collect()]


@query(args={})
async def where(ctx):
    return {"api": ctx.env["CONVEX_CLOUD_URL"], "site": ctx.env["CONVEX_SITE_URL"]}


@query(args={})
async def broken(ctx):
    raise ValueError("the secret reason")
