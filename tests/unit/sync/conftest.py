"""A client that checks what every Transition must keep to, as the official clients do or would like to."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from concave.sync.limits import DEFAULT_SESSION_LIMITS, SessionLimits
from concave.sync.session import CallerVerifier, NobodyVerifies, Session

ZERO = {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}


def ts_of(wire: str) -> int:
    return int.from_bytes(base64.b64decode(wire), "little")


class Client:
    """One connection: the transport of a `Session`, and the state that the messages build up in a client.

    Checks I3 on every Transition and, with `queries`, I2: each result equals what the query returns at the end
    version's timestamp. With `reads` false messages stay in the transport until `take` is called.
    """

    def __init__(
        self, node: Any, limits: SessionLimits = DEFAULT_SESSION_LIMITS, verifier: CallerVerifier | None = None
    ) -> None:
        self.node = node
        self.session = Session(node, node.runtime, self, limits, verifier or NobodyVerifies())
        self.reads = True
        self.outbox: list[tuple[bytes, bool]] = []
        self.messages: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.version = ZERO
        self.sets: dict[int, dict[int, tuple[str, Any]]] = {0: {}}
        """The queries of each query set version that was sent."""
        self.sent_version = 0
        self.results: dict[int, dict[str, Any]] = {}
        self.journals: dict[int, str | None] = {}
        self.responses: dict[int, dict[str, Any]] = {}
        self.resolved: set[int] = set()
        """Mutations that a Transition has covered after their response."""

    # -- Transport ----------------------------------------------------------------------------------------------------

    def send(self, data: bytes, is_transition: bool) -> bool:
        assert self.closed is None
        if self.reads and not self.outbox:
            self._take(data)
            return True
        self.outbox.append((data, is_transition))
        return False

    def close(self, code: int, reason: str) -> None:
        assert self.closed is None
        self.closed = (code, reason)

    def take(self, count: int = 1_000) -> None:
        """Read up to `count` messages that wait."""
        for _ in range(min(count, len(self.outbox))):
            data, is_transition = self.outbox.pop(0)
            self._take(data)
            if is_transition:
                self.session.transition_sent()

    # -- what a client says -------------------------------------------------------------------------------------------

    def say(self, type: str, **fields: Any) -> None:
        self.session.receive(orjson.dumps({"type": type, **fields}))
        self.session.state.validate()

    def connect(self, **fields: Any) -> None:
        self.say("Connect", **{"sessionId": "s", "connectionCount": 0, "lastCloseReason": None, "clientTs": 0} | fields)

    def modify(self, add: dict[int, tuple[str, Any]] | None = None, remove: tuple[int, ...] = (), **extra: Any) -> None:
        queries = dict(self.sets[self.sent_version])
        modifications: list[dict[str, Any]] = []
        for query_id in remove:
            queries.pop(query_id, None)
            modifications.append({"type": "Remove", "queryId": query_id})
        for query_id, (path, args) in (add or {}).items():
            queries[query_id] = (path, args)
            modifications.append({"type": "Add", "queryId": query_id, "udfPath": path, "args": [args], **extra})
        base, self.sent_version = self.sent_version, self.sent_version + 1
        self.sets[self.sent_version] = queries
        for query_id in remove:
            self.results.pop(query_id, None)
        self.say("ModifyQuerySet", baseVersion=base, newVersion=self.sent_version, modifications=modifications)

    def mutate(self, request_id: int, path: str = "add", **args: Any) -> None:
        self.say("Mutation", requestId=request_id, udfPath=path, args=[args])

    # -- what it makes of the answers ---------------------------------------------------------------------------------

    @property
    def transitions(self) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == "Transition"]

    @property
    def ts(self) -> int:
        return ts_of(self.version["ts"])  # type: ignore[arg-type]

    def values(self) -> dict[int, Any]:
        return {query_id: result.get("value", result.get("errorMessage")) for query_id, result in self.results.items()}

    def _take(self, data: bytes) -> None:
        message = orjson.loads(data)
        self.messages.append(message)
        if message["type"] == "MutationResponse" and message["success"]:
            # I4: nothing may have shown the effect before.
            assert ts_of(message["ts"]) > self.ts or message["ts"] in self._known_ts()
            self.responses[message["requestId"]] = message
        elif message["type"] in ("MutationResponse", "ActionResponse"):
            self.responses[message["requestId"]] = message
        elif message["type"] == "Transition":
            self._apply(message)

    def _known_ts(self) -> set[str]:
        # A resend is answered with the first result, the effect of which this connection may show already.
        return {base64.b64encode(s.ts.to_bytes(8, "little")).decode() for s in self.node.requests.values()}

    def _apply(self, transition: dict[str, Any]) -> None:
        start, end = transition["startVersion"], transition["endVersion"]
        assert start == self.version, "I3: a Transition starts where the one before ended"
        assert end["querySet"] >= start["querySet"]
        assert end["identity"] >= start["identity"]
        assert ts_of(end["ts"]) >= ts_of(start["ts"])
        assert transition["serverTs"] > 0
        self.version = end
        wanted = self.sets[end["querySet"]]
        current = self.sets[self.sent_version]
        seen: set[int] = set()
        for modification in transition["modifications"]:
            query_id = modification["queryId"]
            assert query_id not in seen, "one modification a query"
            seen.add(query_id)
            if modification["type"] == "QueryRemoved":
                assert query_id not in wanted
                self.results.pop(query_id, None)
            elif query_id in current:
                before = self.results.get(query_id)
                same = ("type", "value", "logLines", "errorData")
                if before is not None and modification["type"] == "QueryUpdated":
                    assert [before.get(n) for n in same] != [modification.get(n) for n in same], "sent without need"
                self.results[query_id] = modification
                self.journals[query_id] = modification["journal"]
        self._check_results(wanted.keys() & current.keys(), wanted, ts_of(end["ts"]))
        for request_id, response in self.responses.items():
            if not response["success"] or ts_of(response.get("ts") or ZERO["ts"]) <= self.ts:  # type: ignore[arg-type]
                self.resolved.add(request_id)

    def _check_results(self, ids: set[int], queries: dict[int, tuple[str, Any]], ts: int) -> None:
        for query_id in ids:
            path, args = queries[query_id]
            assert query_id in self.results, f"query {query_id} has no result at querySet {self.version}"
            if path in ("me", "hidden"):  # depends on the caller
                continue
            content, _, _ = self.node.evaluate(path, args, ts, self.journals[query_id])
            if not content.failed:
                assert self.results[query_id]["value"] == orjson.loads(content.body), f"I2: query {query_id} at {ts}"


@pytest.fixture
def new_client(node: Any) -> Callable[..., Client]:
    return lambda *args, **options: Client(node, *args, **options)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(getattr(request, "param", 0))
