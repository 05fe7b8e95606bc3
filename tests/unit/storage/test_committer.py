"""The committer: validation, group commit, splitting, and the order in which people are told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from concave.storage.committer import CommitRequest, Committer, DuplicateRequestError
from concave.storage.recent_log import Published
from concave.storage.store import (
    DocumentWrite,
    FeedGap,
    IndexKeyChange,
    LogEntry,
    RemoteCommit,
    RequestRecord,
    SeqTaken,
    StoredRequest,
    WriteConflict,
    WriteRefused,
)
from concave.storage.timeline import Timeline
from concave.values.errors import ConflictError, ConvexError, DeveloperError, EngineError, OverloadError
from concave.values.intervals import IntervalSet, point
from concave.values.keys import encode_column
from concave.values.runtime import SystemRuntime
from concave.values.types import Timestamp

Script = Callable[[LogEntry], None]


class ScriptedStore:
    """The part of a store that the committer uses. A script may refuse an entry; time grows by 10 an entry.

    It does not keep documents: what is committed is told by `entries`.
    """

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.attempts: list[int] = []
        self.now = 100
        self.asked = 0
        self.script: Script = lambda entry: None
        self.hold: asyncio.Event | None = None
        self.stored: dict[tuple[str, int], StoredRequest] = {}

    async def append(self, entry: LogEntry) -> Timestamp:
        self.attempts.append(len(entry.writes))
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        self.script(entry)
        self.now += 10
        self.entries.append(entry)
        return Timestamp(self.now)

    async def ask_for_turn(self) -> None:
        self.asked += 1

    async def find_request(self, session_id: str, request_id: int) -> StoredRequest | None:
        return self.stored.get((session_id, request_id))

    async def current_ts(self) -> Timestamp:
        return Timestamp(self.now)

    async def last_seq(self, ts: Timestamp) -> int:
        return len(self.entries)


def insert(id: str) -> DocumentWrite:
    key = (encode_column(id),)
    return DocumentWrite("messages", id, None, {"_id": id}, (IndexKeyChange("by_id", None, key),))


def request(
    *ids: str,
    reads: tuple[str, ...] = (),
    at: int = 100,
    function: str = "messages:send",
    record: RequestRecord | None = None,
    on_committed: Callable[[Timestamp], None] | None = None,
) -> CommitRequest:
    read_set = IntervalSet()
    for id in reads:
        read_set.add(point("messages", id))
    writes = tuple(insert(id) for id in ids)
    return CommitRequest(Timestamp(at), read_set, writes, function, record, on_committed)


def wrote(entry: LogEntry) -> list[str]:
    return [write.id for write in entry.writes]


@pytest.fixture
def store() -> ScriptedStore:
    return ScriptedStore()


@pytest.fixture
def timeline() -> Timeline:
    return Timeline(Timestamp(100), 0)


@asynccontextmanager
async def running(store: ScriptedStore, timeline: Timeline) -> AsyncIterator[Committer]:
    committer = Committer(store, timeline, SystemRuntime(), node="me")  # type: ignore[arg-type]
    task = asyncio.create_task(committer.run())
    try:
        async with asyncio.timeout(10):
            yield committer
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_transaction_becomes_a_log_entry(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer:
        assert await committer.commit(request("a")) == 110
        assert await committer.commit(request("b")) == 120
    assert [(entry.seq, wrote(entry)) for entry in store.entries] == [(1, ["a"]), (2, ["b"])]
    assert timeline.latest_ts == 120


async def test_what_queues_up_during_a_commit_forms_one_batch(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer, asyncio.TaskGroup() as group:
        store.hold = asyncio.Event()
        group.create_task(committer.commit(request("first")))
        while not store.attempts:
            await asyncio.sleep(0)
        for number in range(10):
            group.create_task(committer.commit(request(f"m{number}")))
        await asyncio.sleep(0)
        store.hold.set()
    assert [len(entry.writes) for entry in store.entries] == [1, 10]
    assert committer.statistics().batch_members_max == 10


async def test_a_read_that_changed_since_the_snapshot_is_a_conflict(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer:
        await committer.commit(request("a", function="messages:send"))
        said = re.escape('A call to "messages:send" changed the document with ID "a".')
        with pytest.raises(ConflictError, match=said) as raised:
            await committer.commit(request("b", reads=("a",), at=100, function="messages:edit"))
        assert raised.value.table == "messages"
        assert raised.value.is_own
        await committer.commit(request("b", reads=("a",), at=110))
    assert [wrote(entry) for entry in store.entries] == [["a"], ["b"]]


async def test_the_conflict_with_the_same_function_says_so(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer:
        await committer.commit(request("a"))
        with pytest.raises(ConflictError, match="Another call to this mutation"):
            await committer.commit(request("b", reads=("a",), at=100))


async def test_an_earlier_member_of_the_batch_beats_a_later_one(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer:
        # Write skew: each reads what the other writes. Exactly one may pass.
        outcomes = await asyncio.gather(
            committer.commit(request("x", reads=("y",))),
            committer.commit(request("y", reads=("x",))),
            return_exceptions=True,
        )
    assert [type(outcome) for outcome in outcomes] == [int, ConflictError]
    assert [wrote(entry) for entry in store.entries] == [["x"]]


async def test_a_transaction_without_writes_commits_at_its_snapshot(store: ScriptedStore, timeline: Timeline) -> None:
    told: list[Timestamp] = []
    async with running(store, timeline) as committer:
        await committer.commit(request("a"))
        assert await committer.commit(request(reads=("a",), at=100, on_committed=told.append)) == 100
    assert told == [100]
    assert len(store.entries) == 1


async def test_members_are_told_before_listeners(store: ScriptedStore, timeline: Timeline) -> None:
    order: list[str] = []

    def listen(published: Published) -> None:
        order.append(f"published {published.ts} while at {timeline.latest_ts}")

    timeline.add_listener(listen)
    async with running(store, timeline) as committer:
        await committer.commit(request("a", on_committed=lambda ts: order.append(f"told {ts}")))
    assert order == ["told 110", "published 110 while at 100"]


async def test_the_member_at_fault_fails_alone(store: ScriptedStore, timeline: Timeline) -> None:
    def refuse(entry: LogEntry) -> None:
        if "bad" in wrote(entry):
            position = wrote(entry).index("bad")
            raise WriteRefused("unique", "name is taken", position, "by_name", table="t", fields=("name",))

    store.script = refuse
    async with running(store, timeline) as committer:
        outcomes = await asyncio.gather(
            *(committer.commit(request(id)) for id in ("a", "bad", "c")), return_exceptions=True
        )
    error = outcomes[1]
    assert isinstance(error, ConvexError)
    assert error.data == {
        "code": "unique",
        "table": "t",
        "index": "by_name",
        "fields": ["name"],
        "message": "name is taken",
    }
    assert [wrote(entry) for entry in store.entries] == [["a", "c"]]


async def test_a_batch_is_halved_until_the_unnamed_culprit_is_found(store: ScriptedStore, timeline: Timeline) -> None:
    def refuse(entry: LogEntry) -> None:
        if "bad" in wrote(entry):
            raise WriteRefused("validator", "document failed validation")

    store.script = refuse
    ids = ["a", "b", "c", "bad", "e", "f", "g"]
    async with running(store, timeline) as committer:
        outcomes = await asyncio.gather(*(committer.commit(request(id)) for id in ids), return_exceptions=True)
    assert [id for id, outcome in zip(ids, outcomes, strict=True) if isinstance(outcome, DeveloperError)] == ["bad"]
    assert sorted(id for entry in store.entries for id in wrote(entry)) == sorted(set(ids) - {"bad"})


async def test_a_foreign_writer_in_the_way_is_a_conflict_for_one_and_a_split_for_many(
    store: ScriptedStore, timeline: Timeline
) -> None:
    def refuse(entry: LogEntry) -> None:
        if "contended" in wrote(entry):
            raise WriteConflict("WriteConflict")

    store.script = refuse
    async with running(store, timeline) as committer:
        outcomes = await asyncio.gather(
            *(committer.commit(request(id)) for id in ("a", "contended")), return_exceptions=True
        )
    assert isinstance(outcomes[1], ConflictError)
    assert [wrote(entry) for entry in store.entries] == [["a"]]


async def test_a_resend_is_answered_with_the_first_outcome(store: ScriptedStore, timeline: Timeline) -> None:
    record = RequestRecord("session", 3, b'"first"', ())
    store.stored["session", 3] = StoredRequest(record, Timestamp(50))

    def refuse(entry: LogEntry) -> None:
        for position, stored in enumerate(entry.requests):
            if stored.request_id == 3:
                raise WriteRefused("duplicate_request", "stored", position=position)

    store.script = refuse
    async with running(store, timeline) as committer:
        outcomes = await asyncio.gather(
            committer.commit(request("a", record=RequestRecord("session", 2, b"null", ()))),
            committer.commit(request("b", record=record)),
            return_exceptions=True,
        )
    error = outcomes[1]
    assert isinstance(error, DuplicateRequestError)
    assert error.stored.record.result_json == b'"first"'
    assert [wrote(entry) for entry in store.entries] == [["a"]]


async def test_losing_the_race_for_a_number_validates_against_the_winner(
    store: ScriptedStore, timeline: Timeline
) -> None:
    winner = LogEntry(1, "other", "batch", (insert("a"),), ts=Timestamp(105))

    def refuse(entry: LogEntry) -> None:
        if entry.seq == 1:
            asyncio.get_running_loop().call_soon(timeline.receive, RemoteCommit(winner))
            raise SeqTaken

    store.script = refuse
    async with running(store, timeline) as committer:
        outcomes = await asyncio.gather(
            committer.commit(request("b", reads=("a",))), committer.commit(request("c")), return_exceptions=True
        )
    assert isinstance(outcomes[0], ConflictError)
    assert [(entry.seq, wrote(entry)) for entry in store.entries] == [(2, ["c"])]
    assert store.asked == 1


async def test_a_lost_connection_promises_nothing_and_starts_again(store: ScriptedStore, timeline: Timeline) -> None:
    gaps: list[Published] = []
    timeline.add_listener(lambda published: gaps.append(published) if published.everything else None)

    def refuse(entry: LogEntry) -> None:
        if wrote(entry) == ["a"]:
            raise ConnectionResetError("connection lost")

    store.script = refuse
    async with running(store, timeline) as committer:
        with pytest.raises(EngineError):
            await committer.commit(request("a"))
        await timeline.wait_for_seq(1)
        await committer.commit(request("b", at=int(timeline.latest_ts)))
    assert len(gaps) == 1
    # An empty entry has taken the number, so that the lost one can never come.
    assert [wrote(entry) for entry in store.entries] == [[], ["b"]]


async def test_closing_fails_whoever_waits(store: ScriptedStore, timeline: Timeline) -> None:
    async with asyncio.timeout(10):
        store.hold = asyncio.Event()
        async with running(store, timeline) as committer:
            waiting = [asyncio.create_task(committer.commit(request(id))) for id in ("a", "b")]
            while not store.attempts:
                await asyncio.sleep(0)
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [OverloadError, OverloadError]
    with pytest.raises(OverloadError):
        await committer.commit(request("c"))


async def test_the_feed_is_held_while_a_commit_is_in_flight(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer:
        store.hold = asyncio.Event()
        commit = asyncio.create_task(committer.commit(request("a")))
        while not store.attempts:
            await asyncio.sleep(0)
        timeline.receive(FeedGap(Timestamp(104), 0))
        assert timeline.latest_ts == 100
        store.hold.set()
        assert await commit == 110
    assert timeline.latest_ts == 110


# -- chains ------------------------------------------------------------------------------------------------------


def change(id: str, before: int, after: int | None) -> DocumentWrite:
    key = (encode_column(id),)
    old, new = {"_id": id, "n": float(before)}, None if after is None else {"_id": id, "n": float(after)}
    return DocumentWrite("messages", id, old, new, (IndexKeyChange("by_id", key, None if after is None else key),))


def link(*writes: DocumentWrite, reads: tuple[str, ...] = ("a",), at: int = 100) -> CommitRequest:
    return replace(request(reads=reads, at=at), writes=writes)


async def test_a_chain_is_one_write_of_each_document(store: ScriptedStore, timeline: Timeline) -> None:
    links = [link(change("a", 0, 1)), link(change("a", 1, 2), insert("b")), link(), link(change("a", 2, 3))]
    async with running(store, timeline) as committer:
        assert await committer.commit_chain(links) == [110] * 4
    [entry] = store.entries
    assert [(write.before, write.after) for write in entry.writes] == [
        ({"_id": "a", "n": 0.0}, {"_id": "a", "n": 3.0}),
        (None, {"_id": "b"}),
    ]


async def test_what_a_chain_makes_and_removes_is_not_written(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer:
        outcomes = await committer.commit_chain([link(insert("a"), insert("b")), link(change("a", 0, None))])
    assert outcomes == [110, 110]
    assert [wrote(entry) for entry in store.entries] == [["b"]]


async def test_a_chain_falls_from_the_first_that_lost(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer:
        await committer.commit(request("z"))
        outcomes = await committer.commit_chain(
            [link(change("a", 0, 1)), link(change("a", 1, 2), reads=("a", "z")), link(insert("c"), reads=())]
        )
    assert outcomes[0] == 120
    assert all(isinstance(outcome, ConflictError) and outcome.is_own for outcome in outcomes[1:])
    assert [wrote(entry) for entry in store.entries] == [["z"], ["a"]]


async def test_a_chain_falls_from_the_member_at_fault(store: ScriptedStore, timeline: Timeline) -> None:
    def refuse(entry: LogEntry) -> None:
        if "bad" in wrote(entry):
            raise WriteRefused("unique", "name is taken", position=wrote(entry).index("bad"), index="by_name")

    store.script = refuse
    async with running(store, timeline) as committer:
        outcomes = await committer.commit_chain([link(change("a", 0, 1)), link(insert("bad")), link(change("a", 1, 2))])
    assert outcomes[0] == 110
    assert isinstance(outcomes[1], ConvexError)
    assert isinstance(outcomes[2], ConflictError)
    assert [[write.after for write in entry.writes] for entry in store.entries] == [[{"_id": "a", "n": 1.0}]]


async def test_a_fault_in_a_document_that_several_wrote_is_found_by_halving(
    store: ScriptedStore, timeline: Timeline
) -> None:
    def refuse(entry: LogEntry) -> None:
        if any(write.after == {"_id": "a", "n": 2.0} for write in entry.writes):
            raise WriteRefused("validator", "document failed validation", position=0)

    store.script = refuse
    links = [link(change("a", 0, 1)), link(change("a", 1, 2))]
    async with running(store, timeline) as committer:
        outcomes = await committer.commit_chain(links)
        assert outcomes[0] == 110
        assert isinstance(outcomes[1], ConflictError), "it ran on what was not yet committed, and runs again"
        [outcome] = await committer.commit_chain([link(change("a", 1, 2), at=110)])
        assert isinstance(outcome, DeveloperError)


async def test_those_outside_of_a_chain_lose_to_it(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer:
        chain, outside = await asyncio.gather(
            committer.commit_chain([link(change("a", 0, 1)), link(change("a", 1, 2))]),
            committer.commit(request("d", reads=("a",))),
            return_exceptions=True,
        )
    assert chain == [110, 110]
    assert isinstance(outside, ConflictError)


async def test_a_member_that_only_read_is_validated(store: ScriptedStore, timeline: Timeline) -> None:
    async with running(store, timeline) as committer:
        await committer.commit(request("a"))
        [stale] = await committer.commit_chain([link()])
        [fresh] = await committer.commit_chain([link(at=110)])
    assert isinstance(stale, ConflictError)
    assert fresh == 110
    assert len(store.entries) == 1


async def test_a_conflict_in_the_database_ends_the_chain(store: ScriptedStore, timeline: Timeline) -> None:
    """What the second wrote was made from what the first wrote, and did not, in the end."""
    refusals = 2

    def refuse(entry: LogEntry) -> None:
        nonlocal refusals
        refusals -= 1
        if refusals >= 0:
            raise WriteConflict("a foreign writer")

    store.script = refuse
    async with running(store, timeline) as committer:
        outcomes = await committer.commit_chain([request("a"), request("b")])
    assert [type(outcome) for outcome in outcomes] == [ConflictError, ConflictError]
    assert store.entries == []
