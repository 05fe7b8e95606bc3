"""`ctx.db`: ids, tables, system fields, traits, and every error's code and words (data-model.md 3, 4.4, 5.4)."""

from __future__ import annotations

from typing import Any

import pytest

from concave.values.errors import DeveloperError
from concave.values.ids import encode_id
from concave.values.types import UNSET, Int64


async def failure(awaitable: Any) -> DeveloperError:
    with pytest.raises(DeveloperError) as caught:
        await awaitable
    return caught.value


# Reading.


async def test_get_by_id_alone_and_with_its_table(world: Any) -> None:
    (id,) = await world.fill("items", [{"n": 1}])
    _, db = await world.reading()
    assert (await db.get(id))["n"] == 1.0
    assert (await db.get("items", id))["n"] == 1.0


async def test_a_document_that_is_gone_is_none(world: Any) -> None:
    (id,) = await world.fill("items", [{}])
    tx, db = await world.writing()
    await db.delete(id)
    assert await db.get(id) is None
    await world.commit(tx)
    _, db = await world.reading()
    assert await db.get(id) is None
    assert await db.get(encode_id(99_999, bytes(16))) is None, "its table is gone"
    assert await db.get(encode_id(514, bytes(16))) is None, "a hidden system table"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nonsense",), "Invalid argument `id` for `db.get`: 'nonsense' is no id"),
        ((5,), "must be a string, not 5"),
        ((None,), "must be a string, not None"),
        ((), "takes an id, or a table and an id"),
    ],
)
async def test_what_is_no_id(world: Any, arguments: tuple[Any, ...], says: str) -> None:
    _, db = await world.reading()
    error = await failure(db.get(*arguments))
    assert error.code == "InvalidArgument"
    assert says in str(error)


async def test_an_id_of_another_table(world: Any) -> None:
    (id,) = await world.fill("items", [{}])
    _, db = await world.writing()
    for call, name in (
        (db.get("strict", id), "db.get"),
        (db.patch("strict", id, {}), "db.patch"),
        (db.replace("strict", id, {"name": ""}), "db.replace"),
        (db.delete("strict", id), "db.delete"),
    ):
        error = await failure(call)
        assert error.code == "InvalidArgument"
        assert f"`id` for `{name}`: {id} is an id of table `items`, not of `strict`" in str(error)
    assert (await failure(db.get("strct", id))).code == "TableNotFound"


async def test_system_tables_are_read_through_system(world: Any) -> None:
    file_id = encode_id(540, bytes(16))
    (id,) = await world.fill("items", [{}])
    _, db = await world.writing()
    assert await db.system.get(file_id) is None
    assert await db.system.get("_storage", file_id) is None
    assert await db.system.get(encode_id(514, bytes(16))) is None
    assert await db.system.query("_scheduled_functions").with_index("by_creation_time").collect() == []
    assert db.system.normalize_id("_storage", file_id) == file_id
    for call in (
        db.get(file_id),
        db.system.get(id),
        db.patch(file_id, {}),
        db.delete(file_id),
        db.insert("_storage", {}),
    ):
        assert (await failure(call)).code == "SystemTableError"
    for refused in (
        lambda: db.system.query("items"),
        lambda: db.system.normalize_id("items", id),
        lambda: db.normalize_id("_storage", file_id),
    ):
        with pytest.raises(DeveloperError) as caught:
            refused()
        assert caught.value.code == "SystemTableError"


async def test_normalize_id(world: Any) -> None:
    """data-model.md 10, test 17."""
    (id,) = await world.fill("items", [{}])
    _, db = await world.reading()
    assert db.normalize_id("items", id) == id
    assert db.normalize_id("strict", id) is None
    assert db.normalize_id("items", "garbage") is None
    assert db.normalize_id("unknown", id) is None
    with pytest.raises(DeveloperError, match="must be a string"):
        db.normalize_id("items", 5)


async def test_a_query_cannot_write(world: Any) -> None:
    _, db = await world.reading()
    with pytest.raises(AttributeError, match="only mutations write"):
        _ = db.insert
    assert not hasattr(db, "patch")
    with pytest.raises(AttributeError, match="no method 'nothing'"):
        _ = db.nothing


# Writing.


async def test_insert_returns_the_id_and_coerces(world: Any) -> None:
    _, db = await world.writing()
    id = await db.insert("items", {"n": 1, "a": (1, 2), "b": UNSET, "big": Int64(5)})
    document = await db.get(id)
    assert document["n"] == 1.0
    assert type(document["n"]) is float
    assert document["a"] == [1.0, 2.0]
    assert "b" not in document
    assert type(document["big"]) is Int64


async def test_patch_merges_the_top_level_and_unset_removes(world: Any) -> None:
    """data-model.md 10, test 8."""
    _, db = await world.writing()
    id = await db.insert("items", {"n": 1, "a": {"x": 1, "y": 2}, "b": "b"})
    await db.patch(id, {"a": {"x": 3}, "b": UNSET})
    document = await db.get(id)
    assert (document["n"], document["a"], "b" in document) == (1.0, {"x": 3.0}, False)
    await db.patch("items", id, {"b": None})
    assert (await db.get(id))["b"] is None


async def test_replace_keeps_the_system_fields(world: Any) -> None:
    """data-model.md 10, test 16."""
    _, db = await world.writing()
    id = await db.insert("items", {"n": 1})
    before = await db.get(id)
    await db.replace(id, {"a": 1})
    assert await db.get(id) == {"a": 1.0, "_id": id, "_creationTime": before["_creationTime"]}
    await db.replace(id, await db.get(id))
    await db.patch(id, {"_id": id, "_creationTime": before["_creationTime"]})
    for write in (db.replace, db.patch):
        assert (await failure(write(id, {"_id": "other"}))).code == "InvalidIdError"
        assert (await failure(write(id, {"_creationTime": 5}))).code == "InvalidCreationTimeError"
    assert (await failure(db.patch(id, {"_id": UNSET}))).code == "InvalidIdError"


async def test_missing_targets(world: Any) -> None:
    (id,) = await world.fill("items", [{}])
    _, db = await world.writing()
    await db.delete(id)
    for call, verb in ((db.patch(id, {}), "Update"), (db.replace(id, {}), "Replace"), (db.delete(id), "Delete")):
        error = await failure(call)
        assert error.code == "NonexistentDocument"
        assert f"{verb} on nonexistent document ID {id} of table 'items'" in str(error)
    gone = encode_id(99_999, bytes(16))
    assert (await failure(db.delete(gone))).code == "NonexistentDocument"


async def test_schema_enforcement_names_table_and_place(world: Any) -> None:
    _, db = await world.writing()
    error = await failure(db.insert("strict", {"name": "x", "age": "old"}))
    assert error.code == "SchemaEnforcementError"
    assert 'in table "strict"' in str(error)
    assert "Path: .age" in str(error)
    id = await db.insert("strict", {"name": "x"})
    assert "`name`" in str(await failure(db.patch(id, {"name": UNSET})))
    assert "`extra`" in str(await failure(db.replace(id, {"name": "x", "extra": 1})))
    assert (await db.get(id))["name"] == "x", "a refused write changes nothing"


@pytest.mark.parametrize(
    ("document", "code", "says"),
    [
        ({"$a": 1}, "InvalidFieldName", "$a"),
        ({"é": 1}, "InvalidFieldName", "é"),
        ({"_private": 1}, "InvalidFieldName", "_private"),
        ({"_id": "x"}, "InvalidArgument", "cannot be given `_id`"),
        ({"_creationTime": 1}, "InvalidArgument", "cannot be given `_creationTime`"),
        ({"a": object()}, "InvalidValue", ".a"),
        ({"a": "\ud800"}, "InvalidValue", ".a"),
        ({"a": [0.0] * 8193}, "ArrayTooLong", ".a"),
        ({"a": "x" * 2**20}, "ValueTooLargeError", "items"),
        ("text", "InvalidArgument", "must be an object"),
        (None, "InvalidArgument", "must be an object"),
    ],
)
async def test_documents_that_cannot_be(world: Any, document: Any, code: str, says: str) -> None:
    _, db = await world.writing()
    error = await failure(db.insert("items", document))
    assert error.code == code
    assert says in str(error)


async def test_nesting_of_documents(world: Any) -> None:
    def nested(depth: int) -> Any:
        return [] if depth == 1 else [nested(depth - 1)]

    _, db = await world.writing()
    await db.insert("items", {"a": nested(15)})
    assert (await failure(db.insert("items", {"a": nested(16)}))).code == "InvalidDocumentError"


async def test_a_document_may_have_1022_fields(world: Any) -> None:
    _, db = await world.writing()
    await db.insert("items", {"a": {f"f{i}": None for i in range(1024)}})
    assert (await failure(db.insert("items", {f"f{i}": None for i in range(1023)}))).code == "TooManyFieldsError"


async def test_wrong_numbers_of_arguments(world: Any) -> None:
    _, db = await world.writing()
    for call in (db.patch("x"), db.replace(), db.delete("a", "b", "c"), db.patch("a", "b", "c", "d")):
        assert (await failure(call)).code == "InvalidArgument"
    assert (await failure(db.insert("nothing", {}))).code == "TableNotFound"
    assert (await failure(db.insert(5, {}))).code == "InvalidArgument"
    (id,) = await world.fill("items", [{}])
    assert "`fields` for `db.patch`: it must be an object" in str(await failure(db.patch(id, None)))


# Traits.


async def test_timestamps(world: Any) -> None:
    _, db = await world.writing()
    created = world.runtime.clock_ms // 1
    id = await db.insert("stamped", {"name": "a"})
    given = await db.insert("stamped", {"name": "b", "createdAt": 5})
    assert (await db.get(id))["createdAt"] == created
    assert "updatedAt" not in await db.get(id)
    assert (await db.get(given))["createdAt"] == 5.0


async def test_updated_at_is_stamped_on_changes_only(world: Any) -> None:
    (id,) = await world.fill("stamped", [{"name": "a"}])
    created = world.runtime.clock_ms // 1
    world.runtime.clock_ms += 1000
    tx, db = await world.writing()
    await db.patch(id, {"name": "a"})
    await db.replace(id, {"name": "a"})
    assert tx.writes() == ()
    await db.patch(id, {"name": "b"})
    document = await db.get(id)
    assert (document["createdAt"], document["updatedAt"]) == (created, created + 1000)
    await db.replace(id, {"name": "c"})
    document = await db.get(id)
    assert (document["createdAt"], document["updatedAt"]) == (created, created + 1000)
    await db.patch(id, {"name": "d", "updatedAt": 7})
    assert (await db.get(id))["updatedAt"] == 7.0
    await db.replace(id, {"name": "e", "createdAt": 1, "updatedAt": 2})
    document = await db.get(id)
    assert (document["createdAt"], document["updatedAt"]) == (1.0, 2.0)


async def test_soft_deletes(world: Any) -> None:
    (id,) = await world.fill("soft", [{"name": "a"}])
    world.runtime.clock_ms += 1000
    tx, db = await world.writing()
    await db.soft_delete(id)
    assert await db.get(id) is None
    document = await db.get(id, include_deleted=True)
    assert document["deletedAt"] == document["updatedAt"] == tx.now_ms
    writes = tx.usage.documents_written
    await db.soft_delete("soft", id)
    assert tx.usage.documents_written == writes, "a second time changes nothing"
    await db.restore(id)
    assert "deletedAt" not in await db.get(id)
    await db.soft_delete(id)
    await db.delete(id)
    assert await db.get(id, include_deleted=True) is None
    assert (await failure(db.soft_delete(id))).code == "NonexistentDocument"


async def test_soft_delete_needs_the_trait(world: Any) -> None:
    (id,) = await world.fill("items", [{}])
    _, db = await world.writing()
    for call in (db.soft_delete(id), db.restore(id)):
        error = await failure(call)
        assert error.code == "InvalidArgument"
        assert ".soft_deletes()" in str(error)
