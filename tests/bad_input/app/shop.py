"""Tables with one of each kind of field, and functions that pass on whatever a test wants to do wrong.

Every mutation writes a trace first: if its failure left that behind, it would have changed something.
"""

from __future__ import annotations

from concave import Int64, action, define_table, internal_query, mutation, query, v

owners = define_table(name=v.string()).index("by_name", ["name"], unique=True)

items = (
    define_table(
        label=v.string(),
        price=v.number(),
        owner=v.optional(v.id("owners")),
        parts=v.optional(v.array(v.object({"name": v.string(), "size": v.number()}))),
    )
    .index("by_label_and_price", ["label", "price"])
    .index("by_owner", ["owner"])
)

loose = define_table(v.any())

traces = define_table(what=v.string())


@query(args={"label": v.string()})
async def list_(ctx, label):
    return await ctx.db.query("items").with_index("by_label_and_price", label=label).collect()


@query(args={"label": v.string()})
async def count(ctx, label):
    return len(await ctx.db.query("items").with_index("by_label_and_price", label=label).collect())


@mutation(args={"label": v.string(), "price": v.number()}, returns=v.id("items"))
async def add(ctx, label, price):
    return await ctx.db.insert("items", {"label": label, "price": price})


@mutation(args={"name": v.string()}, returns=v.id("owners"))
async def add_owner(ctx, name):
    return await ctx.db.insert("owners", {"name": name})


@mutation(
    args={
        "order": v.object(
            {"lines": v.array(v.object({"item": v.string(), "count": v.number()})), "note": v.optional(v.string())}
        ),
        "owner": v.optional(v.id("owners")),
    }
)
async def place(ctx, order, owner):
    await ctx.db.insert("traces", {"what": "place"})


@mutation(args={"table": v.string(), "document": v.any()})
async def insert(ctx, table, document):
    await ctx.db.insert("traces", {"what": "insert"})
    return await ctx.db.insert(table, document)


@mutation(args={"id": v.string(), "fields": v.any()})
async def patch(ctx, id, fields):
    await ctx.db.insert("traces", {"what": "patch"})
    await ctx.db.patch(id, fields)


@mutation(args={"table": v.string(), "id": v.string()})
async def delete_from(ctx, table, id):
    await ctx.db.insert("traces", {"what": "delete"})
    await ctx.db.delete(table, id)


@query(args={"table": v.string(), "id": v.string()})
async def get_from(ctx, table, id):
    return await ctx.db.get(table, id)


@query(args={"table": v.string()})
async def read_table(ctx, table):
    return await ctx.db.query(table).collect()


@query(args={"index": v.string(), "steps": v.array(v.array(v.any()))})
async def read_items(ctx, index, steps):
    """Reads `items` by an index; each step is an operator, a field and a value."""

    def build(q):
        for operator, field, value in steps:
            q = getattr(q, operator)(field, value)
        return q

    return await ctx.db.query("items").with_index(index, build).collect()


@mutation(args={"name": v.string()})
async def insert_named(ctx, name):
    """A document with a field of that name, and one with it further in: made here, since no client may send some."""
    await ctx.db.insert("traces", {"what": "named"})
    await ctx.db.insert("loose", {name: 1})


@mutation(args={"name": v.string()})
async def insert_named_within(ctx, name):
    await ctx.db.insert("traces", {"what": "named within"})
    await ctx.db.insert("loose", {"outer": {name: 1}})


@mutation(args={"levels": v.number()})
async def insert_deep(ctx, levels):
    """A document of so many levels, the document being the first."""
    await ctx.db.insert("traces", {"what": "deep"})
    document = {}
    for _ in range(int(levels) - 1):
        document = {"in": document}
    await ctx.db.insert("loose", document)


@mutation(args={"letters": v.number()})
async def insert_large(ctx, letters):
    await ctx.db.insert("traces", {"what": "large"})
    await ctx.db.insert("loose", {"text": "x" * int(letters)})


@mutation(args={"elements": v.number()})
async def insert_long(ctx, elements):
    await ctx.db.insert("traces", {"what": "long"})
    await ctx.db.insert("loose", {"list": [0] * int(elements)})


@mutation(args={})
async def insert_strange(ctx):
    """A Python object that is no value."""
    await ctx.db.insert("traces", {"what": "strange"})
    await ctx.db.insert("loose", {"seen": [{1, 2}]})


@mutation(args={})
async def insert_int64(ctx):
    await ctx.db.insert("traces", {"what": "int64"})
    await ctx.db.insert("items", {"label": "a", "price": Int64(3)})


@query(args={}, returns=v.array(v.object({"label": v.string()})))
async def promise_labels(ctx):
    return [{"label": "good"}, {"label": 3}]


@query(args={})
async def return_query(ctx):
    return ctx.db.query("items")


@mutation(args={})
async def forget_write(ctx):
    await ctx.db.insert("traces", {"what": "forget"})
    ctx.db.insert("items", {"label": "forgotten", "price": 1})


@query(args={})
async def forget_read(ctx):
    rows = ctx.db.query("items").collect()
    return rows is not None


@action(args={})
async def forget_call(ctx):
    ctx.run_mutation(add, {"label": "forgotten", "price": 1})
    return "done"


@query(args={})
async def write_in_query(ctx):
    await ctx.db.insert("items", {"label": "a", "price": 1})


@action(args={})
async def database_in_action(ctx):
    return await ctx.db.query("items").collect()


@query(args={"value": v.any()})
async def echo(ctx, value):
    return value


@internal_query(args={})
async def hidden(ctx):
    return "internal"
