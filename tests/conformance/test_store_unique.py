"""Unique indexes from the store to the function's outcome, with concurrent transactions, over both stores."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from concave.schema.definition import define_table
from concave.schema.validators import v
from concave.storage.committer import CommitRequest, Committer
from concave.storage.store import WriteRefused
from concave.storage.timeline import Timeline
from concave.values.errors import ConvexError
from concave.values.intervals import IntervalSet


async def test_two_at_once_one_wins_and_the_other_is_told(bench: Any) -> None:
    """The two have read nothing, so nothing but the index tells them apart. Once in one batch, once in two."""
    timeline = await Timeline.open(bench.store)
    committer = Committer(bench.store, timeline, bench.runtime, node="node")
    bench.runtime.spawn(committer.run(), name="committer")

    def inserting(name: str) -> CommitRequest:
        document = bench.document("users", name=name, handle=f"{name} {bench.runtime.uuid()}")
        return CommitRequest(timeline.latest_ts, IntervalSet(), (bench.write("users", None, document),), "users:add")

    outcomes = await asyncio.gather(
        *(committer.commit(inserting(name)) for name in ("ann", "bob", "ann", "cat")), return_exceptions=True
    )
    outcomes.append((await asyncio.gather(committer.commit(inserting("bob")), return_exceptions=True))[0])
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert len(refused) == 2
    for error, name in zip(refused, ("ann", "bob"), strict=True):
        assert isinstance(error, ConvexError)
        assert error.data == {
            "code": "unique",
            "table": "users",
            "index": "by_name",
            "fields": ["name"],
            "message": f'the unique index `users.by_name` holds this key already: name = "{name}"',
        }
    assert len(await bench.all("users", "by_name")) == 3


async def test_encoded_columns_and_several_fields_are_named(world: Any, make_plan: Any, make_bench: Any) -> None:
    plan = make_plan(t=define_table(a=v.any(), o=v.object(b=v.string())).index("by_both", ["a", "o.b"], unique=True))
    store = await world.open()
    bench = make_bench(store, await store.push(plan), world.runtime)
    await bench.insert("t", bench.document("t", a=[1.0, None], o={"b": "x" * 200}))
    with pytest.raises(WriteRefused) as refused:
        await bench.insert("t", bench.document("t", a=[1.0, None], o={"b": "x" * 200}))
    refusal = refused.value
    assert (refusal.table, refusal.index, refusal.fields) == ("t", "by_both", ("a", "o.b"))
    assert f'a = [1.0,null], o.b = "{"x" * 99}...' in refusal.message
