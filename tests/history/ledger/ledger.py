"""Transactions made of small operations that the caller chooses, each of which is answered."""

from __future__ import annotations

from concave import define_table, mutation, query, v

lists = define_table(key=v.string(), values=v.array(v.number())).index("by_key", ["key"])
registers = define_table(key=v.string(), value=v.number()).index("by_key", ["key"])


async def _find(ctx, table, key):
    return await ctx.db.query(table).with_index("by_key", key=key).first()


async def _read(ctx, what, key):
    if what == "list":
        found = await _find(ctx, "lists", key)
        return [] if found is None else found["values"]
    found = await _find(ctx, "registers", key)
    return 0.0 if found is None else found["value"]


async def _write(ctx, what, key, value):
    table, field = ("lists", "values") if what == "list" else ("registers", "value")
    found = await _find(ctx, table, key)
    new = [*(found["values"] if found else []), value] if what == "list" else value
    if found is None:
        await ctx.db.insert(table, {"key": key, field: new})
    else:
        await ctx.db.patch(found["_id"], {field: new})


@mutation
async def run(ctx, what: str, operations: list[list]):
    """Operations are ["read", key] or ["write", key, value]; returns what each read, null for writes."""
    results = []
    for name, key, *value in operations:
        if name == "read":
            results.append(await _read(ctx, what, key))
        else:
            results.append(await _write(ctx, what, key, value[0]))
    return results


@query
async def look(ctx, what: str, keys: list[str]):
    return [await _read(ctx, what, key) for key in keys]
