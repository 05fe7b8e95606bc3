"""People. A user exists once and may belong to any number of workspaces (`workspaces/members.py`)."""

from typing import Any

from concave import define_table, mutation, query, v

from .._refusals import refusal
from .._text import single_line
from ..messaging.channels import welcome
from ..workspaces.members import add_member
from ..workspaces.workspaces import default_workspace

DISPLAY_NAME_LENGTH_MAX = 40

users = (
    define_table(
        displayName=v.string(),
        # The display name without regard to case: what a display-name login finds its user by.
        handle=v.string(),
        title=v.optional(v.string()),
        imageUrl=v.optional(v.string()),
    )
    .index("by_handle", ["handle"], unique=True)
    .soft_deletes()
    .timestamps()
)


@mutation(
    args={"displayName": v.string()},
    returns=v.object({"userId": v.id("users"), "workspaceId": v.id("workspaces")}),
)
async def join(ctx: Any, displayName: str) -> dict[str, Any]:
    """Display-name login: the user of that name, made if there is none, as a member of the default workspace.

    Stands in for authentication: whoever types a name acts as its user. Calling it again changes nothing and returns
    the same ids. Refuses an empty or overlong name (`TextEmpty`, `TextTooLong`) and closed accounts (`AccountClosed`).
    """
    displayName = single_line(displayName, what="A display name", length_max=DISPLAY_NAME_LENGTH_MAX)
    userId = await find_or_create_user(ctx, displayName)
    workspaceId = await default_workspace(ctx)
    if await add_member(ctx, workspaceId, userId, role="member"):
        await welcome(ctx, workspaceId, userId)
    return {"userId": userId, "workspaceId": workspaceId}


@query(args={"userId": v.string()}, returns=v.union(v.doc("users"), v.null()))
async def get(ctx: Any, userId: str) -> dict[str, Any] | None:
    """The user of this id, or null. Takes any string: a client asks whether the id that it remembers still holds."""
    known = ctx.db.normalize_id("users", userId)
    return await ctx.db.get(known) if known is not None else None


async def find_or_create_user(ctx: Any, displayName: str, **fields: Any) -> str:
    """The id of the user whose name this is, without regard to case; `fields` are for a new user's document.

    Refuses the name of somebody who was deleted: `AccountClosed`. Nobody comes back, or takes over, by typing a name.
    """
    handle = displayName.casefold()
    user = await ctx.db.query("users").with_index("by_handle", handle=handle).include_deleted().unique()
    if user is not None and "deletedAt" in user:
        raise refusal("AccountClosed", f"The account of {user['displayName']} is closed; please pick another name.")
    if user is not None:
        return user["_id"]
    return await ctx.db.insert("users", {"displayName": displayName, "handle": handle, **fields})
