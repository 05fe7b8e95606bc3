"""Workspaces: the tenants. Nearly every other table carries `workspaceId` and has an index that begins with it."""

from typing import Any

from concave import define_table, query, v

# The workspace that people land in until invitations and a workspace switcher exist.
DEFAULT_SLUG = "acme"
DEFAULT_NAME = "Acme Studio"

workspaces = (
    define_table(
        name=v.string(),
        # The workspace's name in addresses; unique.
        slug=v.string(),
        description=v.optional(v.string()),
        imageUrl=v.optional(v.string()),
    )
    .index("by_slug", ["slug"], unique=True)
    .soft_deletes()
    .timestamps()
)


@query(args={"workspaceId": v.id("workspaces")}, returns=v.union(v.doc("workspaces"), v.null()))
async def get(ctx: Any, workspaceId: str) -> dict[str, Any] | None:
    """The workspace, or null if it is gone."""
    return await ctx.db.get(workspaceId)


async def default_workspace(ctx: Any) -> str:
    """The id of the default workspace; in a mutation it is made on first use."""
    workspace = await ctx.db.query("workspaces").with_index("by_slug", slug=DEFAULT_SLUG).unique()
    if workspace is not None:
        return workspace["_id"]
    return await ctx.db.insert("workspaces", {"name": DEFAULT_NAME, "slug": DEFAULT_SLUG})
