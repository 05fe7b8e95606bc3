"""Functions that tell who calls them, directly and through each other."""

from concave import action, define_table, internal_query, mutation, query, v

notes = define_table(author=v.union(v.string(), v.null()), text=v.string())


async def subject(ctx):
    identity = await ctx.auth.get_user_identity()
    return None if identity is None else identity["subject"]


@query(args={})
async def me(ctx):
    return await ctx.auth.get_user_identity()


@query(args={})
async def same(ctx):
    """Looks at nobody."""
    return "for everybody"


@query(args={})
async def nested(ctx):
    return await ctx.run_query(hidden)


@internal_query(args={})
async def hidden(ctx):
    return await subject(ctx)


@mutation(args={"text": v.string()})
async def note(ctx, text):
    await ctx.db.insert("notes", {"author": await subject(ctx), "text": text})


@query(args={"text": v.string()})
async def authors(ctx, text):
    return [note["author"] for note in await ctx.db.query("notes").collect() if note["text"] == text]


@action(args={"text": v.string()})
async def act(ctx, text):
    identity = await ctx.auth.get_user_identity()
    await ctx.run_mutation(note, {"text": text})
    return [None if identity is None else identity["subject"], await ctx.run_query(hidden)]
