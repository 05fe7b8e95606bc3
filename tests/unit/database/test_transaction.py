"""Transactions against a plain model: merged reads, net effects, savepoints, the read set (data-model.md 7)."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concave.database.transaction import Transaction
from concave.database.writer import DatabaseWriter
from concave.values.errors import DeveloperError
from concave.values.keys import key_bytes
from concave.values.types import UNSET

Model = dict[str, dict[str, Any]]


async def failure(awaitable: Any) -> DeveloperError:
    with pytest.raises(DeveloperError) as caught:
        await awaitable
    return caught.value


def random_fields(rng: random.Random) -> dict[str, Any]:
    values = [None, 1.0, 2.0, "x", "x\0", [1.0], {"k": "v"}, False]
    return {name: rng.choice(values) for name in ("a", "b") if rng.random() < 0.8} | {"n": float(rng.randrange(5))}


async def check_reads(rng: random.Random, world: Any, tx: Transaction, model: Model) -> None:
    """Range reads of every shape, and points, equal brute force over the model, and depend on what they returned."""
    layouts = world.catalog.layout("items").indexes
    layout = layouts[rng.choice(["by_id", "by_creation_time", "by_a", "by_a_b", "by_n"])]
    keyed = sorted((key_bytes(layout.key(document)), id) for id, document in model.items())
    ends = [b"", b"\xff", *(key for key, _ in keyed)]
    low, high = sorted((rng.choice(ends), rng.choice(ends)))
    order = rng.choice(["asc", "desc"])
    limit = rng.choice([1, 2, 5, 100])
    wanted = [model[id] for key, id in (keyed if order == "asc" else keyed[::-1]) if low <= key < high][:limit]
    got = await tx.scan("items", layout, low, high, b"", 0, order, limit)
    assert got == wanted
    for document in wanted:
        assert tx.read_set.contains("items", layout.name, key_bytes(layout.key(document)))
    for document in got:
        document["a"] = "the caller may do this"
    id = rng.choice([*model, "j5"])
    assert await tx.get("items", id) == model.get(id)
    assert await tx.count("items") == len(model)


async def random_write(rng: random.Random, db: DatabaseWriter, model: Model, tx: Transaction) -> None:
    kind = rng.randrange(5)
    fields = random_fields(rng)
    if kind == 0 or not model:
        id = await db.insert("items", fields)
        document = await tx.get("items", id)
        assert document is not None
        model[id] = {**fields, "_id": id, "_creationTime": document["_creationTime"]}
        return
    id = rng.choice(list(model))
    if kind == 1:
        await db.delete(id)
        del model[id]
    elif kind == 2:
        await db.replace(id, fields)
        model[id] = {**fields, "_id": id, "_creationTime": model[id]["_creationTime"]}
    else:
        for name in ("a", "b"):
            if rng.random() < 0.2:
                fields[name] = UNSET
        await db.patch(id, fields)
        model[id] = {name: value for name, value in {**model[id], **fields}.items() if value is not UNSET}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
async def test_random_transactions_against_a_plain_model(new_world: Any, seed: int) -> None:
    rng = random.Random(seed)
    world = await new_world()
    committed: Model = {}
    for _ in range(4):
        model = {id: dict(document) for id, document in committed.items()}
        tx, db = await world.writing()
        savepoints: list[tuple[int, Model]] = []
        for _ in range(rng.randrange(14)):
            step = rng.random()
            if step < 0.5:
                await random_write(rng, db, model, tx)
            elif step < 0.85:
                await check_reads(rng, world, tx, model)
            elif step < 0.95:
                savepoints.append((tx.savepoint(), {id: dict(document) for id, document in model.items()}))
            elif savepoints:
                mark, model = savepoints.pop()
                tx.rollback_to(mark)
        writes = tx.writes()
        for write in writes:
            assert write.before == committed.get(write.id)
            assert write.after == model.get(write.id)
            assert write.before != write.after
            for change in write.keys:
                layout = world.catalog.layout("items").indexes[change.index]
                assert change.before == (None if write.before is None else layout.key(write.before))
                assert change.after == (None if write.after is None else layout.key(write.after))
            assert len(write.keys) == len(world.catalog.layout("items").indexes)
        changed = {id for id in {*committed, *model} if committed.get(id) != model.get(id)}
        assert {write.id for write in writes} == changed
        await world.commit(tx)
        committed = model
        fresh = await world.begin(writable=False)
        for _ in range(4):
            await check_reads(rng, world, fresh, committed)


async def test_creation_times_are_one_representable_number_apart(world: Any) -> None:
    """data-model.md 10, test 15."""
    tx, db = await world.writing()
    mark = tx.savepoint()
    await db.insert("items", {})
    tx.rollback_to(mark)
    ids = [await db.insert("items", {}) for _ in range(1000)]
    times = [(await tx.get("items", id))["_creationTime"] for id in ids]
    assert times[0] > max(tx.ts / 1e6, world.runtime.clock_ms)
    assert all(math.nextafter(a, math.inf) == b for a, b in itertools.pairwise(times))


async def test_the_clock_of_a_run_stands_still(world: Any) -> None:
    tx = await world.begin()
    now = tx.now_ms
    world.runtime.clock_ms += 5000
    assert tx.now_ms == now == 1_750_000_000_000.0


async def test_a_get_depends_on_that_id_alone_found_or_not(world: Any) -> None:
    (id,) = await world.fill("items", [{"n": 1}])
    tx, db = await world.reading()
    await db.get(id)
    assert len(tx.read_set) == 1
    (interval,) = tx.read_set
    assert (interval.index, interval.depth) == ("by_id", 1)


async def test_inserts_depend_on_nothing_and_writes_on_their_target(world: Any) -> None:
    """data-model.md 10, test 37."""
    (id,) = await world.fill("items", [{"n": 1}])
    tx, db = await world.writing()
    await db.insert("items", {})
    assert len(tx.read_set) == 0
    await db.patch(id, {"n": 2})
    assert [interval.index for interval in tx.read_set] == ["by_id"]


async def test_a_patch_that_changes_nothing_is_no_write_but_a_read(world: Any) -> None:
    """data-model.md 10, test 38."""
    (id,) = await world.fill("items", [{"n": 1, "a": [1.0]}])
    tx, db = await world.writing()
    await db.patch(id, {"n": 1, "a": [1], "b": UNSET})
    await db.replace(id, {"n": 1.0, "a": [1.0]})
    assert tx.writes() == ()
    assert tx.usage.documents_written == 0
    assert tx.usage.documents_read == 2
    assert len(tx.read_set) == 1
    await db.patch(id, {"n": -0.0})
    await db.patch(id, {"n": 1})
    assert tx.writes() == ()
    assert tx.usage.documents_written == 2


async def test_repeated_reads_are_one_interval_but_each_counts(world: Any) -> None:
    """data-model.md 10, test 41."""
    (id,) = await world.fill("items", [{"n": 1}])
    tx, db = await world.reading()
    for _ in range(50):
        await db.get(id)
    assert (tx.usage.documents_read, tx.usage.database_queries) == (50, 1)


async def test_limits_of_a_transaction(world: Any) -> None:
    ids = await world.fill("items", [{"n": n} for n in range(5)])
    _, db = await world.limited(documents_read_max=4).reading()
    assert len(await db.query("items").take(4)) == 4
    assert (await failure(db.get(ids[0]))).code == "TooManyDocumentsRead"
    _, db = await world.limited(index_ranges_max=2).reading()
    await db.get(ids[0])
    await db.get(ids[1])
    await db.get(ids[1])
    assert (await failure(db.get(ids[2]))).code == "TooManyReads"
    _, db = await world.limited(documents_written_max=2).writing()
    await db.insert("items", {})
    await db.delete(ids[0])
    assert (await failure(db.delete(ids[1]))).code == "TooManyWrites"
    _, db = await world.limited(bytes_written_max=80).writing()
    assert (await failure(db.insert("items", {"a": "x" * 50}))).code == "TooManyBytesWritten"
    tx, db = await world.limited(documents_read_max=0).reading()
    assert await db.system.query("_storage").collect() == []
    assert tx.usage.database_queries == 0


async def test_a_document_handed_out_or_in_is_the_callers(world: Any) -> None:
    tx, db = await world.writing()
    given: dict[str, Any] = {"a": {"list": [1.0]}}
    id = await db.insert("items", given)
    given["a"]["list"].append(2.0)
    got = await db.get(id)
    assert got["a"] == {"list": [1.0]}
    got["a"]["list"].append(3.0)
    (row,) = await db.query("items").collect()
    row["a"]["list"].append(4.0)
    patch = {"b": [1.0]}
    await db.patch(id, patch)
    patch["b"].append(2.0)
    (write,) = tx.writes()
    assert (write.after["a"], write.after["b"]) == ({"list": [1.0]}, [1.0])


async def test_a_document_read_and_then_patched_is_fetched_once(world: Any) -> None:
    (id,) = await world.fill("items", [{"n": 1}])
    tx, db = await world.writing()
    fetched: list[str] = []
    get = world.store.get

    async def counting(table: str, id: str, ts: Any) -> Any:
        fetched.append(id)
        return await get(table, id, ts)

    world.store.get = counting
    (row,) = await db.query("items").collect()
    row["n"] = "changed by the caller"
    await db.patch(id, {"a": 1})
    assert fetched == []
    assert (await db.get(id))["n"] == 1.0
    assert tx.writes()[0].before["n"] == 1.0


async def test_a_stale_view_sees_no_own_writes_and_shares_the_counters(world: Any) -> None:
    (id,) = await world.fill("items", [{"n": 1}])
    tx, db = await world.writing()
    await db.patch(id, {"n": 2})
    view = tx.stale_view()
    assert (await view.get("items", id))["n"] == 1.0
    assert tx.usage is view.usage
    assert tx.usage.documents_read == 2
    assert len(view.read_set) == 1
