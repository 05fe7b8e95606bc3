"""Accounts, and transfers between them, each with a line in the log that carries the client's name for it.

Nothing here looks whether an operation was applied before: that is the engine's affair, and what is under test.
"""

from __future__ import annotations

from concave import ConvexError, define_table, mutation, query, v

accounts = (
    define_table(number=v.number(), balance=v.number(), parity=v.number())
    .index("by_number", ["number"])
    .index("by_parity", ["parity"])
)

# A client's own count orders what it did: servers' clocks, and with them `_creationTime`, are not to be relied on here.
transfers = define_table(
    op=v.string(), client=v.string(), number=v.number(), source=v.number(), target=v.number(), amount=v.number()
).index("by_client", ["client", "number"])


@mutation(args={"count": v.number(), "balance": v.number()})
async def open_accounts(ctx, count, balance):
    for number in range(int(count)):
        await ctx.db.insert("accounts", {"number": number, "balance": balance, "parity": number % 2})


@mutation(
    args={
        "op": v.string(),
        "client": v.string(),
        "number": v.number(),
        "source": v.number(),
        "target": v.number(),
        "amount": v.number(),
    }
)
async def transfer(ctx, op, client, number, source, target, amount):
    giver = await ctx.db.query("accounts").with_index("by_number", number=source).unique()
    taker = await ctx.db.query("accounts").with_index("by_number", number=target).unique()
    if giver["balance"] < amount:
        raise ConvexError({"code": "insufficient", "op": op})
    await ctx.db.patch(giver["_id"], {"balance": giver["balance"] - amount})
    await ctx.db.patch(taker["_id"], {"balance": taker["balance"] + amount})
    await ctx.db.insert(
        "transfers",
        {"op": op, "client": client, "number": number, "source": source, "target": target, "amount": amount},
    )


@query(args={"parity": v.number()}, returns=v.number())
async def half(ctx, parity):
    """The money on the accounts with even numbers, or with odd ones."""
    held = await ctx.db.query("accounts").with_index("by_parity", parity=parity).collect()
    return sum(account["balance"] for account in held)


@query(args={"client": v.string()})
async def mine(ctx, client):
    """A client's newest transfers."""
    return await ctx.db.query("transfers").with_index("by_client", client=client).order("desc").take(5)
