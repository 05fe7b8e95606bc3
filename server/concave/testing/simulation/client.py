"""A client by the rules of the npm package: what it sends, what it sends again, and what it takes for granted.

It knows nothing of the engine. What it takes for granted it checks: that Transitions chain (I3), that no Transition
shows a mutation's effect before the response is there (I4), that requests are answered once, that after a Transition it
holds a result for each of its queries. What it was shown goes into the history, to be checked against the model.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, Protocol

import orjson

from concave.testing.simulation.history import Call, History, Shown, Sight, Violation
from concave.testing.simulation.network import Connection
from concave.values.timestamps import ts_from_wire, ts_to_wire
from concave.values.types import Timestamp

APP_MODULE = "board"
Version = tuple[int, int, Timestamp]
START: Version = (0, 0, Timestamp(0))


class Surroundings(Protocol):
    """What a client asks of the simulated world."""

    history: History

    def connect(self, client: SimulatedClient, number: int) -> Connection | None:
        """A connection to some node, being opened; None if the node does not answer."""

    def later(self, delay_s: float, call: Callable[[], None]) -> None: ...

    def note(self, what: str, *details: object) -> None: ...

    def report(self, violation: Violation) -> None: ...


@dataclass(slots=True)
class _Request:
    """`sent_on` is the number of the first connection that it was sent on, None before."""

    message: dict[str, Any]
    call: Call
    status: Literal["not sent", "requested", "completed"] = "not sent"
    sent_on: int | None = None


@dataclass(slots=True)
class _Query:
    path: str
    args: dict[str, Any]
    journal: str | None = None

    @property
    def name(self) -> tuple[str, str]:
        return self.path, orjson.dumps(self.args, option=orjson.OPT_SORT_KEYS).decode()


class SimulatedClient:
    def __init__(self, name: str, session_id: str, world: Surroundings, random: Random) -> None:
        self.name = name
        self.session_id = session_id
        self._world = world
        self._random = random
        self._request_ids = itertools.count()
        self._query_ids = itertools.count()
        self._connections = 0
        self._connection: Connection | None = None
        self._is_open = False
        self._last_close_reason = "InitialConnect"
        self._max_observed = Timestamp(0)
        self._floor = Timestamp(0)
        """What this client had seen when the connection was opened: nothing older may be shown on it."""
        self._requests: dict[int, _Request] = {}
        self._queries: dict[int, _Query] = {}
        self._query_set = 0
        """The version last sent on this connection."""
        self._sets: dict[int, tuple[int, ...]] = {}
        """The ids of each version of the query set sent on this connection."""
        self._version = START
        self._results: dict[int, Shown] = {}
        """By query id; of this connection only."""
        self._shown: dict[tuple[str, str], Shown] = {}

    # -- what its user does -------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._reconnect()

    def mutate(self, function: str, args: dict[str, Any]) -> None:
        request_id = next(self._request_ids)
        message = {
            "type": "Mutation",
            "requestId": request_id,
            "udfPath": f"{APP_MODULE}:{function}",
            "args": [args],
        }
        call = Call(function, args)
        self._world.history.calls[self.session_id, request_id] = call
        request = self._requests[request_id] = _Request(message, call)
        self._world.note("call", self.name, request_id, function, args)
        if self._is_open:
            self._send_request(request)

    def subscribe(self, function: str, args: dict[str, Any]) -> None:
        if any(query.path == function and query.args == args for query in self._queries.values()):
            return
        query_id = next(self._query_ids)
        query = self._queries[query_id] = _Query(function, args)
        if self._is_open:
            self._modify([_add(query_id, query)])

    def unsubscribe(self) -> None:
        """Drop a query, if there is one."""
        if self._queries:
            query_id = self._random.choice(list(self._queries))
            del self._queries[query_id]
            if self._is_open:
                self._modify([{"type": "Remove", "queryId": query_id}])

    def cut(self) -> None:
        if self._connection is not None:
            self._connection.cut()

    # -- what the end of a run asks -----------------------------------------------------------------------------------

    @property
    def is_at_rest(self) -> bool:
        """Whether every request was answered and every query has a result."""
        return self._is_open and not self._requests and self._results.keys() == self._queries.keys()

    @property
    def waits_for(self) -> str:
        requests = [(number, request.call.path, request.status) for number, request in self._requests.items()]
        queries = [(number, query.path) for number, query in self._queries.items() if number not in self._results]
        return f"{self.name}: open={self._is_open} requests={requests} queries={queries}"

    @property
    def holds(self) -> dict[tuple[str, str], Shown]:
        return {query.name: self._results[number] for number, query in self._queries.items() if number in self._results}

    # -- the connection -----------------------------------------------------------------------------------------------

    def _reconnect(self) -> None:
        self._connection = self._world.connect(self, self._connections)
        if self._connection is None:
            self._world.later(0.02 + 0.2 * self._random.random(), self._reconnect)

    def opened(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._is_open = True
        self._version = START
        self._results = {}
        self._query_set = 0
        self._sets = {0: ()}
        connect: dict[str, Any] = {
            "type": "Connect",
            "sessionId": self.session_id,
            "connectionCount": self._connections,
            "lastCloseReason": self._last_close_reason,
            "clientTs": 0,
        }
        if self._max_observed:
            connect["maxObservedTimestamp"] = ts_to_wire(self._max_observed)
        self._floor = self._max_observed
        self._connections += 1
        self._send(connect)
        self._modify([_add(query_id, query) for query_id, query in self._queries.items()])
        for request in self._requests.values():
            self._send_request(request)

    def closed(self, connection: Connection, reason: str) -> None:
        if connection is not self._connection:
            return
        self._world.note("closed", self.name, reason)
        self._is_open = False
        self._connection = None
        self._last_close_reason = reason
        self._world.later(0.3 * self._random.random() ** 2, self._reconnect)

    def received(self, connection: Connection, data: bytes) -> None:
        if connection is not self._connection:
            return
        message = orjson.loads(data)
        kind = message["type"]
        try:
            if kind == "Transition":
                self._transition(message, connection.number)
            elif kind == "MutationResponse":
                self._response(message, connection.number)
            else:
                raise Violation("error", f"{self.name} was sent {message}")
        except Violation as violation:
            self._world.report(violation)

    # -- messages -----------------------------------------------------------------------------------------------------

    def _response(self, message: dict[str, Any], connection: int) -> None:
        request = self._requests.get(message["requestId"])
        self._world.note(
            "response", self.name, message["requestId"], message["success"], message["ts"], message["result"]
        )
        if request is None:
            return  # resolved by the first response, answered again after a reconnect
        ts = ts_from_wire(message["ts"]) if message["success"] else Timestamp(0)
        self._max_observed = max(self._max_observed, ts)
        if request.status == "completed":
            return
        if message["success"]:
            if request.sent_on == connection and self._version[2] >= ts:
                raise Violation(
                    "I4",
                    f"{self.name} was shown {self._version[2]} before it was told of request {message['requestId']}, "
                    f"committed at {ts}",
                )
            request.status = "completed"
            request.call.answer, request.call.ts = Shown(False, message["result"]), ts
        else:
            assert message["ts"] is None
            if "errorData" not in message:
                raise Violation("error", f"{self.name}: {request.call.path} failed: {message['result']}")
            request.call.answer, request.call.resolved = Shown(True, message["errorData"]), True
            del self._requests[message["requestId"]]

    def _transition(self, message: dict[str, Any], connection: int) -> None:
        start, end = _version(message["startVersion"]), _version(message["endVersion"])
        self._world.note("transition", self.name, connection, end, len(message["modifications"]))
        self._max_observed = max(self._max_observed, end[2])
        if start != self._version:
            raise Violation("I3", f"{self.name} is at {self._version} and was sent a Transition from {start} to {end}")
        if end[2] < start[2] or end[0] < start[0]:
            raise Violation("I3", f"{self.name} was sent back in time: from {start} to {end}")
        if end[2] < self._floor:
            raise Violation("I4", f"{self.name} had seen {self._floor} and was shown {end[2]} after a reconnect")
        self._version = end
        held = self._sets[end[0]]
        for modification in message["modifications"]:
            query_id = modification["queryId"]
            if modification["type"] == "QueryRemoved":
                self._results.pop(query_id, None)
                continue
            if modification["type"] == "QueryFailed":
                if "errorData" not in modification:
                    raise Violation("error", f"{self.name} was sent {modification}")
                shown = Shown(True, modification["errorData"])
            else:
                shown = Shown(False, modification["value"])
            self._results[query_id] = shown
            if query_id in self._queries:
                self._queries[query_id].journal = modification["journal"]
        # A query that the client has dropped meanwhile need not be there.
        wanted = [query_id for query_id in held if query_id in self._queries]
        if missing := [query_id for query_id in wanted if query_id not in self._results]:
            raise Violation("I2", f"{self.name} has no result for the queries {missing} at {end}")
        self._results = {query_id: self._results[query_id] for query_id in wanted}
        self._resolve(end[2])
        seen = {self._queries[query_id].name: shown for query_id, shown in self._results.items()}
        self._world.history.sights.append(Sight(self.name, connection, end[2], seen))

    def _resolve(self, ts: Timestamp) -> None:
        """The promises of mutations whose effects the client now sees."""
        for request_id, request in list(self._requests.items()):
            if request.status == "completed" and request.call.ts is not None and request.call.ts <= ts:
                request.call.resolved = True
                del self._requests[request_id]

    def _send_request(self, request: _Request) -> None:
        assert self._connection is not None
        request.call.sendings += 1
        if request.sent_on is None:
            request.sent_on = self._connection.number
        else:
            request.sent_on = -1  # sent before: it may have been committed long ago
        if request.status == "not sent":
            request.status = "requested"
        self._send(request.message)

    def _modify(self, modifications: list[dict[str, Any]]) -> None:
        base, self._query_set = self._query_set, self._query_set + 1
        self._sets[self._query_set] = tuple(self._queries)
        self._send(
            {
                "type": "ModifyQuerySet",
                "baseVersion": base,
                "newVersion": self._query_set,
                "modifications": modifications,
            }
        )

    def _send(self, message: dict[str, Any]) -> None:
        assert self._connection is not None
        self._connection.send_up(orjson.dumps(message))


def _add(query_id: int, query: _Query) -> dict[str, Any]:
    message = {"type": "Add", "queryId": query_id, "udfPath": f"{APP_MODULE}:{query.path}", "args": [query.args]}
    return message if query.journal is None else {**message, "journal": query.journal}


def _version(message: dict[str, Any]) -> Version:
    return message["querySet"], message["identity"], ts_from_wire(message["ts"])
