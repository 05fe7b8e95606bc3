"""Mutations: nested calls and their undoing, conflicts and retries, resends of the same request (I1, I6)."""

from __future__ import annotations

import asyncio
import builtins
from dataclasses import replace

import pytest

from concave.functions.outcomes import MutationOutcome
from concave.schema.plan import compile_plan
from concave.storage.memory import MemoryStore
from concave.storage.store import (
    DocumentWrite,
    IndexKeyChange,
    LogEntry,
    RemoteCommit,
    SnapshotTooOld,
    StoreError,
    WriteConflict,
)
from concave.values.errors import ConflictError, EngineError, OverloadError
from concave.values.limits import DEFAULT_LIMITS

COUNTERS = """
from typing import Any
from concave import ConvexError, define_table, internal_mutation, mutation, query, v

counters = define_table(name=v.string(), value=v.number()).index("by_name", ["name"], unique=True)

async def find(ctx, name):
    return await ctx.db.query("counters").with_index("by_name", name=name).unique()

@mutation(args={"name": v.string()}, returns=v.number())
async def increment(ctx, name):
    counter = await find(ctx, name)
    if counter is None:
        await ctx.db.insert("counters", {"name": name, "value": 1})
        return 1
    print("found", counter["value"])
    await ctx.db.patch(counter["_id"], {"value": counter["value"] + 1})
    return counter["value"] + 1

@mutation(args={"name": v.string()})
async def create(ctx, name):
    if await find(ctx, name) is not None:
        raise ConvexError("taken")
    return await ctx.db.insert("counters", {"name": name, "value": 0})

@mutation(args={"name": v.string()})
async def insertBlindly(ctx, name):
    return await ctx.db.insert("counters", {"name": name, "value": 0})

@query(args={"name": v.string()})
async def value(ctx, name):
    counter = await find(ctx, name)
    return counter and counter["value"]

@internal_mutation(args={"name": v.string()})
async def createAndFail(ctx, name):
    await ctx.db.insert("counters", {"name": name, "value": 7})
    await ctx.run_mutation(increment, {"name": "inner"})
    raise ValueError("undo me")

@mutation
async def catches(ctx):
    await ctx.run_mutation(increment, {"name": "kept"})
    try:
        await ctx.run_mutation(createAndFail, {"name": "undone"})
    except ValueError as error:
        print("caught", str(error))
    return await ctx.run_query("counters:value", {"name": "undone"})

@mutation
async def readsOwnWrites(ctx):
    await ctx.db.insert("counters", {"name": "mine", "value": 3})
    return await ctx.run_query(value, {"name": "mine"})

@mutation
async def nestedBadArgs(ctx):
    try:
        await ctx.run_mutation(increment, {"name": 5})
    except Exception as error:
        return str(error)

@query
async def writesFromQuery(ctx):
    return await ctx.run_mutation(increment, {"name": "x"})

@mutation(args={"left": v.number()})
async def deep(ctx, left):
    return 0 if left == 0 else 1 + await ctx.run_mutation("counters:deep", {"left": left - 1})

@mutation
async def together(ctx):
    import asyncio
    return await asyncio.gather(*[ctx.run_mutation(increment, {"name": "many"}) for _ in range(5)])

@mutation
async def forgetsNested(ctx):
    ctx.run_mutation(increment, {"name": "lost"})

@mutation
async def swallows(ctx):
    try:
        await find(ctx, "x")
    except Exception:
        pass
    await ctx.db.insert("counters", {"name": "swallowed", "value": 0})
"""
FILES = {"counters.py": COUNTERS}


async def test_a_failed_nested_mutation_is_undone_and_may_be_caught(serve):
    world = await serve(FILES)
    outcome = await world.mutation("counters:catches")
    assert outcome.ok, outcome.error_message
    assert outcome.value is None
    assert await world.value("counters:value", name="kept") == 1.0
    assert await world.value("counters:value", name="undone") is None
    assert await world.value("counters:value", name="inner") is None
    assert outcome.log_lines == ["[LOG] 'caught' 'undo me'"] or outcome.log_lines == []


async def test_a_nested_query_sees_the_callers_writes(serve):
    world = await serve(FILES)
    assert await world.value("counters:readsOwnWrites") == 3.0


async def test_nested_calls_are_validated_and_their_errors_can_be_caught(serve):
    world = await serve(FILES)
    text = await world.value("counters:nestedBadArgs")
    assert "Path: .name" in text


async def test_a_query_cannot_call_a_mutation(serve):
    world = await serve(FILES)
    outcome = await world.query("counters:writesFromQuery")
    assert "Cannot call a Mutation function from a Query function" in outcome.error_message


async def test_calls_nest_eight_deep(serve):
    world = await serve(FILES)
    assert await world.value("counters:deep", left=7.0) == 7.0
    outcome = await world.mutation("counters:deep", left=8.0)
    assert "8 levels deep" in outcome.error_message


async def test_nested_mutations_started_together_run_one_by_one(serve):
    world = await serve(FILES)
    assert await world.value("counters:together") == [1.0, 2.0, 3.0, 4.0, 5.0]


async def test_a_nested_call_that_is_not_awaited_is_named(serve):
    world = await serve(FILES)
    outcome = await world.mutation("counters:forgetsNested")
    assert not outcome.ok
    assert "ctx.run_mutation at counters.py:" in outcome.error_message


async def test_concurrent_increments_all_count(serve):
    world = await serve(FILES)
    await asyncio.gather(*[world.mutation("counters:increment", name="hot") for _ in range(10)])
    assert await world.value("counters:value", name="hot") == 10.0


async def test_a_conflict_runs_the_mutation_again(serve):
    world = await serve(FILES)
    await world.mutation("counters:increment", name="a")
    refusals = [WriteConflict("somebody else"), WriteConflict("somebody else")]
    _refuse(world, refusals)
    outcome = await world.mutation("counters:increment", name="a")
    assert outcome.value == 2.0
    assert outcome.log_lines == [] or outcome.log_lines == ["[LOG] 'found' 1.0"]
    assert await world.value("counters:value", name="a") == 2.0
    first, second = world.runtime.slept[-2:]
    assert 0 <= first <= 0.1
    assert 0 <= second <= 0.2


async def test_a_conflict_each_time_is_raised_in_upstreams_words(serve):
    world = await serve(FILES)
    await world.mutation("counters:increment", name="a")
    other = MemoryStore(runtime=world.runtime, database=world.store.database, node="other")
    await other.push(compile_plan(world.app.schema))
    layout = world.runner.catalog.layout("counters")
    scan = world.store.scan
    ids = []

    async def scan_and_meddle(*args, **kwargs):
        """Another node changes the counter whenever the mutation has read it."""
        found = await scan(*args, **kwargs)
        before, after = found[0], {**found[0], "value": found[0]["value"] + 1}
        old, new = layout.keys(before), layout.keys(after)
        keys = tuple(IndexKeyChange(name, old[name], new[name]) for name in old)
        write = DocumentWrite("counters", before["_id"], before, after, keys)
        entry = LogEntry(world.timeline.last_seq + 1, "other", f"{len(ids)}", (write,), functions=("counters:meddle",))
        world.timeline.receive(RemoteCommit(replace(entry, ts=await other.append(entry))))
        ids.append(before["_id"])
        return found

    world.store.scan = scan_and_meddle
    with pytest.raises(ConflictError) as raised:
        await world.mutation("counters:increment", name="a")
    world.store.scan = scan
    assert len(ids) == 5
    assert raised.value.table == "counters"
    assert raised.value.message == (
        'Documents read from or written to the "counters" table changed while this mutation was being run and on '
        f'every subsequent retry. A call to "counters:meddle" changed the document with ID "{ids[0]}". '
        "See https://docs.convex.dev/error#1"
    )
    assert (raised.value.http_status, raised.value.close_code) == (503, 1013)
    assert raised.value.close_reason == "OptimisticConcurrencyControlFailure"
    assert await world.value("counters:value", name="a") == 6.0  # once, and five meddlings


async def test_losers_to_their_own_node_run_on_top_of_each_other(serve):
    world = await serve(FILES)
    await world.mutation("counters:increment", name="a")
    append, started, go_on, entries = world.store.append, asyncio.Event(), asyncio.Event(), []

    async def held(entry: LogEntry):
        started.set()
        await go_on.wait()
        entries.append(entry)
        return await append(entry)

    world.store.append = held
    # All read one snapshot and are committed in one batch: all but the first lose to it.
    tasks = [asyncio.ensure_future(world.mutation("counters:increment", name="a")) for _ in range(10)]
    await started.wait()
    go_on.set()
    assert sorted([(await task).value for task in tasks]) == [float(number) for number in range(2, 12)]
    assert [len(entry.writes) for entry in entries] == [1, 1], "those that lost became one write of one entry"
    assert not world.runtime.slept


async def test_nobody_on_one_node_fails_for_contention(serve):
    world = await serve(FILES, limits=replace(DEFAULT_LIMITS, conflict_retries_max=0))
    calls = [world.mutation("counters:increment", name=f"{number % 3}") for number in range(60)]
    calls += [world.mutation("counters:together") for _ in range(5)]
    outcomes = await asyncio.gather(*calls)
    assert all(outcome.ok for outcome in outcomes)
    values = [await world.value("counters:value", name=f"{number}") for number in range(3)]
    assert values == [20.0, 20.0, 20.0]


BESET = """
import builtins
from concave import mutation, v
from .counters import find

@mutation(args={"name": v.string()}, returns=v.number())
async def increment(ctx, name):
    counter = await find(ctx, name)
    await builtins.overtake()
    await ctx.db.patch(counter["_id"], {"value": counter["value"] + 1})
    return counter["value"] + 1
"""


async def test_who_lost_in_a_line_is_overtaken_by_nobody(serve, monkeypatch):
    world = await serve(FILES | {"beset.py": BESET})
    await world.mutation("counters:increment", name="a")
    overtakes = []

    async def overtake():
        """Another mutation is committed between what the beset one reads and its own commit, if that can be."""
        overtakes.append(asyncio.ensure_future(world.mutation("counters:increment", name="a")))
        await asyncio.wait(overtakes, timeout=0.2)

    monkeypatch.setattr(builtins, "overtake", overtake, raising=False)
    async with asyncio.timeout(20):
        outcome = await world.mutation("beset:increment", name="a")
        runs = len(overtakes)
        await asyncio.gather(*overtakes)
    assert outcome.ok
    assert runs <= 4, "lost by itself, lost in the line to what came from outside, and then no more"
    assert await world.value("counters:value", name="a") == 2.0 + len(overtakes)


async def test_a_failure_in_a_line_rests_on_what_was_committed(serve):
    world = await serve(FILES)
    outcomes = await asyncio.gather(*[world.mutation("counters:create", name="a") for _ in range(8)])
    assert sorted(outcome.ok for outcome in outcomes) == [False] * 7 + [True]
    assert {outcome.error_data for outcome in outcomes if not outcome.ok} == {"taken"}


async def test_the_outcome_is_told_at_the_commit_before_listeners_hear_of_it(serve):
    world = await serve(FILES)
    told: list[object] = []
    world.timeline.add_listener(lambda published: told.append(published.ts))
    outcome = await world.runner.run_mutation(
        "counters:create", {"name": "a"}, identity=None, on_committed=lambda outcome: told.append(outcome)
    )
    assert told == [outcome, outcome.ts]
    assert isinstance(outcome, MutationOutcome)
    assert outcome.value_json == b'"' + outcome.value.encode() + b'"'


async def test_a_resend_gets_the_first_outcome(serve):
    world = await serve(
        {"counters.py": COUNTERS.replace("    return await ctx.db", "    print(name)\n    return await ctx.db")}
    )

    async def create() -> MutationOutcome:
        return await world.runner.run_mutation(
            "counters:create", {"name": "a"}, identity=None, session_id="session", request_id=1
        )

    first = await create()
    # Run again, this would be refused because the name is taken: it must not be.
    second = await create()
    assert first.ok
    assert not first.replayed
    assert second.replayed
    assert (second.ok, second.value, second.ts) == (True, first.value, first.ts)
    assert second.value_json == first.value_json
    assert second.log_lines == first.log_lines


async def test_a_resend_that_would_succeed_again_is_found_by_the_committer(serve):
    world = await serve(FILES)

    async def increment(request_id: int) -> MutationOutcome:
        return await world.runner.run_mutation(
            "counters:increment", {"name": "a"}, identity=None, session_id="session", request_id=request_id
        )

    first = await increment(1)
    again = await increment(1)
    assert (again.value, again.ts, again.replayed) == (1.0, first.ts, True)
    assert (await increment(2)).value == 2.0


async def test_two_sendings_at_once_take_effect_once(serve):
    world = await serve(FILES)
    outcomes = await asyncio.gather(
        *[
            world.runner.run_mutation(
                "counters:increment", {"name": "a"}, identity=None, session_id="session", request_id=1
            )
            for _ in range(5)
        ]
    )
    assert {(outcome.value, outcome.ts) for outcome in outcomes} == {(1.0, outcomes[0].ts)}
    assert await world.value("counters:value", name="a") == 1.0


async def test_a_failure_leaves_no_record(serve):
    world = await serve(FILES)
    await world.mutation("counters:create", name="a")
    key = {"identity": None, "session_id": "session", "request_id": 9}
    failed = await world.runner.run_mutation("counters:create", {"name": "a"}, **key)
    assert not failed.ok
    again = await world.runner.run_mutation("counters:create", {"name": "b"}, **key)
    assert again.ok
    assert not again.replayed
    first_line = failed.error_message.splitlines()[0]
    third = await world.runner.run_mutation("counters:create", {"name": 5.0}, **key)
    assert third.error_message.splitlines()[0] == first_line, "a request keeps its id"


async def test_a_mutation_that_only_reads_writes_a_record_for_a_client_only(serve):
    source = "from concave import mutation\n@mutation\nasync def nothing(ctx):\n    return 1\n"
    world = await serve({"idle.py": source})
    before = len(world.store.database.entries)
    await world.mutation("idle:nothing")
    assert len(world.store.database.entries) == before
    outcome = await world.runner.run_mutation("idle:nothing", {}, identity=None, session_id="s", request_id=1)
    assert len(world.store.database.entries) == before + 1
    assert outcome.ts == world.timeline.latest_ts


async def test_a_unique_index_refuses_as_a_failure_of_the_function(serve):
    world = await serve(FILES)
    await world.mutation("counters:insertBlindly", name="a")
    outcome = await world.mutation("counters:insertBlindly", name="a")
    assert not outcome.ok
    assert outcome.error_data == {
        "code": "unique",
        "table": "counters",
        "index": "by_name",
        "fields": ["name"],
        "message": 'the unique index `counters.by_name` holds this key already: name = "a"',
    }


async def test_a_failed_read_is_not_the_functions_failure_even_if_it_is_swallowed(serve):
    world = await serve(FILES)

    async def fail(*args, **kwargs):
        raise ConnectionResetError("gone")

    scan, world.store.scan = world.store.scan, fail
    with pytest.raises(EngineError, match="gone"):
        await world.mutation("counters:swallows")
    with pytest.raises(EngineError, match="gone"):
        await world.query("counters:value", name="x")
    world.store.scan = scan
    assert await world.value("counters:value", name="swallowed") is None


async def test_a_snapshot_that_is_gone_is_left_for_a_newer_one(serve):
    world = await serve(FILES)
    scan = world.store.scan
    failures: list[StoreError] = [SnapshotTooOld("too old")]

    async def fail_once(*args, **kwargs):
        if failures:
            raise failures.pop()
        return await scan(*args, **kwargs)

    world.store.scan = fail_once
    assert (await world.mutation("counters:increment", name="a")).ok
    failures.append(SnapshotTooOld("too old"))
    with pytest.raises(OverloadError) as raised:
        await world.query("counters:value", name="a")
    assert raised.value.code == "OutOfRetention"


async def test_now_is_fixed_and_random_numbers_follow_from_the_seed(serve):
    source = """
from concave import mutation, query
@query
async def chance(ctx):
    return [ctx.now, ctx.random.random(), ctx.random.random()]
@query
async def nested(ctx):
    return [await ctx.run_query(chance), await ctx.run_query(chance), ctx.now, ctx.random.random()]
"""
    world = await serve({"dice.py": source})
    other = [await world.value("dice:chance"), await world.value("dice:nested")]
    assert other[0][0] == 1_750_000_000_000.0
    assert other[0][1] != other[0][2]
    world.runtime.seeds = 0
    assert [await world.value("dice:chance"), await world.value("dice:nested")] == other
    first, second, now, _ = other[1]
    assert first[0] == second[0] == now
    assert first[1:] != second[1:]
    world.runtime.clock_ms += 5
    assert (await world.value("dice:chance"))[0] == 1_750_000_000_005.0


async def test_a_function_that_never_ends_times_out(serve):
    source = """
import asyncio
from concave import mutation, define_table, v
t = define_table(a=v.number())
@mutation
async def hang(ctx):
    await ctx.db.insert("t", {"a": 1})
    try:
        await asyncio.Event().wait()
    except BaseException:
        return "swallowed"
"""
    world = await serve({"slow.py": source}, limits=replace(DEFAULT_LIMITS, system_time_s_max=0.01))
    outcome = await world.mutation("slow:hang")
    assert "Function execution timed out (maximum duration: 0.01s)" in outcome.error_message
    assert world.store.database.entries == []


def _refuse(world, refusals):
    append = world.store.append

    async def refuse_first(entry: LogEntry):
        if refusals:
            raise refusals.pop()
        return await append(entry)

    world.store.append = refuse_first
