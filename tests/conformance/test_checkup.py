"""`concave doctor` on a real database: each kind of damage is found, named and, where a push can, mended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from bson import Decimal128

from concave.cli.doctor import doctor
from concave.cli.schema_commands import push
from concave.values.ids import encode_id

APP = """
from concave import define_table, v

messages = define_table(channel=v.string(), likes=v.optional(v.number()), extra=v.optional(v.any())).index(
    "by_channel", ["channel"]
).index("by_extra", ["extra"])
users = define_table(name=v.string()).index("by_name", ["name"], unique=True)
"""


class Commands:
    """The commands on the test's database. They run loops of their own."""

    def __init__(self, directory: Path, uri: str, capture: pytest.CaptureFixture[str]) -> None:
        self._app = directory / "app"
        self._app.mkdir()
        (self._app / "tables.py").write_text(APP)
        self._options: dict[str, Any] = {"db": uri, "data_dir": directory}
        self._capture = capture

    def push(self, *, repair: bool = False) -> None:
        push(self._app, **self._options, repair=repair, as_json=False)
        self._capture.readouterr()

    def report(self, *, all_documents: bool = True) -> dict[str, Any]:
        status = doctor(self._app, **self._options, all_documents=all_documents, as_json=True)
        report: dict[str, Any] = json.loads(self._capture.readouterr().out)
        assert status == (0 if report["healthy"] else 1)
        return report

    def text(self) -> str:
        doctor(self._app, **self._options, all_documents=False, as_json=False)
        return self._capture.readouterr().out


@pytest.fixture
def commands(database_uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    return Commands(tmp_path, database_uri, capsys)


@pytest.fixture
def mongo(database_uri: str) -> Iterator[Any]:
    """The database as another program sees it."""
    with pymongo.MongoClient[dict[str, Any]](database_uri) as client:
        yield client.get_default_database()


def found(report: dict[str, Any], part: str = "problems") -> set[tuple[str, str, str | None]]:
    return {(finding["kind"], finding["table"], finding["subject"]) for finding in report[part]}


def test_a_database_without_a_schema_and_a_healthy_one(commands: Commands) -> None:
    report = commands.report()
    assert {("schema", "", None), ("table", "messages", None), ("number", "users", None)} <= found(report)
    commands.push()
    report = commands.report()
    assert report["problems"] == []
    assert report["log"]["entries"] == 0
    text = commands.text()
    assert "nothing is wrong" in text
    assert "log: empty" in text


def test_lost_and_foreign_tables_indexes_and_validators(commands: Commands, mongo: Any) -> None:
    commands.push()
    mongo.users.drop()
    mongo.messages.drop_index("by_channel")
    mongo.messages.drop_index("by_creation_time")
    mongo.messages.create_index([("likes", 1)], name="by_creation_time")
    mongo.messages.create_index([("likes", -1)], name="mine")
    mongo.command({"collMod": "messages", "validationLevel": "off"})
    mongo.create_collection("others")
    mongo["_commits"].drop_index("requests")
    mongo["_tables"].insert_one({"_id": "gone", "number": 20_000})
    report = commands.report()
    assert found(report) == {
        ("table", "users", None),
        ("index", "messages", "by_channel"),
        ("index", "messages", "by_creation_time"),
        ("validator", "messages", None),
        ("index", "_commits", "requests"),
    }
    assert found(report, "notes") == {
        ("table", "others", None),
        ("index", "messages", "mine"),
        ("number", "gone", None),
    }
    assert "wrong: index messages.by_channel: is missing; channel, _creationTime, _id" in commands.text()
    commands.push()
    report = commands.report()
    assert report["problems"] == []
    assert len(report["notes"]) == 3


def test_bad_documents(commands: Commands, mongo: Any) -> None:
    commands.push()
    number = mongo["_tables"].find_one({"_id": "messages"})["number"]
    ids = [encode_id(number, bytes([n]) * 16) for n in range(6)]
    stranger = encode_id(number + 1, bytes(16))
    good = {"_creationTime": 1.0, "channel": "a"}
    mongo.messages.insert_many(
        [
            {**good, "_id": ids[1], "channel": 5},
            {**good, "_id": ids[2], "likes": Decimal128("1")},
            {**good, "_id": "no id"},
            {**good, "_id": stranger},
            {**good, "_id": ids[3], "extra": [1.0]},
            {**good, "_id": ids[4], "_creationTime": "then"},
        ],
        bypass_document_validation=True,
    )
    report = commands.report()
    assert report["documents"]["messages"] == {"count": 6, "checked": 6}
    findings = {finding["subject"]: finding for finding in report["problems"]}
    assert "Path: .channel" in findings[ids[1]]["message"]
    assert findings[ids[2]]["message"] == "at .likes: the BSON type Decimal128 is no Convex value"
    assert findings["no id"]["message"].startswith("its _id is none")
    assert "table number" in findings[stranger]["message"]
    assert findings[ids[3]]["kind"] == "columns"
    assert "_creationTime" in findings[ids[4]]["message"]
    assert commands.report(all_documents=False)["documents"]["messages"]["checked"] == 6


def test_stale_columns_are_corrected_by_a_push_that_repairs(commands: Commands, mongo: Any) -> None:
    commands.push()
    number = mongo["_tables"].find_one({"_id": "messages"})["number"]
    id = encode_id(number, bytes(16))
    mongo.messages.insert_one({"_id": id, "_creationTime": 1.0, "channel": "a", "extra": "x"})
    commands.push()
    assert commands.report()["problems"] == []
    mongo.messages.update_one({"_id": id}, {"$set": {"extra": "y"}})
    commands.push()
    assert found(commands.report()) == {("columns", "messages", id)}
    commands.push(repair=True)
    assert commands.report()["problems"] == []
