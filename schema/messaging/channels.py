"""Channels: the rooms of a workspace. All of them are open to every member of the workspace; one joins to write."""

import re
from typing import Any

from concave import define_table, mutation, query, v

from .._refusals import refusal
from .._text import single_line
from ..workspaces.members import require_member
from .members import add_to_channel, join_default_channels

NAME_LENGTH_MAX = 32
TOPIC_LENGTH_MAX = 120
FIRST_CHANNEL = "general"
# Letters of any script that has no upper case, digits, single dashes or underscores between them.
_NAME = re.compile(r"[^\W_]+(?:[-_][^\W_]+)*")

channels = (
    define_table(
        name=v.string(),
        topic=v.optional(v.string()),
        # New members of the workspace are put into its default channels.
        isDefault=v.boolean(),
        createdBy=v.id("users"),
    )
    .workspace_scoped()
    .soft_deletes()
    .timestamps()
    # A deleted channel keeps its name, so that links to it never lead to another one.
    .index("by_workspaceId_name", ["workspaceId", "name"], unique=True)
)


@query(args={"workspaceId": v.id("workspaces")}, returns=v.array(v.doc("channels")))
async def list_(ctx: Any, workspaceId: str) -> list[dict[str, Any]]:
    """The channels of a workspace, by name. Deleted ones are left out."""
    by_name = ctx.db.query("channels").with_index("by_workspaceId_name", workspaceId=workspaceId)
    return await by_name.collect()


@mutation(
    args={
        "workspaceId": v.id("workspaces"),
        "userId": v.id("users"),
        "name": v.string(),
        "topic": v.optional(v.string()),
    },
    returns=v.id("channels"),
)
async def create(ctx: Any, workspaceId: str, userId: str, name: str, topic: str | None = None) -> str:
    """Makes a channel and puts its maker into it; returns its id.

    Refuses people from outside the workspace (`NotAWorkspaceMember`), names that are empty, overlong or ill formed
    (`TextEmpty`, `TextTooLong`, `ChannelNameInvalid`) or taken in this workspace (`ChannelNameTaken`).
    """
    await require_member(ctx, workspaceId, userId)
    name = channel_name(name)
    taken = ctx.db.query("channels").with_index("by_workspaceId_name", workspaceId=workspaceId, name=name)
    if await taken.include_deleted().unique() is not None:
        raise refusal("ChannelNameTaken", f"There is a channel #{name} already.")
    return await insert_channel(ctx, workspaceId, userId, name, topic=topic)


def channel_name(text: str) -> str:
    """The name as it is stored: without a leading #, in lower case. Refuses what is no channel name; see `create`."""
    name = single_line(text.strip().removeprefix("#"), what="A channel name", length_max=NAME_LENGTH_MAX).lower()
    if _NAME.fullmatch(name) is None:
        raise refusal(
            "ChannelNameInvalid",
            "A channel name is made of letters and digits, with single dashes or underscores between: release-notes.",
        )
    return name


async def welcome(ctx: Any, workspaceId: str, userId: str) -> None:
    """Puts a new member of the workspace into its default channels; the first member of all finds #general made."""
    of_workspace = ctx.db.query("channels").with_index("by_workspaceId", workspaceId=workspaceId)
    if await of_workspace.first() is None:
        await insert_channel(ctx, workspaceId, userId, FIRST_CHANNEL, isDefault=True)
        return
    await join_default_channels(ctx, workspaceId, userId)


async def insert_channel(
    ctx: Any, workspaceId: str, userId: str, name: str, *, topic: str | None = None, isDefault: bool = False
) -> str:
    """Writes a channel whose name was checked, with `userId` as its maker and first member."""
    channel: dict[str, Any] = {
        "workspaceId": workspaceId,
        "name": name,
        "isDefault": isDefault,
        "createdBy": userId,
    }
    if topic is not None and topic.strip():
        channel["topic"] = single_line(topic, what="A topic", length_max=TOPIC_LENGTH_MAX)
    channelId = await ctx.db.insert("channels", channel)
    await add_to_channel(ctx, workspaceId, channelId, userId)
    return channelId
