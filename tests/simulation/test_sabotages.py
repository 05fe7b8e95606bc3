"""The simulator finds what we break on purpose.

Each sabotage takes one safeguard out of the engine; the simulator must notice within `SEEDS_MAX` seeds. What it notices
is not always the invariant that one would name first: a commit that nobody was told of is a wrong view (I2) as soon as
a client looks, and a lost update (I1) as soon as somebody writes.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from concave.functions import mutations
from concave.reactive import engine as engine_module
from concave.reactive.content import Content
from concave.reactive.engine import Engine
from concave.reactive.invalidation import InvalidationIndex
from concave.reactive.live_query import Version
from concave.reactive.refresh import RefreshRounds
from concave.storage.committer import Committer, _BatchKeys, _Member
from concave.storage.recent_log import RecentLog
from concave.storage.store import FeedProgress
from concave.storage.timeline import Timeline
from concave.sync.session import Session
from concave.testing.simulation.run import simulate
from concave.testing.simulation.store import SimulatedStore
from concave.values.intervals import IntervalSet
from concave.values.types import Timestamp

SEEDS_MAX = 400

Patch = pytest.MonkeyPatch


def _blind_while(patch: Patch, owner: type, method: str, first_hit: Callable[..., Any]) -> None:
    """The recent log answers with `first_hit` as long as `owner.method`, which is no coroutine, is running."""
    run, honest = getattr(owner, method), RecentLog.first_hit

    def blind(self: Any, *args: Any) -> Any:
        RecentLog.first_hit = first_hit  # type: ignore[method-assign]
        try:
            return run(self, *args)
        finally:
            RecentLog.first_hit = honest  # type: ignore[method-assign]

    patch.setattr(owner, method, blind)


# -- the commit path: I1 --------------------------------------------------------------------------------------------


def no_validation_against_the_log(patch: Patch) -> None:
    _blind_while(patch, Committer, "_validate", lambda self, read_set, after: None)


def validation_from_one_commit_too_late(patch: Patch) -> None:
    honest = RecentLog.first_hit

    def first_hit(self: RecentLog, read_set: IntervalSet, after: Timestamp) -> Any:
        position = bisect_right(self._timestamps, after)
        return honest(self, read_set, self._timestamps[position]) if position < len(self._timestamps) else None

    _blind_while(patch, Committer, "_validate", first_hit)


def validation_from_one_timestamp_too_late(patch: Patch) -> None:
    honest = RecentLog.first_hit
    _blind_while(
        patch, Committer, "_validate", lambda self, read_set, after: honest(self, read_set, Timestamp(after + 1))
    )


def no_validation_within_the_batch(patch: Patch) -> None:
    patch.setattr(_BatchKeys, "first_hit", lambda self, read_set: None)


def a_chain_outlives_its_members(patch: Patch) -> None:
    """What ran on top of a mutation is committed although that one is not."""
    patch.setattr(_Member, "break_chain", lambda self: None)


def ranges_that_were_read_are_forgotten(patch: Patch) -> None:
    add = IntervalSet.add

    def only_points(self: IntervalSet, interval: Any) -> None:
        if interval.index == "by_id":
            add(self, interval)

    patch.setattr(IntervalSet, "add", only_points)


# -- the timeline: I2, I7 -------------------------------------------------------------------------------------------


def published_after_time_has_moved(patch: Patch) -> None:
    publish = Timeline._publish

    def late(self: Timeline, published: Any) -> None:
        self._latest_ts = max(self._latest_ts, published.ts)
        self._changed.set()
        asyncio.get_running_loop().call_later(0.001, publish, self, published)

    patch.setattr(Timeline, "_publish", late)


def announced_after_it_was_published(patch: Patch) -> None:
    end_append = Timeline.end_append

    def end(self: Timeline, entry: Any, published: Any, announce: Callable[[], None]) -> None:
        end_append(self, entry, published, lambda: asyncio.get_running_loop().call_later(0.003, announce))

    patch.setattr(Timeline, "end_append", end)


def feed_is_not_held_during_own_commits(patch: Patch) -> None:
    patch.setattr(Timeline, "receive", Timeline._receive)


def progress_of_the_feed_is_believed_too_early(patch: Patch) -> None:
    """Time moves on to what the database has, not to what the feed has brought."""
    receive = Timeline._receive

    def early(self: Timeline, event: Any) -> None:
        if not isinstance(event, FeedProgress):
            receive(self, FeedProgress(event.ts))
        asyncio.get_running_loop().call_later(0.002, receive, self, event)

    patch.setattr(Timeline, "_receive", early)


# -- live queries: I2, I7 -------------------------------------------------------------------------------------------


def _keys_ignored(patch: Patch, **gone: None) -> None:
    hits = InvalidationIndex.hits

    def some(self: InvalidationIndex, published: Any) -> Any:
        writes = tuple(
            replace(write, keys=tuple(replace(change, **gone) for change in write.keys)) for write in published.writes
        )
        return hits(self, replace(published, writes=writes))

    patch.setattr(InvalidationIndex, "hits", some)


def invalidation_ignores_keys_before(patch: Patch) -> None:
    _keys_ignored(patch, before=None)


def invalidation_ignores_keys_after(patch: Patch) -> None:
    _keys_ignored(patch, after=None)


def commits_during_a_run_are_not_looked_for(patch: Patch) -> None:
    _blind_while(patch, RefreshRounds, "_install", lambda self, read_set, after: None)


def snapshots_are_mixed_in_one_transition(patch: Patch) -> None:
    execute = Engine._execute

    async def newest(self: Engine, live: Any, ts: Timestamp) -> Version:
        await asyncio.sleep(0.002)
        version = await execute(self, live, self.latest_ts)
        version.ts = ts
        return version

    patch.setattr(Engine, "_execute", newest)


def a_gap_in_the_feed_is_ignored(patch: Patch) -> None:
    publish = RefreshRounds.publish

    def ignore(self: RefreshRounds, published: Any) -> None:
        if not published.everything:
            publish(self, published)

    patch.setattr(RefreshRounds, "publish", ignore)


# -- sessions: I3, I4 -----------------------------------------------------------------------------------------------


def the_response_follows_the_transition(patch: Patch) -> None:
    """The session is told of the commit when the call returns, and takes its time."""
    mutation = Engine.mutation

    async def slow(self: Engine, path: str, args: Any, **options: Any) -> Any:
        options.pop("on_committed", None)
        outcome = await mutation(self, path, args, **options)
        await asyncio.sleep(0.005)
        return outcome

    patch.setattr(Engine, "mutation", slow)


def results_of_one_length_are_taken_for_equal(patch: Patch) -> None:
    patch.setattr(Content, "looks_like", lambda self, other: self is other or len(self.body) == len(other.body))


def no_time_is_too_early_for_a_client(patch: Patch) -> None:
    """A client that has seen a newer time on another node is shown an older one."""
    receive = Session.receive

    def forget(self: Session, text: Any) -> None:
        receive(self, text)
        self.floor_ts = self.state.floor_ts = Timestamp(0)

    patch.setattr(Session, "receive", forget)
    finished = Session._mutation_finished

    def forget_commit(self: Session, outcome: Any) -> None:
        finished(self, outcome)
        self.floor_ts = self.state.floor_ts = Timestamp(0)

    patch.setattr(Session, "_mutation_finished", forget_commit)


# -- requests and lost answers: I5, I6 ------------------------------------------------------------------------------


def mutations_leave_no_record(patch: Patch) -> None:
    commit = Committer.commit
    patch.setattr(Committer, "commit", lambda self, request: commit(self, replace(request, record=None)))


def records_are_looked_up_under_another_number(patch: Patch) -> None:
    find = mutations.find_request

    async def find_other(store: Any, session_id: str, request_id: int) -> Any:
        return await find(store, session_id, max(0, request_id - 1))

    patch.setattr(mutations, "find_request", find_other)
    patch.setattr(engine_module, "find_request", find_other)


def records_are_not_unique(patch: Patch) -> None:
    """The database forgets what it has; a resend is then executed again."""
    append = SimulatedStore._append

    async def forgetful(self: SimulatedStore, entry: Any) -> Timestamp:
        ts = await append(self, entry)
        self._inner.database.requests.clear()
        return ts

    patch.setattr(SimulatedStore, "_append", forgetful)


def one_batch_takes_a_request_twice(patch: Patch) -> None:
    validate = Committer._validate

    def once_each(self: Committer, members: Any) -> Any:
        records = [member.request.record for member in members]
        for number, member in enumerate(members):
            if member.request.record is not None:
                unheard = replace(member.request.record, request_id=-1 - number)
                member.request = replace(member.request, record=unheard)
        accepted = validate(self, members)
        for member, record in zip(members, records, strict=True):
            if record is not None:
                member.request = replace(member.request, record=record)
        return accepted

    patch.setattr(Committer, "_validate", once_each)


def the_number_of_a_lost_commit_is_not_settled(patch: Patch) -> None:
    async def leave_it(self: Committer, seq: int) -> None:
        """It may still come."""

    patch.setattr(Committer, "_fence", leave_it)


def a_lost_commit_is_taken_for_none(patch: Patch) -> None:
    async def abort(self: Timeline, store: Any, runtime: Any) -> None:
        self.abort_append()

    patch.setattr(Timeline, "lose_append", abort)


def a_settled_commit_gets_a_later_time(patch: Patch) -> None:
    async def later(self: SimulatedStore, entry: Any) -> Timestamp:
        return self._inner.database.latest

    patch.setattr(SimulatedStore, "_settled_ts", later)


def failures_are_acknowledged_as_commits(patch: Patch) -> None:
    """Who waits is told before the database has answered."""
    append = SimulatedStore.append

    async def hope(self: SimulatedStore, entry: Any) -> Timestamp:
        try:
            return await append(self, entry)
        except Exception:
            return Timestamp(self._inner.database.latest + 1)

    patch.setattr(SimulatedStore, "append", hope)


SABOTAGES: list[Callable[[Patch], None]] = [
    no_validation_against_the_log,
    validation_from_one_commit_too_late,
    validation_from_one_timestamp_too_late,
    no_validation_within_the_batch,
    a_chain_outlives_its_members,
    ranges_that_were_read_are_forgotten,
    published_after_time_has_moved,
    announced_after_it_was_published,
    feed_is_not_held_during_own_commits,
    progress_of_the_feed_is_believed_too_early,
    invalidation_ignores_keys_before,
    invalidation_ignores_keys_after,
    commits_during_a_run_are_not_looked_for,
    snapshots_are_mixed_in_one_transition,
    a_gap_in_the_feed_is_ignored,
    the_response_follows_the_transition,
    results_of_one_length_are_taken_for_equal,
    no_time_is_too_early_for_a_client,
    mutations_leave_no_record,
    records_are_looked_up_under_another_number,
    records_are_not_unique,
    one_batch_takes_a_request_twice,
    the_number_of_a_lost_commit_is_not_settled,
    a_lost_commit_is_taken_for_none,
    a_settled_commit_gets_a_later_time,
    failures_are_acknowledged_as_commits,
]


# Some need trouble of one kind that is rare in ordinary runs.
STRESS: dict[Callable[[Patch], None], dict[str, float]] = {
    a_chain_outlives_its_members: {
        "cut": 8.0,
        "store_delay_s": 0.006,
        "network_delay_s": 0.0005,
        "write_conflict": 0.2,
    },
    one_batch_takes_a_request_twice: {"cut": 8.0, "store_delay_s": 0.006, "network_delay_s": 0.0005},
    the_number_of_a_lost_commit_is_not_settled: {"append_late": 0.3, "feed_delay_s": 0.0005},
    a_settled_commit_gets_a_later_time: {"append_settled": 0.3, "feed_delay_s": 0.03, "crash": 0.0},
}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda sabotage: sabotage.__name__)
def test_it_is_found(sabotage: Callable[[Patch], None], monkeypatch: Patch) -> None:
    sabotage(monkeypatch)
    for seed in range(SEEDS_MAX):
        violation = simulate(seed, stress=STRESS.get(sabotage)).violation
        if violation is not None:
            print(f"{sabotage.__name__}: seed {seed}: {violation}")
            return
    pytest.fail(f"{sabotage.__name__} was not found in {SEEDS_MAX} seeds")
