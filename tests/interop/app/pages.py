"""Lists in an order of their own, read page by page while entries come, move and go."""

from __future__ import annotations

from concave import define_table, mutation, pagination_opts_validator, query, v

entries = define_table(list=v.string(), rank=v.number(), name=v.string()).index("by_list_and_rank", ["list", "rank"])

turned_lists = define_table(list=v.string()).index("by_list", ["list"], unique=True)


async def ordered(ctx, list):
    turned = await ctx.db.query("turned_lists").with_index("by_list", list=list).unique()
    entries = ctx.db.query("entries").with_index("by_list_and_rank", list=list)
    return entries.order("asc" if turned is None else "desc")


@query(args={"list": v.string(), "paginationOpts": pagination_opts_validator})
async def page(ctx, list, paginationOpts):
    return await (await ordered(ctx, list)).paginate(paginationOpts)


@query(args={"list": v.string()})
async def whole(ctx, list):
    return await (await ordered(ctx, list)).collect()


@mutation(args={"list": v.string(), "ranks": v.array(v.number())})
async def fill(ctx, list, ranks):
    for rank in ranks:
        await ctx.db.insert("entries", {"list": list, "rank": rank, "name": f"{rank:g}"})


@mutation(args={"list": v.string(), "rank": v.number(), "name": v.string()}, returns=v.id("entries"))
async def insert(ctx, list, rank, name):
    return await ctx.db.insert("entries", {"list": list, "rank": rank, "name": name})


@mutation(args={"id": v.id("entries"), "rank": v.number()})
async def move(ctx, id, rank):
    if await ctx.db.get(id) is not None:
        await ctx.db.patch(id, {"rank": rank})


@mutation(args={"id": v.id("entries")})
async def remove(ctx, id):
    if await ctx.db.get(id) is not None:
        await ctx.db.delete(id)


@mutation(args={"list": v.string()})
async def turn(ctx, list):
    """Read the list the other way round from now on: cursors of the old order are worth nothing then."""
    await ctx.db.insert("turned_lists", {"list": list})
