"""The log of executions: order, bounds, waiting, and what gets into it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

import pytest

from concave.functions import function_log
from concave.functions.attempts import RunnerOptions
from concave.functions.function_log import Execution, FunctionLog
from concave.functions.logs import install
from concave.functions.recording import Origin, current_origin
from concave.values.runtime import SystemRuntime


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    uninstall = install()
    yield
    uninstall()


class StoppedClock(SystemRuntime):
    def now_ms(self) -> float:
        return 1_750_000_000_000.25


def execution(number: int, *lines: str, request_id: str = "r") -> Execution:
    return Execution("Query", "tasks:list", request_id, f"e{number}", 1.0, 2.0, lines)


async def ids(log: FunctionLog, cursor: float = 0.0, **options) -> list[str]:
    return [entry["executionId"] for entry in (await log.after(cursor, **options)).entries]


async def test_stamps_grow_though_the_clock_stands_still():
    log = FunctionLog(StoppedClock())
    for number in range(1_000):
        log.add(execution(number))
    seen, cursor = [], 0.0
    while (page := await log.after(cursor)).entries:
        assert page.cursor > cursor
        seen += [entry["executionId"] for entry in page.entries]
        cursor = page.cursor
    assert seen == [f"e{number}" for number in range(1_000)]


async def test_it_keeps_the_newest_completions():
    log = FunctionLog(SystemRuntime())
    for number in range(1_205):
        log.add(execution(number))
    assert await ids(log) == [f"e{number}" for number in range(205, 1_205)]


async def test_it_is_bounded_in_characters(monkeypatch):
    monkeypatch.setattr(function_log, "CHARACTERS_MAX", 100)
    log = FunctionLog(SystemRuntime())
    for number in range(5):
        log.add(execution(number, "x" * 40))
    assert await ids(log) == ["e3", "e4"]
    log.add(execution(5, "x" * 400))
    assert await ids(log) == ["e5"]


async def test_one_request_is_picked_out():
    log = FunctionLog(SystemRuntime())
    log.add(execution(1, request_id="a"))
    log.add(execution(2, request_id="b"))
    assert await ids(log, request_id="b") == ["e2"]


async def test_waiting_ends_with_an_entry_a_time_or_the_end():
    log = FunctionLog(SystemRuntime())
    waiting = asyncio.create_task(log.after(log.now(), wait_s=30))
    await asyncio.sleep(0)
    log.add(execution(1))
    assert [entry["executionId"] for entry in (await waiting).entries] == ["e1"]
    cursor = log.now()
    assert (await log.after(cursor, wait_s=0.01)).cursor == cursor
    waiting = asyncio.create_task(log.after(cursor, wait_s=30))
    await asyncio.sleep(0)
    log.close()
    assert (await waiting).entries == []
    assert (await log.after(cursor, wait_s=30)).entries == []


async def test_lines_as_objects():
    log = FunctionLog(SystemRuntime())
    log.add(execution(1, "[WARN] 'a] b' 3", f"[LOG] long{function_log.TRUNCATION_MARK}"))
    texts = (await log.after(0)).entries[0]["logLines"]
    assert texts == ["[WARN] 'a] b' 3", "[LOG] long (truncated due to length)"]
    first, second = (await log.after(0, structured=True)).entries[0]["logLines"]
    assert (first["level"], first["messages"], first["isTruncated"]) == ("WARN", ["'a] b' 3"], False)
    assert (second["level"], second["messages"], second["isTruncated"]) == ("LOG", ["long"], True)


TASKS = """
from concave import ConvexError, action, define_table, mutation, query, v

tasks = define_table(title=v.string())

@mutation(args={"title": v.string()})
async def add(ctx, title):
    print("adding", title)
    if title == "bad":
        raise ConvexError({"title": title})
    return await ctx.db.insert("tasks", {"title": title})

@query
async def titles(ctx):
    print("reading")
    return [task["title"] for task in await ctx.db.query("tasks").collect()]

@action
async def both(ctx):
    print("before")
    await ctx.run_mutation(add, {"title": "a"})
    print("after")
    return await ctx.run_query(titles)

@action
def inThread(ctx):
    return ctx.run_query(titles)
"""


async def test_queries_and_mutations_have_their_lines_in_the_completion(serve):
    world = await serve({"tasks.py": TASKS})
    await world.mutation("tasks:add", title="a")
    await world.query("tasks:titles")
    first, second = (await world.runner.function_log.after(0)).entries
    assert (first["kind"], first["udfType"], first["identifier"]) == ("Completion", "Mutation", "tasks:add")
    assert first["logLines"] == ["[LOG] 'adding' 'a'"]
    assert (first["error"], first["success"], first["caller"]) == (None, None, "SyncWorker")
    assert (second["udfType"], second["logLines"]) == ("Query", ["[LOG] 'reading'"])
    assert first["timestamp"] >= first["executionTimestamp"] > 1e9
    assert first["timestamp"] < second["timestamp"]


async def test_actions_have_theirs_in_progress_entries_and_children_share_the_request(serve):
    world = await serve({"tasks.py": TASKS})
    outcome = await world.action("tasks:both")
    assert outcome.log_lines == ["[LOG] 'before'", "[LOG] 'adding' 'a'", "[LOG] 'after'", "[LOG] 'reading'"]
    entries = (await world.runner.function_log.after(0)).entries
    shown = [(entry["kind"], entry["identifier"], entry["logLines"]) for entry in entries]
    assert shown == [
        ("Progress", "tasks:both", ["[LOG] 'before'"]),
        ("Completion", "tasks:add", ["[LOG] 'adding' 'a'"]),
        ("Progress", "tasks:both", ["[LOG] 'after'"]),
        ("Completion", "tasks:titles", ["[LOG] 'reading'"]),
        ("Completion", "tasks:both", []),
    ]
    root = entries[-1]
    assert {entry["requestId"] for entry in entries} == {root["requestId"]}
    assert [entries[1]["parentExecutionId"], entries[3]["parentExecutionId"]] == [root["executionId"]] * 2
    assert (entries[1]["caller"], root["parentExecutionId"]) == ("Action", None)


async def test_calls_from_a_thread_know_their_root(serve):
    world = await serve({"tasks.py": TASKS})
    await world.action("tasks:inThread")
    child, root = (await world.runner.function_log.after(0)).entries
    assert (child["requestId"], child["parentExecutionId"]) == (root["requestId"], root["executionId"])


async def test_failures_and_their_request_ids(serve):
    world = await serve({"tasks.py": TASKS}, options=RunnerOptions(redact_errors=True))
    failed = await world.mutation("tasks:add", title="bad")
    missing = await world.query("tasks:nothing")
    first, second = (await world.runner.function_log.after(0)).entries
    # The client sees an id and no more; the log has the rest.
    assert failed.error_message == f"[Request ID: {first['requestId']}] Server Error"
    assert failed.log_lines == []
    assert first["error"].startswith('Uncaught ConvexError: {"title":"bad"}\n    at add (')
    assert first["logLines"] == ["[LOG] 'adding' 'bad'"]
    assert missing.error_message == f"[Request ID: {second['requestId']}] Server Error"
    assert "Could not find public function" in second["error"]


async def test_a_sessions_mutation_has_the_id_that_clients_can_compute(serve):
    world = await serve({"tasks.py": TASKS})
    await world.runner.run_mutation("tasks:add", {"title": "a"}, identity=None, session_id="s", request_id=7)
    expected = hashlib.sha256(b"s|7").hexdigest()[:16]
    assert len(await ids(world.runner.function_log, request_id=expected)) == 1


async def test_the_origin_names_request_and_caller(serve):
    world = await serve({"tasks.py": TASKS})
    token = current_origin.set(Origin("my-request", "HttpApi"))
    try:
        await world.query("tasks:titles")
    finally:
        current_origin.reset(token)
    (entry,) = (await world.runner.function_log.after(0)).entries
    assert (entry["requestId"], entry["caller"]) == ("my-request", "HttpApi")


@pytest.mark.parametrize("lines", [300])
async def test_overflow_is_told_once(serve, lines):
    source = f"""
from concave import action

@action
async def chatty(ctx):
    for number in range({lines}):
        print(number)
"""
    world = await serve({"talk.py": source})
    await world.action("talk:chatty")
    entries = (await world.runner.function_log.after(0)).entries
    texts = [line for entry in entries for line in entry["logLines"]]
    assert len(texts) == 257  # the 256th had been written before it was replaced
    assert texts[-1].startswith("[ERROR] Log overflow (maximum 256)")
