"""The checks at the end of a run: the commit log against the model, and what clients saw against the log.

The log says in what order mutations took effect; the model says what each of them does. So the history is
serializable in the log's order if replaying it gives the very documents and results that were stored (I1), and a client
saw the truth if the model's queries give what it was shown, at the state as of the Transition's timestamp (I2).

Queries on what other programs write are only required to show some earlier truth (ARCHITECTURE.md states the gap), and
the newest in the end (I7).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import orjson

from concave.storage.memory import MemoryDatabase
from concave.storage.store import LogEntry, RequestRecord
from concave.testing.simulation.client import SimulatedClient
from concave.testing.simulation.history import Call, History, Shown, Sight, Violation
from concave.testing.simulation.model import (
    EMPTY,
    FOREIGN,
    MUTATIONS,
    QUERIES,
    TABLES,
    Fresh,
    ModelFailure,
    ModelTransaction,
    State,
    changed,
    identity,
)
from concave.values.types import Timestamp


class Checks:
    """Raises the first `Violation` that it finds."""

    def __init__(self, history: History, database: MemoryDatabase) -> None:
        self._history = history
        self._database = database
        self._timestamps: list[Timestamp] = [Timestamp(0)]
        self._states: list[State] = [EMPTY]
        """The state from each timestamp on."""
        self._within: list[State] = []
        """The states between the mutations of one entry: no query sees them, but a function that failed may have."""
        self._evaluated: dict[tuple[int, str, str], Shown] = {}
        self.committed: dict[tuple[str, int], LogEntry] = {}

    def check(self, clients: list[SimulatedClient]) -> None:
        self._replay()
        self._check_documents()
        for key, call in self._history.calls.items():
            self._check_call(key, call)
        for sight in self._history.sights:
            self._check_sight(sight)
        for client in clients:
            self._check_rest(client)

    # -- I1, I6: the log ----------------------------------------------------------------------------------------------

    def _replay(self) -> None:
        foreign = [*self._history.foreign]
        for number, entry in enumerate(self._database.entries, 1):
            assert entry.seq == number
            while foreign and foreign[0].ts < entry.ts:
                change = foreign.pop(0)
                self._add_state(change.ts, [(change.table, change.id, change.document)])
            self._replay_entry(entry)
        for change in foreign:
            self._add_state(change.ts, [(change.table, change.id, change.document)])

    def _replay_entry(self, entry: LogEntry) -> None:
        state = self._states[-1]
        fresh = _fresh(entry)
        for record in entry.requests:
            key = record.session_id, record.request_id
            if key in self.committed:
                raise Violation("I6", f"request {key} was committed by entry {self.committed[key].seq} and {entry.seq}")
            self.committed[key] = entry
            state = self._replay_mutation(entry, record, state, fresh)
            self._within.append(state)
        self._add_state(entry.ts, [(write.table, write.id, write.after) for write in entry.writes])
        if state != self._states[-1]:
            calls = [self._history.calls[record.session_id, record.request_id] for record in entry.requests]
            difference = {
                table: [row for row in rows.items() if row not in self._states[-1][table].items()]
                for table, rows in state.items()
                if rows != self._states[-1][table]
            }
            raise Violation(
                "I1",
                f"entry {entry.seq} ({entry.ts}) of {[(call.path, call.args) for call in calls]} wrote "
                f"{[(write.table, write.after) for write in entry.writes]}; run at their place they make {difference}",
            )

    def _replay_mutation(self, entry: LogEntry, record: RequestRecord, state: State, fresh: Fresh) -> State:
        """Run one mutation again; the state after it."""
        call = self._history.calls.get((record.session_id, record.request_id))
        if call is None:
            raise Violation("I6", f"entry {entry.seq} holds a request that nobody made: {record}")
        where = (
            f"entry {entry.seq} ({entry.ts}): {call.path}({call.args}) of {record.session_id[:4]}/{record.request_id}"
        )
        transaction = ModelTransaction(state, fresh)
        try:
            result = MUTATIONS[call.path](transaction, **call.args)
        except ModelFailure as failure:
            raise Violation("I1", f"{where} was committed, but run at its place it fails: {failure.data}") from failure
        stored = orjson.loads(record.result_json)
        if stored != result:
            raise Violation("I1", f"{where} returned {stored}, and {result} when run at its place")
        return transaction.state

    def _add_state(self, ts: Timestamp, writes: list[tuple[str, str, dict[str, Any] | None]]) -> None:
        assert ts > self._timestamps[-1]
        self._timestamps.append(ts)
        self._states.append(changed(self._states[-1], writes))

    def _check_documents(self) -> None:
        """The collections hold what the log says (I5)."""
        for table in TABLES:
            held = {key: version.document for key, version in self._database.tables[table].current.items()}
            if held != self._states[-1][table]:
                raise Violation("I5", f"{table} holds {held}, but the log makes it {self._states[-1][table]}")

    # -- I5, I4: answers ----------------------------------------------------------------------------------------------

    def _check_call(self, key: tuple[str, int], call: Call) -> None:
        entry = self.committed.get(key)
        name = f"{call.path}({call.args}) of {key[0][:4]}/{key[1]}"
        if call.answer is None:
            return
        if call.answer.failed:
            # The stated gap of I6: the first sending may be committed after the second has failed.
            if entry is not None and call.sendings == 1:
                raise Violation("I6", f"{name} failed at its client, and was committed by entry {entry.seq}")
            self._check_failure(name, call)
            return
        if entry is None:
            raise Violation(
                "I5", f"{name} was acknowledged with {call.answer.content} at {call.ts} and is not in the log"
            )
        record = next(record for record in entry.requests if (record.session_id, record.request_id) == key)
        if orjson.loads(record.result_json) != call.answer.content:
            raise Violation("I6", f"{name} returned {record.result_json!r}, its client was told {call.answer.content}")
        if call.ts is None or call.ts < entry.ts:
            raise Violation("I4", f"{name} was committed at {entry.ts}, its client was told {call.ts}")

    def _check_failure(self, name: str, call: Call) -> None:
        """A function that failed was run at some state that there was."""
        assert call.answer is not None
        for state in (*self._states, *self._within):
            try:
                MUTATIONS[call.path](ModelTransaction(state, {}), **call.args)
            except ModelFailure as failure:
                if failure.data == call.answer.content:
                    return
            except IndexError:
                continue
        raise Violation("I1", f"{name} failed with {call.answer.content}, which it does at no state there was")

    # -- I2, I7: what clients saw -------------------------------------------------------------------------------------

    def _check_sight(self, sight: Sight) -> None:
        number = bisect_right(self._timestamps, sight.ts) - 1
        for (path, args), shown in sight.results.items():
            if path in FOREIGN:
                if not any(self._evaluate(earlier, path, args) == shown for earlier in range(number + 1)):
                    raise Violation("I7", f"{sight.client} was shown {path}({args}) = {shown}, which never was so")
                continue
            true = self._evaluate(number, path, args)
            if true != shown:
                raise Violation(
                    "I2",
                    f"{sight.client} on connection {sight.connection} was shown {path}({args}) = {shown} "
                    f"at {sight.ts}, where it is {true} (newest commit {self._timestamps[number]})",
                )

    def _check_rest(self, client: SimulatedClient) -> None:
        for (path, args), shown in client.holds.items():
            true = self._evaluate(len(self._states) - 1, path, args)
            if true != shown:
                raise Violation("I7", f"{client.name} holds {path}({args}) = {shown} in the end, where it is {true}")

    def _evaluate(self, number: int, path: str, args: str) -> Shown:
        known = self._evaluated.get((number, path, args))
        if known is None:
            try:
                known = Shown(False, QUERIES[path](self._states[number], **orjson.loads(args)))
            except ModelFailure as failure:
                known = Shown(True, failure.data)
            self._evaluated[number, path, args] = known
        return known


def _fresh(entry: LogEntry) -> Fresh:
    """Ids and creation times of the documents that the entry inserts."""
    return {
        identity(write.table, write.after): (write.id, write.after["_creationTime"])
        for write in entry.writes
        if write.before is None and write.after is not None
    }
