"""Who is in which channel. Members of a channel may write, react and be seen typing there."""

from typing import Any

from concave import define_table, mutation, query, v

from .._refusals import refusal
from ..workspaces.members import require_member

channelMembers = (
    define_table(channelId=v.id("channels"), userId=v.id("users"))
    .workspace_scoped()
    .timestamps()
    .index("by_channelId_userId", ["channelId", "userId"], unique=True)
    .index("by_workspaceId_userId", ["workspaceId", "userId"])
)


@query(args={"channelId": v.id("channels")}, returns=v.array(v.id("users")))
async def list_(ctx: Any, channelId: str) -> list[str]:
    """The ids of the people in a channel, in order of id."""
    members = ctx.db.query("channelMembers").with_index("by_channelId_userId", channelId=channelId)
    return [member["userId"] for member in await members.collect()]


@query(
    args={"workspaceId": v.id("workspaces"), "userId": v.id("users")},
    returns=v.array(v.id("channels")),
)
async def channelsOf(ctx: Any, workspaceId: str, userId: str) -> list[str]:
    """The ids of the channels that a person is in, in the order of joining."""
    mine = ctx.db.query("channelMembers").with_index("by_workspaceId_userId", workspaceId=workspaceId, userId=userId)
    return [member["channelId"] for member in await mine.collect()]


@mutation(args={"channelId": v.id("channels"), "userId": v.id("users")}, returns=v.null())
async def join(ctx: Any, channelId: str, userId: str) -> None:
    """Puts a member of the workspace into one of its channels; joining twice changes nothing.

    Refuses channels that are gone (`ChannelNotFound`) and people from outside (`NotAWorkspaceMember`).
    """
    channel = await open_channel(ctx, channelId)
    await require_member(ctx, channel["workspaceId"], userId)
    if await find_in_channel(ctx, channelId, userId) is None:
        await add_to_channel(ctx, channel["workspaceId"], channelId, userId)


@mutation(args={"channelId": v.id("channels"), "userId": v.id("users")}, returns=v.null())
async def leave(ctx: Any, channelId: str, userId: str) -> None:
    """Takes a person out of a channel; leaving a channel one is not in changes nothing."""
    member = await find_in_channel(ctx, channelId, userId)
    if member is not None:
        await ctx.db.delete(member["_id"])


async def open_channel(ctx: Any, channelId: str) -> dict[str, Any]:
    """The channel's document. Refuses one that is gone or deleted: `ChannelNotFound`."""
    channel = await ctx.db.get(channelId)
    if channel is None:
        raise refusal("ChannelNotFound", "This channel does not exist any more.")
    return channel


async def require_in_channel(ctx: Any, channelId: str, userId: str) -> dict[str, Any]:
    """The channel's document, for a member of both it and its workspace.

    Refuses with `ChannelNotFound`, `NotAWorkspaceMember` or `NotAChannelMember`. The workspace is asked too: who was
    removed from it keeps no way in through a channel.
    """
    channel = await open_channel(ctx, channelId)
    await require_member(ctx, channel["workspaceId"], userId)
    if await find_in_channel(ctx, channelId, userId) is None:
        raise refusal("NotAChannelMember", f"Join #{channel['name']} before you do this.")
    return channel


async def find_in_channel(ctx: Any, channelId: str, userId: str) -> dict[str, Any] | None:
    """The user's membership of the channel, or None."""
    members = ctx.db.query("channelMembers").with_index("by_channelId_userId", channelId=channelId, userId=userId)
    return await members.unique()


async def add_to_channel(ctx: Any, workspaceId: str, channelId: str, userId: str) -> None:
    """Writes a membership that does not exist yet."""
    await ctx.db.insert(
        "channelMembers",
        {"workspaceId": workspaceId, "channelId": channelId, "userId": userId},
    )


async def join_default_channels(ctx: Any, workspaceId: str, userId: str) -> None:
    """Puts a new member of the workspace into its default channels."""
    channels = ctx.db.query("channels").with_index("by_workspaceId", workspaceId=workspaceId)
    for channel in await channels.collect():
        if channel["isDefault"] and await find_in_channel(ctx, channel["_id"], userId) is None:
            await add_to_channel(ctx, workspaceId, channel["_id"], userId)
