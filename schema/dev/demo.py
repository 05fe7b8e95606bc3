"""Demonstration data: `concave run dev/demo:seed` fills the default workspace with people, channels and messages."""

from typing import Any

from concave import internal_mutation, v

from ..auth.users import find_or_create_user
from ..messaging.channels import insert_channel
from ..messaging.members import add_to_channel, find_in_channel, join_default_channels
from ..messaging.reactions import insert_reaction
from ..workspaces.members import add_member
from ..workspaces.workspaces import default_workspace
from ._conversations import CHANNELS, PEOPLE, Line

MINUTE_MS = 60_000


@internal_mutation(
    args={},
    returns=v.object({"people": v.number(), "channels": v.number(), "messages": v.number(), "reactions": v.number()}),
)
async def seed(ctx: Any) -> dict[str, int]:
    """Writes what is missing of the demonstration data and returns how many documents of each kind it wrote.

    May be run any number of times: people and channels are found by name, and a channel that has messages gets none.
    The messages' `createdAt` lies in the past; their order is that of `_creationTime`, as everywhere.
    """
    written = {"people": 0, "channels": 0, "messages": 0, "reactions": 0}
    workspaceId = await default_workspace(ctx)

    people: dict[str, str] = {}
    for person in PEOPLE:
        userId = await find_or_create_user(ctx, person.displayName, title=person.title)
        people[person.displayName.split()[0]] = userId
        written["people"] += await add_member(ctx, workspaceId, userId, role=person.role)

    for channel in CHANNELS:
        by_name = ctx.db.query("channels").with_index("by_workspaceId_name", workspaceId=workspaceId, name=channel.name)
        existing = await by_name.unique()
        if existing is None:
            founder = people[PEOPLE[0].displayName.split()[0]]
            channelId = await insert_channel(
                ctx, workspaceId, founder, channel.name, topic=channel.topic, isDefault=channel.isDefault
            )
            written["channels"] += 1
        else:
            channelId = existing["_id"]
        for userId in people.values():
            if await find_in_channel(ctx, channelId, userId) is None:
                await add_to_channel(ctx, workspaceId, channelId, userId)

        of_channel = ctx.db.query("messages").with_index(
            "by_workspaceId_channelId", workspaceId=workspaceId, channelId=channelId
        )
        if await of_channel.first() is not None:
            continue
        for line in channel.lines:
            written["messages"] += 1
            written["reactions"] += await _write_line(ctx, workspaceId, channelId, people, line)

    # Whoever had joined before there were these channels.
    members = ctx.db.query("workspaceMembers").with_index("by_workspaceId", workspaceId=workspaceId)
    for member in await members.collect():
        await join_default_channels(ctx, workspaceId, member["userId"])
    return written


async def _write_line(ctx: Any, workspaceId: str, channelId: str, people: dict[str, str], line: Line) -> int:
    """Writes one message with its reactions; returns how many these are."""
    createdAt = ctx.now - line.minutes_ago * MINUTE_MS
    edited = {"editedAt": createdAt + MINUTE_MS, "updatedAt": createdAt + MINUTE_MS} if line.edited else {}
    messageId = await ctx.db.insert(
        "messages",
        {
            "workspaceId": workspaceId,
            "channelId": channelId,
            "authorId": people[line.author],
            "body": line.body,
            "createdAt": createdAt,
            **edited,
        },
    )
    message = await ctx.db.get(messageId)
    count = 0
    for emoji, names in line.reactions.items():
        for name in names.split():
            await insert_reaction(ctx, message, people[name], emoji)
            count += 1
    return count
