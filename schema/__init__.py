"""The workspace system: its tables and its functions, one package per domain.

* `auth`        who people are
* `workspaces`  the tenants, and who belongs to them
* `messaging`   channels, messages, reactions, who is typing
* `dev`         demonstration data for `concave run dev/demo:seed`

A module's path is the name its functions are called by: `schema/messaging/messages.py` defines
`messaging/messages:send`. Field and argument names are wire names, so they are camelCase here, too. Start with
`workspaces/workspaces.py`: nearly every table is scoped to a workspace.

There is no authentication yet. A *display-name login* stands in its place (`auth/users:join`): the client passes the id
of the user it acts for as `userId`, and each mutation checks that this user is a member of the workspace and the
channel it touches. That keeps honest clients in order; it does not keep anybody out. When identities land, `userId`
leaves the arguments and the same checks are made for the caller's identity.
"""

from concave import define_app

# Every read names an index: a table of one workspace is never scanned for another's documents.
app = define_app(require_index=True)
