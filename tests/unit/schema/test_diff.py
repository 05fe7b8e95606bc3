"""The differ: a plan against databases that fit it, lack things, differ, or hold more."""

from __future__ import annotations

import orjson

from concave.schema.definition import define_table
from concave.schema.diff import CollectionState, DatabaseState, IndexState, diff
from concave.schema.plan import Plan, compile_plan
from concave.schema.schema import Schema
from concave.schema.validators import v


def plan() -> Plan:
    table = define_table(a=v.string(), b=v.number()).index("by_a", ["a"], unique=True)
    return compile_plan(Schema({"t": table}))


def fitting(plan: Plan) -> DatabaseState:
    collections = {
        name: CollectionState(
            {index.name: IndexState(index.keys, index.unique, index.partial) for index in table.mongo_indexes}
            | {"_id_": IndexState((("_id", 1),))},
            table.mongo_validator,
        )
        for name, table in plan.tables.items()
    }
    return DatabaseState(collections, {"t": 10001}, plan.fingerprint())


def test_a_database_that_fits() -> None:
    found = diff(plan(), fitting(plan()))
    assert found.is_empty
    assert str(found) == "the database fits the schema"


def test_an_empty_database_lacks_every_table_and_index() -> None:
    found = diff(plan(), DatabaseState({}, {}))
    assert [str(change) for change in found.creates] == [
        "table _scheduled_functions",
        "index _scheduled_functions.by_creation_time (_creationTime, _id)",
        "table _storage",
        "index _storage.by_creation_time (_creationTime, _id)",
        "table t",
        "index t.by_creation_time (_creationTime, _id)",
        "index t.by_a (a, _creationTime, _id)",
        "index t.by_a.unique (a, unique)",
    ]
    assert not found.changes
    assert not found.extras
    assert not found.is_empty
    assert [change.index for change in found.creates[-3:]] == list(plan().tables["t"].mongo_indexes)


def test_changes_say_what_is_there_now() -> None:
    state = fitting(plan())
    state.collections["t"].indexes["by_a"] = IndexState((("b", 1), ("_creationTime", 1), ("_id", 1)))
    state.collections["t"] = CollectionState(state.collections["t"].indexes, None)
    found = diff(plan(), state)
    assert found.summary_lines() == [
        "~ validator t (documents are not checked by the database now)",
        "~ index t.by_a (a, _creationTime, _id; now b, _creationTime, _id)",
    ]
    assert not found.is_empty


def test_another_document_type_is_a_change() -> None:
    state = fitting(plan())
    state.collections["t"] = CollectionState(state.collections["t"].indexes, {"$jsonSchema": {}})
    assert diff(plan(), state).summary_lines() == ["~ validator t (the document type changed)"]


def test_extras_are_shown_and_do_not_make_work() -> None:
    state = fitting(plan())
    state.collections["t"].indexes["mine"] = IndexState((("b", -1),))
    for name in ("old", "_commits", "fs.files", "system.views"):
        state.collections[name] = CollectionState({})
    found = diff(plan(), state)
    assert found.summary_lines() == ["- index t.mine (b), only in the database", "- table old, only in the database"]
    assert found.is_empty


def test_a_new_fingerprint_alone_is_work() -> None:
    state = fitting(plan())
    found = diff(plan(), DatabaseState(state.collections, state.tables, "another"))
    assert found.fingerprint_changed
    assert not found.is_empty


def test_json() -> None:
    found = diff(plan(), DatabaseState({}, {}))
    assert orjson.loads(orjson.dumps(found.to_json()))["creates"][4] == {
        "kind": "table",
        "table": "t",
        "name": None,
        "detail": "",
    }
