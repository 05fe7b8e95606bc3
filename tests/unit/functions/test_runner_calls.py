"""The runner: finding functions, checking arguments and results, what clients are told of failures."""

from __future__ import annotations

from concave.functions.attempts import RunnerOptions
from concave.functions.outcomes import NO_DATA

MESSAGES = """
from typing import Any
from concave import ConvexError, define_table, internal_query, mutation, query, action, v

messages = define_table(body=v.string(), likes=v.number()).index("by_body", ["body"])

@mutation(args={"body": v.string()}, returns=v.id("messages"))
async def send(ctx, body):
    return await ctx.db.insert("messages", {"body": body, "likes": 0})

@query(args={"limit": v.optional(v.number())}, returns=v.array(v.doc("messages")))
async def list(ctx, limit=10):
    return await ctx.db.query("messages").take(limit)

@query
async def broken(ctx):
    return helper({})

def helper(values):
    return values["missing"]

@query(args=v.any(), returns=v.object({"tags": v.array(v.string())}))
async def badResult(ctx, **args):
    return {"tags": ["a", 1]}

@mutation(args=v.any(), returns=v.string())
async def badMutation(ctx, **args):
    await ctx.db.insert("messages", {"body": "x", "likes": 1})
    return 5

@mutation
async def refuse(ctx, data: Any):
    await ctx.db.insert("messages", {"body": "x", "likes": 1})
    raise ConvexError(data)

@query
async def unfinished(ctx):
    return ctx.db.query("messages")

@mutation
async def forgetful(ctx):
    ctx.db.insert("messages", {"body": "lost", "likes": 1})

@internal_query
async def hidden(ctx):
    return "hidden"

@query
async def strange(ctx):
    return {1, 2}

@query
async def nothing(ctx):
    pass

@query
async def quits(ctx):
    raise SystemExit(3)
"""


async def test_a_mutation_is_seen_by_the_next_query(serve):
    world = await serve({"messages.py": MESSAGES})
    sent = await world.mutation("messages:send", body="hello")
    assert sent.ok
    assert sent.ts == world.timeline.latest_ts
    listed = await world.query("messages:list")
    assert [message["body"] for message in listed.value] == ["hello"]
    assert listed.value[0]["_id"] == sent.value
    assert b'"likes":0.0' in listed.value_json
    assert listed.read_set.tables() == {"messages"}


async def test_paths_may_be_spelt_in_several_ways(serve):
    source = "from concave import query\n@query\nasync def default(ctx):\n    return 'default'\n"
    world = await serve({"deep/er/module.py": source})
    for path in ("deep/er/module", "deep/er/module:default", "deep/er/module.js:default", "deep/er/module.py"):
        assert await world.value(path) == "default"


async def test_missing_functions_are_named_with_what_may_have_been_meant(serve):
    world = await serve({"messages.py": MESSAGES})
    outcome = await world.query("messages:lst")
    assert not outcome.ok
    assert "Could not find public function for 'messages:lst'. Did you mean 'messages:list'?" in outcome.error_message
    assert outcome.error_data is NO_DATA


async def test_internal_functions_look_missing_unless_allowed(serve):
    world = await serve({"messages.py": MESSAGES})
    refused = await world.query("messages:hidden")
    assert "Could not find public function for 'messages:hidden'." in refused.error_message
    assert "Did you mean 'messages:hidden'" not in refused.error_message
    allowed = await world.runner.run_query("messages:hidden", {}, identity=None, internal_ok=True)
    assert allowed.value == "hidden"
    missing = await world.runner.run_any("messages:hidde", {}, identity=None, internal_ok=True)
    assert "Could not find function for 'messages:hidde'." in missing.error_message


async def test_the_wrong_kind_names_both(serve):
    world = await serve({"messages.py": MESSAGES})
    outcome = await world.query("messages:send", body="x")
    expected = "Trying to execute messages:send as Query, but it is defined as Mutation."
    assert outcome.error_message.splitlines()[1] == expected


async def test_arguments_are_refused_with_their_path(serve):
    world = await serve({"messages.py": MESSAGES})
    wrong = await world.mutation("messages:send", body=5.0)
    assert (
        "\nArgumentValidationError: Value does not match validator.\nPath: .body\nValue: 5.0\n" in wrong.error_message
    )
    missing = await world.mutation("messages:send")
    assert "missing the required field `body`" in missing.error_message
    extra = await world.mutation("messages:send", body="x", more=1.0)
    assert "extra field `more`" in extra.error_message
    assert (await world.query("messages:list")).value == []


async def test_results_are_refused_with_their_path_and_undo_the_mutation(serve):
    world = await serve({"messages.py": MESSAGES})
    bad = await world.query("messages:badResult")
    assert "\nReturnsValidationError: Value does not match validator.\nPath: .tags[1]\n" in bad.error_message
    bad = await world.mutation("messages:badMutation")
    assert "ReturnsValidationError" in bad.error_message
    assert (await world.query("messages:list")).value == []


async def test_an_exception_shows_the_users_frames_only(serve):
    world = await serve({"messages.py": MESSAGES})
    outcome = await world.query("messages:broken")
    lines = outcome.error_message.splitlines()
    assert lines[0].startswith("[Request ID: ")
    assert lines[0].endswith("] Server Error")
    assert len(lines[0]) == len("[Request ID: 0123456789abcdef] Server Error")
    assert lines[1] == "Uncaught KeyError: 'missing'"
    assert lines[2:] == ["    at helper (app/messages.py:20)", "    at broken (app/messages.py:17)"]


async def test_convex_errors_carry_their_data(serve):
    world = await serve({"messages.py": MESSAGES})
    outcome = await world.mutation("messages:refuse", data={"code": "full", "left": 0.0})
    assert outcome.error_data == {"code": "full", "left": 0.0}
    assert "\nUncaught ConvexError: {" in outcome.error_message
    text = await world.mutation("messages:refuse", data="too many")
    assert text.error_data == "too many"
    assert "\nUncaught ConvexError: too many\n" in text.error_message
    null = await world.mutation("messages:refuse", data=None)
    assert null.error_data is None
    assert (await world.query("messages:list")).value == []


async def test_redaction_hides_everything_but_the_data(serve):
    source = MESSAGES.replace("    raise ConvexError(data)", "    print('secret')\n    raise ConvexError(data)")
    world = await serve({"messages.py": source}, options=RunnerOptions(redact_errors=True))
    outcome = await world.mutation("messages:refuse", data="kept")
    assert "\n" not in outcome.error_message
    assert outcome.error_message.endswith("] Server Error")
    assert outcome.error_data == "kept"
    assert outcome.log_lines == []


async def test_a_query_builder_is_no_result(serve):
    world = await serve({"messages.py": MESSAGES})
    outcome = await world.query("messages:unfinished")
    assert "messages:unfinished returned a query instead of its results" in outcome.error_message


async def test_a_forgotten_await_loses_nothing_in_silence(serve):
    world = await serve({"messages.py": MESSAGES})
    outcome = await world.mutation("messages:forgetful")
    assert not outcome.ok
    line = MESSAGES.splitlines().index('    ctx.db.insert("messages", {"body": "lost", "likes": 1})') + 1
    assert f"db.insert at messages.py:{line}" in outcome.error_message
    assert "await" in outcome.error_message


async def test_values_that_are_none_are_refused(serve):
    world = await serve({"messages.py": MESSAGES})
    outcome = await world.query("messages:strange")
    assert "The result of messages:strange" in outcome.error_message
    assert "sorted" in outcome.error_message
    assert (await world.query("messages:nothing")).value is None


async def test_leaving_the_process_is_only_a_failure(serve):
    world = await serve({"messages.py": MESSAGES})
    outcome = await world.query("messages:quits")
    assert "Uncaught SystemExit: 3" in outcome.error_message


async def test_a_failed_query_still_says_what_it_read(serve):
    source = """
from concave import define_table, query, v
things = define_table(name=v.string()).index("by_name", ["name"])
@query
async def first(ctx):
    await ctx.db.query("things").with_index("by_name", name="x").first()
    raise ValueError("no things")
"""
    world = await serve({"things.py": source})
    outcome = await world.query("things:first")
    assert not outcome.ok
    assert [interval.index for interval in outcome.read_set] == ["by_name"]


async def test_handlers_may_change_their_arguments(serve):
    source = """
from concave import query, v
@query(args={"items": v.array(v.number())})
async def grow(ctx, items):
    items.append(1.0)
    return items
"""
    world = await serve({"lists.py": source})
    args = {"items": [0.0]}
    for _ in range(2):
        outcome = await world.runner.run_query("lists:grow", args, identity=None)
        assert outcome.value == [0.0, 1.0]
    assert args == {"items": [0.0]}


async def test_identity_is_told_and_noticed(serve):
    source = """
from concave import query
@query
async def me(ctx):
    identity = await ctx.auth.get_user_identity()
    return identity and identity["subject"]
@query
async def nobody(ctx):
    return 1
"""
    world = await serve({"auth.py": source})
    anonymous = await world.query("auth:me")
    assert anonymous.value is None
    assert anonymous.read_identity
    world.identity = {"subject": "user1"}
    known = await world.query("auth:me")
    assert known.value == "user1"
    assert known.read_identity
    assert not (await world.query("auth:nobody")).read_identity


async def test_what_is_not_served_says_so(serve):
    source = """
from concave import mutation, action
@mutation
async def schedule(ctx):
    await ctx.scheduler.run_after(0, "a:b")
@action
async def search(ctx):
    await ctx.vector_search("t", "i", vector=[])
@action
async def database(ctx):
    await ctx.db.get("x")
"""
    world = await serve({"later.py": source})
    assert "ctx.scheduler is not served" in (await world.mutation("later:schedule")).error_message
    assert "ctx.vector_search is not served" in (await world.action("later:search")).error_message
    assert "an action has no ctx.db" in (await world.action("later:database")).error_message


async def test_environment_variables_are_those_of_the_app(serve):
    source = "from concave import query\n@query\nasync def name(ctx):\n    return ctx.env['NAME']\n"
    world = await serve({"env.py": source}, options=RunnerOptions(env={"NAME": "value"}))
    assert await world.value("env:name") == "value"


async def test_the_use_of_limits_can_be_asked_for(serve):
    source = """
from concave import define_table, query, v
t = define_table(a=v.number())
@query
async def used(ctx):
    await ctx.db.query("t").collect()
    return (await ctx.meta.get_transaction_metrics())["databaseQueries"]["used"]
"""
    world = await serve({"m.py": source})
    assert await world.value("m:used") == 1.0
