"""Tables and functions chosen for the mistakes that they bring to light.

Registers and logs show lost updates, cards that move between ranges show phantoms and wrong invalidation, accounts show
mixed snapshots, shifts show write skew. Notices are also written by other MongoDB clients.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from concave import ConvexError, define_table, mutation, query, v

registers = define_table(name=v.string(), value=v.number()).index("by_name", ["name"], unique=True)
logs = define_table(name=v.string(), entries=v.array(v.number())).index("by_name", ["name"])
cards = define_table(column=v.string(), rank=v.number(), label=v.string()).index("by_column", ["column", "rank"])
accounts = (
    define_table(owner=v.string(), balance=v.number())
    .index("by_owner", ["owner"], unique=True)
    .index("by_balance", ["balance"])
)
shifts = define_table(team=v.string(), person=v.string(), onCall=v.boolean()).index("by_team", ["team", "onCall"])
notices = define_table(topic=v.string(), text=v.string()).index("by_topic", ["topic"])


async def _register(ctx: Any, name: str) -> Any:
    return await ctx.db.query("registers").with_index("by_name", name=name).unique()


async def _account(ctx: Any, owner: str) -> Any:
    return await ctx.db.query("accounts").with_index("by_owner", owner=owner).unique()


def _column(ctx: Any, column: str) -> Any:
    return ctx.db.query("cards").with_index("by_column", column=column)


# -- mutations ------------------------------------------------------------------------------------------------------


@mutation
async def set_up(ctx: Any, owners: list[str], balance: float, teams: list[str], people: list[str]) -> Any:
    """What every run begins with."""
    for owner in owners:
        await ctx.db.insert("accounts", {"owner": owner, "balance": balance})
    for team in teams:
        for person in people:
            await ctx.db.insert("shifts", {"team": team, "person": person, "onCall": True})


@mutation
async def put(ctx: Any, name: str, value: float) -> Any:
    """Set a register, new or old; returns what it held."""
    register = await _register(ctx, name)
    if register is None:
        await ctx.db.insert("registers", {"name": name, "value": value})
        return None
    await ctx.db.patch(register["_id"], {"value": value})
    return register["value"]


@mutation
async def increment(ctx: Any, name: str) -> Any:
    register = await _register(ctx, name)
    if register is None:
        await ctx.db.insert("registers", {"name": name, "value": 1.0})
        return 1.0
    await ctx.db.patch(register["_id"], {"value": register["value"] + 1})
    return register["value"] + 1


@mutation
async def swap_if(ctx: Any, name: str, expected: float, value: float) -> Any:
    """Compare and swap; returns whether it swapped."""
    register = await _register(ctx, name)
    if register is None or register["value"] != expected:
        return False
    await ctx.db.patch(register["_id"], {"value": value})
    return True


@mutation
async def append(ctx: Any, name: str, entry: float) -> Any:
    """Append to a log; returns its length."""
    log = await ctx.db.query("logs").with_index("by_name", name=name).first()
    if log is None:
        await ctx.db.insert("logs", {"name": name, "entries": [entry]})
        return 1.0
    entries = [*log["entries"], entry]
    await ctx.db.patch(log["_id"], {"entries": entries})
    return float(len(entries))


@mutation
async def add_card(ctx: Any, column: str, rank: float, label: str) -> Any:
    """Returns how many cards the column had."""
    held = await _column(ctx, column).collect()
    await ctx.db.insert("cards", {"column": column, "rank": rank, "label": label})
    return float(len(held))


@mutation
async def move_card(ctx: Any, source: str, target: str) -> Any:
    """Move the first card of a column to another column; returns its label."""
    card = await _column(ctx, source).first()
    if card is None:
        return None
    await ctx.db.patch(card["_id"], {"column": target})
    return card["label"]


@mutation
async def rank_card(ctx: Any, column: str, rank: float) -> Any:
    """Give the last card of a column another rank; returns its label."""
    card = await _column(ctx, column).order("desc").first()
    if card is None:
        return None
    await ctx.db.patch(card["_id"], {"rank": rank})
    return card["label"]


@mutation
async def drop_card(ctx: Any, column: str) -> Any:
    """Delete the first card of a column; returns its label."""
    card = await _column(ctx, column).first()
    if card is None:
        return None
    await ctx.db.delete(card["_id"])
    return card["label"]


@mutation
async def tally(ctx: Any, column: str) -> Any:
    """Write the number of a column's cards into a register: a range is read and something else written."""
    count = float(len(await _column(ctx, column).collect()))
    await ctx.run_mutation(put, {"name": f"tally {column}", "value": count})
    return count


@mutation
async def transfer(ctx: Any, source: str, target: str, amount: float) -> Any:
    """Returns what the source has left."""
    payer, payee = await _account(ctx, source), await _account(ctx, target)
    if payer["balance"] < amount:
        raise ConvexError({"code": "poor", "balance": payer["balance"]})
    await ctx.db.patch(payer["_id"], {"balance": payer["balance"] - amount})
    await ctx.db.patch(payee["_id"], {"balance": payee["balance"] + amount})
    return payer["balance"] - amount


@mutation
async def leave_shift(ctx: Any, team: str, person: str) -> Any:
    """Somebody of each team must stay on call: the classic of write skew."""
    on_call = await ctx.db.query("shifts").with_index("by_team", team=team, onCall=True).collect()
    mine = [shift for shift in on_call if shift["person"] == person]
    if not mine:
        return False
    if len(on_call) == 1:
        raise ConvexError("nobody else is on call")
    await ctx.db.patch(mine[0]["_id"], {"onCall": False})
    return True


@mutation
async def join_shift(ctx: Any, team: str, person: str) -> Any:
    idle = await ctx.db.query("shifts").with_index("by_team", team=team, onCall=False).collect()
    mine = [shift for shift in idle if shift["person"] == person]
    if mine:
        await ctx.db.patch(mine[0]["_id"], {"onCall": True})
    return bool(mine)


@mutation
async def audit(ctx: Any) -> Any:
    """Reads all accounts and writes nothing; returns their sum."""
    return sum([account["balance"] async for account in ctx.db.query("accounts")])


@mutation
async def doomed(ctx: Any, name: str) -> Any:
    """Writes, then fails: nothing of it may be seen."""
    await ctx.run_mutation(put, {"name": name, "value": -1.0})
    raise ConvexError("doomed")


@mutation
async def careful(ctx: Any, name: str) -> Any:
    """Survives a nested mutation that wrote and failed; returns the register's new value."""
    with suppress(ConvexError):
        await ctx.run_mutation(doomed, {"name": name})
    return await ctx.run_mutation(increment, {"name": name})


@mutation
async def post(ctx: Any, topic: str, text: str) -> Any:
    await ctx.db.insert("notices", {"topic": topic, "text": text})


# -- queries --------------------------------------------------------------------------------------------------------


@query
async def register(ctx: Any, name: str) -> Any:
    found = await _register(ctx, name)
    return None if found is None else found["value"]


@query
async def odd(ctx: Any, name: str) -> Any:
    """Fails for even values."""
    found = await _register(ctx, name)
    if found is not None and found["value"] % 2 == 0:
        raise ConvexError({"even": found["value"]})
    return None if found is None else found["value"]


@query
async def all_registers(ctx: Any) -> Any:
    return [[register["name"], register["value"]] for register in await ctx.db.query("registers").collect()]


@query
async def log(ctx: Any, name: str) -> Any:
    found = await ctx.db.query("logs").with_index("by_name", name=name).first()
    return [] if found is None else found["entries"]


@query
async def column(ctx: Any, column: str) -> Any:
    return await _column(ctx, column).collect()


@query
async def ranks(ctx: Any, column: str, low: float, high: float) -> Any:
    """Labels of the cards with low <= rank < high."""
    cards = ctx.db.query("cards").with_index(
        "by_column", lambda q: q.eq("column", column).gte("rank", low).lt("rank", high)
    )
    return [card["label"] async for card in cards]


@query
async def top(ctx: Any, column: str, count: float) -> Any:
    return [[card["rank"], card["label"]] for card in await _column(ctx, column).order("desc").take(int(count))]


@query
async def first_card(ctx: Any, column: str) -> Any:
    """Found by its place, then read by its id."""
    card = await _column(ctx, column).first()
    return None if card is None else await ctx.db.get(card["_id"])


@query
async def richest(ctx: Any, count: float) -> Any:
    accounts = await ctx.db.query("accounts").with_index("by_balance").order("desc").take(int(count))
    return [[account["owner"], account["balance"]] for account in accounts]


@query
async def total(ctx: Any) -> Any:
    return sum([account["balance"] async for account in ctx.db.query("accounts")])


@query
async def on_call(ctx: Any, team: str) -> Any:
    found = await ctx.db.query("shifts").with_index("by_team", team=team, onCall=True).collect()
    return [shift["person"] for shift in found]


@query
async def notices_of(ctx: Any, topic: str) -> Any:
    return [notice["text"] async for notice in ctx.db.query("notices").with_index("by_topic", topic=topic)]
