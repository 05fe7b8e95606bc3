"""Emoji that people put under messages."""

from typing import Any

from concave import define_table, mutation, v

from .._refusals import refusal
from .members import require_in_channel

# An emoji with its joiners and variation selectors; flags and families need more than one code point.
EMOJI_LENGTH_MAX = 16

reactions = (
    define_table(
        channelId=v.id("channels"),
        messageId=v.id("messages"),
        # The message's `_creationTime`: the reactions of a page of messages then lie in one range of one index, and a
        # list of messages reads them at once instead of once for each message.
        messageTime=v.number(),
        userId=v.id("users"),
        emoji=v.string(),
    )
    .workspace_scoped()
    .timestamps()
    .index("by_messageId_userId_emoji", ["messageId", "userId", "emoji"], unique=True)
    .index("by_channelId_messageTime", ["channelId", "messageTime"])
)


@mutation(
    args={"messageId": v.id("messages"), "userId": v.id("users"), "emoji": v.string()},
    returns=v.boolean(),
)
async def toggle(ctx: Any, messageId: str, userId: str, emoji: str) -> bool:
    """Puts the user's emoji under the message, or takes it away; returns whether it is there now.

    Refuses messages that are gone (`MessageNotFound`), people who are not in the channel (see `require_in_channel`) and
    text that can be no emoji (`EmojiInvalid`).
    """
    message = await ctx.db.get(messageId)
    if message is None:
        raise refusal("MessageNotFound", "This message was deleted.")
    await require_in_channel(ctx, message["channelId"], userId)
    if not 0 < len(emoji) <= EMOJI_LENGTH_MAX or any(character.isspace() for character in emoji):
        raise refusal("EmojiInvalid", f"{emoji!r} is no emoji.")

    same = ctx.db.query("reactions").with_index(
        "by_messageId_userId_emoji", messageId=messageId, userId=userId, emoji=emoji
    )
    reaction = await same.unique()
    if reaction is not None:
        await ctx.db.delete(reaction["_id"])
        return False
    await insert_reaction(ctx, message, userId, emoji)
    return True


async def insert_reaction(ctx: Any, message: dict[str, Any], userId: str, emoji: str) -> None:
    """Writes a reaction that does not exist yet."""
    await ctx.db.insert(
        "reactions",
        {
            "workspaceId": message["workspaceId"],
            "channelId": message["channelId"],
            "messageId": message["_id"],
            "messageTime": message["_creationTime"],
            "userId": userId,
            "emoji": emoji,
        },
    )


async def reactions_since(ctx: Any, channelId: str, messageTime: float) -> dict[str, list[dict[str, Any]]]:
    """The reactions to a channel's messages from `messageTime` (a message's `_creationTime`) on, by message id.

    Each message's are `{"emoji", "userIds"}`, emoji and people in the order in which they came.
    """
    found = ctx.db.query("reactions").with_index(
        "by_channelId_messageTime", lambda q: q.eq("channelId", channelId).gte("messageTime", messageTime)
    )
    groups: dict[str, dict[str, list[str]]] = {}
    for reaction in await found.collect():
        groups.setdefault(reaction["messageId"], {}).setdefault(reaction["emoji"], []).append(reaction["userId"])
    return {
        messageId: [{"emoji": emoji, "userIds": userIds} for emoji, userIds in by_emoji.items()]
        for messageId, by_emoji in groups.items()
    }
