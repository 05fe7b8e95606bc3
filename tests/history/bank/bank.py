"""The textbook's accounts and tickets."""

from __future__ import annotations

from concave import define_table, mutation, query, v

from . import _meeting

accounts = define_table(owner=v.string(), balance=v.number()).index("by_owner", ["owner"])
tickets = define_table(show=v.string(), row=v.number()).index("by_show", ["show", "row"])


async def _account(ctx, owner):
    return await ctx.db.query("accounts").with_index("by_owner", owner=owner).unique()


@mutation
async def open_accounts(ctx, balances: dict[str, float]):
    for owner, balance in balances.items():
        await ctx.db.insert("accounts", {"owner": owner, "balance": balance})


@mutation
async def deposit(ctx, owner: str, amount: float):
    account = await _account(ctx, owner)
    await _meeting.arrive("deposit")
    await ctx.db.patch(account["_id"], {"balance": account["balance"] + amount})


@mutation
async def withdraw(ctx, owner: str, other: str, amount: float):
    """The two accounts together must not fall below 0."""
    mine, theirs = await _account(ctx, owner), await _account(ctx, other)
    await _meeting.arrive("withdraw")
    if mine["balance"] + theirs["balance"] < amount:
        return False
    await ctx.db.patch(mine["_id"], {"balance": mine["balance"] - amount})
    return True


@mutation
async def withdraw_with_fee(ctx, owner: str, other: str, amount: float):
    """An overdraft of both accounts together costs 1; returns the fee."""
    mine, theirs = await _account(ctx, owner), await _account(ctx, other)
    await _meeting.arrive("withdraw")
    fee = 1.0 if mine["balance"] + theirs["balance"] < amount else 0.0
    await ctx.db.patch(mine["_id"], {"balance": mine["balance"] - amount - fee})
    return fee


@mutation
async def book(ctx, show: str, row: float):
    """Two tickets for each show, at most."""
    taken = await ctx.db.query("tickets").with_index("by_show", show=show).collect()
    await _meeting.arrive("book")
    if len(taken) >= 2:
        return False
    await ctx.db.insert("tickets", {"show": show, "row": row})
    return True


@query
async def balances(ctx):
    return {account["owner"]: account["balance"] async for account in ctx.db.query("accounts")}


@query
async def sold(ctx, show: str):
    return len(await ctx.db.query("tickets").with_index("by_show", show=show).collect())
