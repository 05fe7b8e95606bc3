"""A function that prints, each time it is called."""

from __future__ import annotations

from concave import mutation, v


@mutation(args={"word": v.string()}, returns=v.null())
async def talk(ctx, word):
    print("hello", word)
