"""Table policies through functions: every way to read and write, nested calls, who may do without (I9)."""

from __future__ import annotations

from typing import Any

import pytest

from concave.functions.outcomes import NO_DATA
from concave.schema.definition import define_table
from concave.values.errors import DeveloperError

NOTES = """
from concave import ConvexError, define_table, internal_mutation, internal_query, mutation, query, v
from concave import pagination_opts_validator

teams = define_table(name=v.string())
members = define_table(teamId=v.id("teams", on_delete="cascade"), user=v.string()).index(
    "by_team_and_user", ["teamId", "user"]
)

async def is_member(ctx, document):
    identity = await ctx.auth.get_user_identity()
    if identity is None:
        return False
    found = await ctx.db.query("members").with_index(
        "by_team_and_user", teamId=document["teamId"], user=identity["subject"]
    ).first()
    return found is not None

def is_short(ctx, document):
    return len(document["text"]) < 20 and "_id" in document

notes = (
    define_table(teamId=v.id("teams"), text=v.string(), n=v.optional(v.number()))
    .soft_deletes()
    .index("by_team", ["teamId"])
    .index("by_n", ["n"])
    .policy(read=is_member, insert=is_short, modify=is_member)
)
odd = define_table(x=v.any()).policy(read=lambda ctx, document: document["x"])

@internal_mutation
async def setUp(ctx):
    db = ctx.db.without_policies()
    teams = [await db.insert("teams", {"name": name}) for name in ("red", "blue")]
    for team, user in zip(teams, ("ann", "bob")):
        await db.insert("members", {"teamId": team, "user": user})
    notes = [await db.insert("notes", {"teamId": teams[n % 2], "text": str(n), "n": n}) for n in range(40)]
    return {"teams": teams, "notes": notes}

def texts(documents):
    return [document["text"] for document in documents]

@query
async def get(ctx, id):
    note = await ctx.db.get(id)
    return note and note["text"]

@query
async def collect(ctx):
    return texts(await ctx.db.query("notes").collect())

@query
async def take(ctx, n):
    return texts(await ctx.db.query("notes").with_index("by_n").order("desc").take(n))

@query
async def loop(ctx):
    return texts([note async for note in ctx.db.query("notes").filter(lambda q: q.gt(q.field("n"), 5))])

@query
async def count(ctx):
    return await ctx.db.query("notes").count()

@query(args={"paginationOpts": pagination_opts_validator})
async def page(ctx, paginationOpts):
    return await ctx.db.query("notes").paginate(paginationOpts)

@query
async def nested(ctx):
    return [await ctx.run_query("notes:collect"), await ctx.run_query("notes:all")]

@internal_query
async def all(ctx):
    return texts(await ctx.db.without_policies().query("notes").collect())

@internal_query
async def asInternal(ctx):
    return texts(await ctx.db.query("notes").collect())

@query
async def bypass(ctx):
    return await ctx.db.without_policies().query("notes").collect()

@mutation
async def insert(ctx, teamId, text):
    return await ctx.db.insert("notes", {"teamId": teamId, "text": text})

@mutation
async def patch(ctx, id, fields):
    await ctx.db.patch(id, fields)

@mutation
async def replace(ctx, id, fields):
    await ctx.db.replace(id, fields)

@mutation
async def delete(ctx, id):
    await ctx.db.delete(id)

@mutation
async def softDelete(ctx, id):
    await ctx.db.soft_delete(id)

@mutation
async def caught(ctx, teamId, text):
    kept = await ctx.db.insert("notes", {"teamId": teamId, "text": "kept"})
    try:
        await ctx.db.patch(kept, {"text": "changed"})
    except ConvexError as error:
        return error.data["operation"]

@mutation
async def leave(ctx, teamId):
    member = await ctx.db.query("members").with_index("by_team_and_user", teamId=teamId).first()
    before = texts(await ctx.db.query("notes").with_index("by_team", teamId=teamId).collect())
    await ctx.db.delete(member["_id"])
    return [len(before), await ctx.db.query("notes").with_index("by_team", teamId=teamId).first()]

@mutation
async def addOdd(ctx, x):
    id = await ctx.db.insert("odd", {"x": x})
    return await ctx.db.get(id)

@query
async def oddOnes(ctx):
    return await ctx.db.query("odd").collect()
"""

RED = [str(n) for n in range(0, 40, 2)]


@pytest.fixture
async def world(serve: Any) -> Any:
    world = await serve({"notes.py": NOTES})
    made = await world.value("notes:setUp")
    world.teams, world.notes = made["teams"], made["notes"]
    world.identity = {"subject": "ann"}
    return world


async def result(world: Any, path: str, **args: Any) -> Any:
    outcome = await world.runner.run_any(f"notes:{path}", args, identity=world.identity)
    assert outcome.ok, outcome.error_message
    return outcome.value


async def failure(world: Any, path: str, **args: Any) -> Any:
    outcome = await world.runner.run_any(f"notes:{path}", args, identity=world.identity)
    assert not outcome.ok
    return outcome


async def test_what_may_not_be_read_looks_absent_in_every_read(world: Any) -> None:
    assert await result(world, "get", id=world.notes[2]) == "2"
    assert await result(world, "get", id=world.notes[3]) is None
    assert await result(world, "collect") == RED
    assert await result(world, "take", n=3) == ["38", "36", "34"]
    assert await result(world, "loop") == RED[3:]
    assert await result(world, "count") == 20.0
    world.identity = None
    assert await result(world, "collect") == []
    assert await result(world, "count") == 0.0


async def test_pages_skip_what_may_not_be_read(world: Any) -> None:
    cursor, seen, pages = None, [], 0
    while True:
        page = await result(world, "page", paginationOpts={"numItems": 7.0, "cursor": cursor})
        seen += [note["text"] for note in page["page"]]
        pages += 1
        if page["isDone"]:
            break
        assert len(page["page"]) == 7
        cursor = page["continueCursor"]
    assert (seen, pages) == (RED, 3)


async def test_policies_hold_in_nested_and_internal_functions_unless_these_say_otherwise(world: Any) -> None:
    red, everything = await result(world, "nested")
    assert red == RED
    assert len(everything) == 40
    assert await world.value("notes:asInternal") == RED
    refused = await failure(world, "bypass")
    assert "db.without_policies() is for internal functions" in refused.error_message


async def test_insert_is_asked_with_the_checked_document(world: Any) -> None:
    team = world.teams[0]
    id = await result(world, "insert", teamId=team, text="short")
    assert await result(world, "get", id=id) == "short"
    refused = await failure(world, "insert", teamId=team, text="x" * 30)
    assert refused.error_data == {
        "code": "policy",
        "table": "notes",
        "operation": "insert",
        "message": "the policy of table `notes` does not allow to insert this document",
    }
    assert "SchemaEnforcement" not in (await failure(world, "insert", teamId=team, text=5.0)).error_message
    assert "does not match the schema" in (await failure(world, "insert", teamId=team, text=5.0)).error_message


@pytest.mark.parametrize(
    ("path", "args"),
    [("patch", {"fields": {"text": "x"}}), ("replace", {"fields": {"text": "x"}}), ("delete", {}), ("softDelete", {})],
)
async def test_writing_to_what_may_not_be_read_finds_nothing(world: Any, path: str, args: Any) -> None:
    refused = await failure(world, path, id=world.notes[1], **args)
    assert "nonexistent document ID" in refused.error_message
    assert refused.error_data is NO_DATA
    assert await world.value("notes:all") == [str(n) for n in range(40)]


async def test_modify_is_asked_before_and_after(world: Any) -> None:
    await result(world, "patch", id=world.notes[0], fields={"text": "mine"})
    assert await result(world, "get", id=world.notes[0]) == "mine"
    for path, fields in (
        ("patch", {"teamId": world.teams[1]}),
        ("replace", {"teamId": world.teams[1], "text": "away"}),
    ):
        refused = await failure(world, path, id=world.notes[0], fields=fields)
        assert refused.error_data["code"] == "policy"
        assert refused.error_data["operation"] == "modify"
        assert refused.error_data["id"] == world.notes[0]
    await result(world, "delete", id=world.notes[0])
    assert await result(world, "get", id=world.notes[0]) is None


async def test_a_refusal_can_be_caught_and_undoes_nothing_else(world: Any) -> None:
    world.identity = {"subject": "nobody"}
    outcome = await failure(world, "caught", teamId=world.teams[0], text="")
    assert "nonexistent" in outcome.error_message, "what was just inserted cannot be read either"
    world.identity = {"subject": "ann"}
    assert await result(world, "caught", teamId=world.teams[0], text="") is None


async def test_rules_see_what_the_function_has_written(world: Any) -> None:
    assert await result(world, "leave", teamId=world.teams[0]) == [20.0, None]
    assert await result(world, "collect") == []


async def test_what_rules_read_is_part_of_what_a_query_depends_on(world: Any) -> None:
    outcome = await world.query("notes:collect")
    assert outcome.read_identity
    assert outcome.read_set.tables() == {"notes", "members"}


async def test_equal_reads_of_rules_are_made_once(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scans: list[str] = []
    scan = world.store.scan

    async def counted(table: str, *args: Any, **options: Any) -> Any:
        scans.append(table)
        return await scan(table, *args, **options)

    monkeypatch.setattr(world.store, "scan", counted)
    assert await result(world, "collect") == RED
    assert scans == ["notes", "members", "members"], "one for each team"


@pytest.mark.parametrize("x", [None, 1.0, "yes", [True]])
async def test_a_rule_must_answer_true_or_false(world: Any, x: Any) -> None:
    refused = await failure(world, "addOdd", x=x)
    assert "`read` policy of table `odd` returned" in refused.error_message
    assert await result(world, "addOdd", x=False) is None
    assert (await result(world, "addOdd", x=True))["x"] is True
    assert len(await result(world, "oddOnes")) == 1


def test_a_policy_is_a_function() -> None:
    with pytest.raises(DeveloperError, match="the `insert` policy must be a function"):
        define_table().policy(insert="members")  # type: ignore[arg-type]


async def test_cascades_do_not_ask_and_a_restriction_does_not_tell_hidden_ids(serve: Any) -> None:
    world = await serve({
        "m.py": """
from concave import define_table, mutation, query, internal_query, v

def never(ctx, document):
    return False

tops = define_table()
lows = define_table(top=v.id("tops", on_delete="cascade")).index("by_top", ["top"]).policy(read=never, modify=never)
locks = define_table(top=v.id("tops", on_delete="restrict")).index("by_top", ["top"]).policy(read=never)

@mutation
async def make(ctx, locked):
    top = await ctx.db.insert("tops", {})
    await ctx.db.insert("lows", {"top": top})
    if locked:
        await ctx.db.insert("locks", {"top": top})
    return top

@mutation
async def delete(ctx, id):
    await ctx.db.delete(id)

@internal_query
async def lowCount(ctx):
    return await ctx.db.without_policies().query("lows").count()
"""
    })  # fmt: skip
    free, locked = await world.value("m:make", locked=False), await world.value("m:make", locked=True)
    await world.value("m:delete", id=free)
    assert await world.value("m:lowCount") == 1.0
    outcome = await world.mutation("m:delete", id=locked)
    assert outcome.error_data["code"] == "restrict"
    assert outcome.error_data["table"] == "locks"
    assert "id" not in outcome.error_data
