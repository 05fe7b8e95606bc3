"""Schemas that the data breaks, and broken modules on hot reload: refused, told, and the version before goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest

from processes import wait_until

pytestmark = pytest.mark.slow

TABLE = 'notes = define_table(title=v.string(), stars=v.number()).index("by_title", ["title"])'
MODULE = f"""from concave import define_table, mutation, query, v

{TABLE}


@mutation(args={{"title": v.string(), "stars": v.any()}})
async def add(ctx, title, stars):
    return await ctx.db.insert("notes", {{"title": title, "stars": stars}})


@query(args={{}})
async def version(ctx):
    return "first"


@query(args={{}})
async def total(ctx):
    return len(await ctx.db.query("notes").collect())
"""
STRICTER = MODULE.replace("stars=v.number()", "stars=v.string()")


@pytest.fixture(scope="module")
def live(start_server: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A server on an app whose files may be changed, with seven notes."""
    app = tmp_path_factory.mktemp("live") / "app"
    app.mkdir()
    (app / "notes.py").write_text(MODULE)
    server = start_server(app)
    for number in range(7):
        server.value("mutation", "notes:add", {"title": f"note {number}", "stars": float(number)})
    return server


@pytest.fixture
def change(live: Any) -> Iterator[Callable[[str, str], str]]:
    """Writes a module of the app and waits for what the server prints about it. The app is mended at the end."""

    def change(name: str, text: str, expect: str = "goes on serving") -> str:
        printed = len(live.log)
        (live.app / name).write_text(text)
        wait_until(lambda: expect in live.log[printed:], f"the server did not say {expect!r}: {live.log[printed:]}")
        return str(live.log[printed:])

    yield change
    for file in live.app.glob("*.py"):
        if file.name != "notes.py":
            file.unlink()
    change("notes.py", MODULE + f"# mended {len(live.log)}\n", "reloaded app: 3 functions")


@pytest.fixture
def push(concave: Callable[..., Any], live: Any, tmp_path: Path) -> Callable[..., str]:
    """Pushes a module as an app of its own to the server's database; it must be refused, and change nothing."""

    def push(module: str) -> str:
        app = tmp_path / "app"
        app.mkdir(exist_ok=True)
        (app / "notes.py").write_text(module)
        with live.unchanged():
            done = concave("schema", "push", "--app", app, "--db", live.database_uri)
        assert (done.status, done.out) == (1, "")
        assert "Traceback" not in done.err
        assert "error: the data in the database breaks the new schema; the first documents that do:\n" in done.err
        assert "Change these documents, or the schema; nothing was pushed." in done.err
        return str(done.err)

    return push


def _goes_on(live: Any) -> None:
    """The first version serves, and its schema is in force, both ways."""
    assert live.value("query", "notes:version", {}) == "first"
    before = live.value("query", "notes:total", {})
    live.value("mutation", "notes:add", {"title": "later", "stars": 1.0})
    assert live.value("query", "notes:total", {}) == before + 1
    message = live.failure("mutation", "notes:add", {"title": "later", "stars": "many"})
    assert 'Path: .stars\nValue: "many"\nValidator: v.float64()' in message


def test_a_push_that_the_data_breaks(live: Any, push: Callable[..., str]) -> None:
    message = push(STRICTER)
    ids = {str(document["_id"]) for document in live.collection("notes").find()}
    offenders = [line for line in message.splitlines() if line.startswith("notes/")]
    assert len(offenders) == 5
    for line in offenders:
        id, _, problem = line.removeprefix("notes/").partition(": ")
        assert id in ids
        assert problem == "Value does not match validator."
    assert message.count("Path: .stars\n") == 5
    assert message.count("Validator: v.string()\n") == 5
    _goes_on(live)


def test_a_field_that_the_documents_lack(live: Any, push: Callable[..., str]) -> None:
    message = push(MODULE.replace("stars=v.number()", "stars=v.number(), colour=v.string()"))
    assert "Object is missing the required field `colour`" in message
    assert "v.optional(...)" in message
    _goes_on(live)


def test_a_field_that_is_gone(live: Any, push: Callable[..., str]) -> None:
    message = push(MODULE.replace(", stars=v.number()", ""))
    assert "Object contains extra field `stars`" in message
    _goes_on(live)


def test_a_unique_index_over_equal_keys(live: Any, push: Callable[..., str]) -> None:
    first, second = (live.value("mutation", "notes:add", {"title": "twice", "stars": 1.0}) for _ in range(2))
    message = push(MODULE.replace('["title"])', '["title"], unique=True)'))
    assert any(
        f"notes/{one}: the unique index `by_title` would hold the same key for {other}" in message
        for one, other in ((first, second), (second, first))
    )
    _goes_on(live)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"title": "x"}, "its _id is of the type ObjectId, not a string: concave.new_document_id makes ids"),
        ({"_id": 5, "_creationTime": 1.0, "title": "x"}, "its _id is of the type int, not a string"),
        ({"_id": "theirs", "title": "x"}, "its _creationTime is not a number: milliseconds since 1970"),
        (
            {"_id": "theirs", "_creationTime": 1.0, "title": "x", "at": {"when": [1, bson.ObjectId()]}},
            "at .at.when[1]: the BSON type ObjectId is no Convex value",
        ),
        (
            {"_id": "theirs", "_creationTime": 1.0, "title": bson.Decimal128("1.5")},
            "at .title: the BSON type Decimal128 is no Convex value",
        ),
        ({"_id": "theirs", "_creationTime": 1, "title": 3}, "Path: .title\nValue: 3\nValidator: v.string()"),
    ],
)
def test_documents_of_other_programs(live: Any, push: Callable[..., str], document: Any, says: str) -> None:
    """A collection that was there before the app: MongoDB's own ids and types."""
    foreign = live.collection("theirs")
    foreign.insert_one(document)
    try:
        message = push(MODULE + "\n\ntheirs = define_table(title=v.string(), at=v.optional(v.any()))\n")
        assert f"theirs/{document['_id']}: " in message
        assert says in message
    finally:
        foreign.drop()
    _goes_on(live)


def test_one_bad_document_behind_many_good_ones(live: Any, push: Callable[..., str]) -> None:
    """More than one batch of strings, and then an id of another type, which sorts behind them."""
    foreign = live.collection("theirs")
    foreign.insert_many({"_id": f"{n:032}", "_creationTime": float(n), "title": "x"} for n in range(2500))
    bad = foreign.insert_one({"title": "x"}).inserted_id
    try:
        message = push(MODULE + "\n\ntheirs = define_table(title=v.string())\n")
        assert message.count("theirs/") == 1
        assert f"theirs/{bad}: its _id is of the type ObjectId" in message
    finally:
        foreign.drop()


# Hot reload


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("notes.py", MODULE + "\ndef broken(:\n", "app/notes.py:20: SyntaxError: invalid syntax\n    def broken(:"),
        (
            "more.py",
            "import no_module_of_this_name\n",
            "app/more.py:1: ModuleNotFoundError: No module named 'no_module_of_this_name'",
        ),
        (
            "more.py",
            "from .notes import no_such_function\n",
            "app/more.py:1: ImportError: cannot import name 'no_such_function' from",
        ),
        (
            "notes.py",
            MODULE.replace('["title"]', '["titel"]'),
            "app/notes.py:3: table `notes`, index `by_title`: the field `titel` can never exist",
        ),
        (
            "notes.py",
            MODULE.replace('"first"', '"second"').replace("async def version", "def version"),
            "app/notes.py:11: @query `version` is not async: write `async def version(ctx, ...)`.",
        ),
    ],
)
def test_a_broken_module_on_reload(live: Any, change: Callable[..., str], name: str, text: str, says: str) -> None:
    with live.unchanged():
        message = change(name, text)
    assert f"the app in {live.app} cannot be loaded (1 problem):" in message
    assert says in message
    assert "Traceback" not in message
    _goes_on(live)


def test_a_schema_that_the_data_breaks_on_reload(live: Any, change: Callable[..., str]) -> None:
    with live.unchanged():
        message = change("notes.py", STRICTER.replace('"first"', '"second"'))
    assert "the data in the database breaks the new schema; the first documents that do:" in message
    assert message.count("\nnotes/") == 5
    assert "Path: .stars\n" in message
    assert "Traceback" not in message
    _goes_on(live)


def test_a_mended_module_is_served(live: Any, change: Callable[..., str]) -> None:
    change("notes.py", "def broken(:\n")
    change("notes.py", MODULE.replace('"first"', '"second"'), "reloaded app: 3 functions")
    assert live.value("query", "notes:version", {}) == "second"


def test_a_live_query_survives_a_broken_reload(live: Any, change: Callable[..., str]) -> None:
    from websockets.sync.client import connect

    add = {"type": "Add", "queryId": 0, "udfPath": "notes:total", "args": [{}]}
    with connect(live.url.replace("http", "ws", 1) + "/api/sync", compression=None, proxy=None) as socket:

        def result() -> Any:
            while (message := json.loads(socket.recv(timeout=20)))["type"] != "Transition":
                pass
            [modification] = message["modifications"]
            return modification["value"]

        socket.send(json.dumps({"type": "Connect", "sessionId": "x", "connectionCount": 0}))
        socket.send(json.dumps({"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [add]}))
        before = result()
        change("notes.py", "def broken(:\n")
        live.value("mutation", "notes:add", {"title": "live", "stars": 1.0})
        assert result() == before + 1
