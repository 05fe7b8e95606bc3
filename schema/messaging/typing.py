"""Who is typing where.

One document per person and channel, written while they type and removed when they stop or send. A live query is not run
again because time passed, so the server does not take a forgotten indicator out of the list: each says when it expires,
and clients hide it from then on. The document of somebody who left in mid-sentence stays until they type there again.
"""

from typing import Any

from concave import define_table, mutation, query, v

from .members import require_in_channel

# How long one `start` holds. Clients that go on typing call it again well before.
SHOWN_FOR_MS = 8_000

typingIndicators = (
    define_table(
        channelId=v.id("channels"),
        userId=v.id("users"),
        # Milliseconds since the epoch, by the server's clock.
        expiresAt=v.number(),
    )
    .workspace_scoped()
    .index("by_channelId_userId", ["channelId", "userId"], unique=True)
)


@query(
    args={"channelId": v.id("channels")},
    returns=v.array(v.object({"userId": v.id("users"), "displayName": v.string(), "expiresAt": v.number()})),
)
async def list_(ctx: Any, channelId: str) -> list[dict[str, Any]]:
    """The people who were last seen typing in a channel, in order of user id, expired ones included (see above)."""
    indicators = ctx.db.query("typingIndicators").with_index("by_channelId_userId", channelId=channelId)
    people = []
    for indicator in await indicators.collect():
        user = await ctx.db.get(indicator["userId"])
        if user is not None:
            people.append(
                {
                    "userId": indicator["userId"],
                    "displayName": user["displayName"],
                    "expiresAt": indicator["expiresAt"],
                }
            )
    return people


@mutation(args={"channelId": v.id("channels"), "userId": v.id("users")}, returns=v.null())
async def start(ctx: Any, channelId: str, userId: str) -> None:
    """Shows the user as typing for the next 8 seconds. Refuses people who are not in it; see `require_in_channel`."""
    channel = await require_in_channel(ctx, channelId, userId)
    expiresAt = ctx.now + SHOWN_FOR_MS
    indicator = await _indicator(ctx, channelId, userId)
    if indicator is not None:
        await ctx.db.patch(indicator["_id"], {"expiresAt": expiresAt})
        return
    await ctx.db.insert(
        "typingIndicators",
        {
            "workspaceId": channel["workspaceId"],
            "channelId": channelId,
            "userId": userId,
            "expiresAt": expiresAt,
        },
    )


@mutation(args={"channelId": v.id("channels"), "userId": v.id("users")}, returns=v.null())
async def stop(ctx: Any, channelId: str, userId: str) -> None:
    """Stops showing the user as typing; of somebody who is not shown, nothing changes."""
    await clear_typing(ctx, channelId, userId)


async def clear_typing(ctx: Any, channelId: str, userId: str) -> None:
    """Removes the user's indicator from the channel, if there is one."""
    indicator = await _indicator(ctx, channelId, userId)
    if indicator is not None:
        await ctx.db.delete(indicator["_id"])


async def _indicator(ctx: Any, channelId: str, userId: str) -> dict[str, Any] | None:
    indicators = ctx.db.query("typingIndicators").with_index("by_channelId_userId", channelId=channelId, userId=userId)
    return await indicators.unique()
