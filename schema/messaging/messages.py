"""Messages: what is said in a channel."""

from typing import Any

from concave import define_table, mutation, query, v

from .._refusals import refusal
from .._text import paragraphs
from .members import require_in_channel
from .reactions import reactions_since
from .typing import clear_typing

BODY_LENGTH_MAX = 4000
PAGE_LENGTH = 50

messages = (
    define_table(
        channelId=v.id("channels"),
        authorId=v.id("users"),
        body=v.string(),
        # Set when the author changed the body, in milliseconds; `updatedAt` also moves for other reasons.
        editedAt=v.optional(v.number()),
    )
    .workspace_scoped()
    .soft_deletes()
    .timestamps()
    .index("by_workspaceId_channelId", ["workspaceId", "channelId"])
)

# A message as it is shown: with its author's name and its reactions.
shown_message = v.object(
    {
        "_id": v.id("messages"),
        "_creationTime": v.number(),
        "channelId": v.id("channels"),
        "body": v.string(),
        "createdAt": v.number(),
        "editedAt": v.optional(v.number()),
        "author": v.object({"userId": v.id("users"), "displayName": v.string(), "imageUrl": v.optional(v.string())}),
        "reactions": v.array(v.object({"emoji": v.string(), "userIds": v.array(v.id("users"))})),
    }
)


@query(args={"channelId": v.id("channels")}, returns=v.array(shown_message))
async def list_(ctx: Any, channelId: str) -> list[dict[str, Any]]:
    """The latest 50 messages of a channel, newest first, deleted ones left out; empty for a channel that is gone.

    The viewer is not among the arguments, so all who look at a channel share one live query.
    """
    channel = await ctx.db.get(channelId)
    if channel is None:
        return []
    newest = (
        ctx.db.query("messages")
        .with_index("by_workspaceId_channelId", workspaceId=channel["workspaceId"], channelId=channelId)
        .order("desc")
    )
    page = await newest.take(PAGE_LENGTH)
    if not page:
        return []
    reactions = await reactions_since(ctx, channelId, page[-1]["_creationTime"])
    # A dict, not a set: reads happen in the same order whenever the query is run.
    author_ids = dict.fromkeys(message["authorId"] for message in page)
    authors = {authorId: await _author(ctx, authorId) for authorId in author_ids}
    return [
        {
            **{name: message[name] for name in ("_id", "_creationTime", "channelId", "body", "createdAt")},
            **({"editedAt": message["editedAt"]} if "editedAt" in message else {}),
            "author": authors[message["authorId"]],
            "reactions": reactions.get(message["_id"], []),
        }
        for message in page
    ]


@mutation(
    args={"channelId": v.id("channels"), "userId": v.id("users"), "body": v.string()},
    returns=v.id("messages"),
)
async def send(ctx: Any, channelId: str, userId: str, body: str) -> str:
    """Says something in a channel; returns the message's id. The author is no longer shown as typing.

    Refuses people who are not in the channel (see `require_in_channel`) and an empty or overlong body (`TextEmpty`,
    `TextTooLong`).
    """
    channel = await require_in_channel(ctx, channelId, userId)
    messageId = await ctx.db.insert(
        "messages",
        {
            "workspaceId": channel["workspaceId"],
            "channelId": channelId,
            "authorId": userId,
            "body": _body(body),
        },
    )
    await clear_typing(ctx, channelId, userId)
    return messageId


@mutation(
    args={"messageId": v.id("messages"), "userId": v.id("users"), "body": v.string()},
    returns=v.null(),
)
async def edit(ctx: Any, messageId: str, userId: str, body: str) -> None:
    """Changes a message's body and marks it as edited; the same body again changes nothing.

    Refuses all but its author (`NotTheAuthor`), messages that are gone (`MessageNotFound`), and what `send` refuses.
    """
    message = await _own_message(ctx, messageId, userId)
    body = _body(body)
    if body != message["body"]:
        await ctx.db.patch(messageId, {"body": body, "editedAt": ctx.now})


@mutation(args={"messageId": v.id("messages"), "userId": v.id("users")}, returns=v.null())
async def delete(ctx: Any, messageId: str, userId: str) -> None:
    """Takes a message out of sight; the document stays, with `deletedAt`.

    Refuses all but its author (`NotTheAuthor`) and messages that are gone (`MessageNotFound`).
    """
    await _own_message(ctx, messageId, userId)
    await ctx.db.soft_delete(messageId)


def _body(text: str) -> str:
    return paragraphs(text, what="A message", length_max=BODY_LENGTH_MAX)


async def _own_message(ctx: Any, messageId: str, userId: str) -> dict[str, Any]:
    """The message, for its author, who must still be in its channel."""
    message = await ctx.db.get(messageId)
    if message is None:
        raise refusal("MessageNotFound", "This message was deleted.")
    await require_in_channel(ctx, message["channelId"], userId)
    if message["authorId"] != userId:
        raise refusal("NotTheAuthor", "Only its author may change a message.")
    return message


async def _author(ctx: Any, userId: str) -> dict[str, Any]:
    """Who wrote it; a message outlives its author's account."""
    user = await ctx.db.get(userId, include_deleted=True)
    if user is None:
        return {"userId": userId, "displayName": "Former member"}
    return {"userId": userId, **{name: user[name] for name in ("displayName", "imageUrl") if name in user}}
