"""Who belongs to which workspace, and in what role."""

from typing import Any

from concave import define_table, query, v

from .._refusals import refusal

member_role = v.union(v.literal("owner"), v.literal("admin"), v.literal("member"), v.literal("guest"))

workspaceMembers = (
    define_table(userId=v.id("users"), role=member_role)
    .workspace_scoped()
    .timestamps()
    .index("by_workspaceId_userId", ["workspaceId", "userId"], unique=True)
)

# What a client needs to show a person.
person = v.object(
    {
        "userId": v.id("users"),
        "displayName": v.string(),
        "title": v.optional(v.string()),
        "imageUrl": v.optional(v.string()),
        "role": member_role,
    }
)


@query(args={"workspaceId": v.id("workspaces")}, returns=v.array(person))
async def list_(ctx: Any, workspaceId: str) -> list[dict[str, Any]]:
    """The people of a workspace, by display name."""
    people = []
    members = ctx.db.query("workspaceMembers").with_index("by_workspaceId", workspaceId=workspaceId)
    for member in await members.collect():
        user = await ctx.db.get(member["userId"])
        if user is None:
            continue
        shown = {name: user[name] for name in ("displayName", "title", "imageUrl") if name in user}
        people.append({"userId": user["_id"], "role": member["role"], **shown})
    return sorted(people, key=lambda one: one["displayName"].casefold())


async def find_member(ctx: Any, workspaceId: str, userId: str) -> dict[str, Any] | None:
    """The user's membership of the workspace, or None."""
    by_user = ctx.db.query("workspaceMembers").with_index(
        "by_workspaceId_userId", workspaceId=workspaceId, userId=userId
    )
    return await by_user.unique()


async def require_member(ctx: Any, workspaceId: str, userId: str) -> dict[str, Any]:
    """The user's membership of the workspace. Refuses others: `NotAWorkspaceMember`."""
    member = await find_member(ctx, workspaceId, userId)
    if member is None:
        raise refusal("NotAWorkspaceMember", "You are not a member of this workspace.")
    return member


async def add_member(ctx: Any, workspaceId: str, userId: str, *, role: str) -> bool:
    """Makes the user a member; returns False, and changes nothing, if they were one already."""
    if await find_member(ctx, workspaceId, userId) is not None:
        return False
    await ctx.db.insert("workspaceMembers", {"workspaceId": workspaceId, "userId": userId, "role": role})
    return True
