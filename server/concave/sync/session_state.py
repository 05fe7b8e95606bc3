"""The rules of one sync connection, without any I/O (spec/sync-protocol.md 1.5, 3, 4).

Fed with the client's messages, with the ends of calls and with refreshed results; answers with effects, which the
caller performs in order. Time comes in as an argument.

Versions: `recv` is what the client has been promised to be heard, `cur` is the end of the last Transition sent.

Invariants (`validate` checks them):

* I3: a Transition starts at `cur` and then is `cur`; `ts` never decreases.
* An update covers the `recv` versions of its beginning, never newer ones.
* Every accepted ModifyQuerySet and Authenticate, and every end of a mutation or action, is followed by a Transition,
  even by one that says nothing; nothing else is, unless a result has changed.
* I4: a call's response is sent before any Transition that covers its timestamp: the response is an effect of the
  commit itself, and no update begins at a timestamp below `floor_ts`.
* Mutations run one at a time in order of arrival, actions at once.
* The identity advances only when a token was verified. Messages that arrive while one is being verified wait, in order;
  so a call is made as whoever the client was when it sent the call.
* Nothing begins under an identity that has expired: neither a call nor an update.
* At most `transitions_unsent_max` Transitions wait for the client to read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from concave.auth.caller import ANONYMOUS, Caller
from concave.reactive.content import Content, json_string
from concave.reactive.live_query import Subscription, Version
from concave.sync import messages
from concave.sync.limits import DEFAULT_SESSION_LIMITS, SessionLimits
from concave.sync.messages import (
    ActionRequest,
    AddQuery,
    Authenticate,
    ClientMessage,
    Connect,
    Event,
    ModifyQuerySet,
    MutationRequest,
)
from concave.values.errors import INTERNAL_SERVER_ERROR
from concave.values.types import Timestamp

NORMAL_CLOSURE: Final = 1000
GOING_AWAY: Final = 1001
"""JS reconnects without a word in its log (1.5)."""
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013


class Phase(Enum):
    CONNECTING = "connecting"
    """The socket is open, Connect has not arrived yet."""
    OPEN = "open"
    CLOSED = "closed"
    """A Close effect was given, or the socket is gone. Every message and event is ignored."""


@dataclass(slots=True)
class Send:
    """Write one text message. A Transition's writer calls `transition_sent` when the transport has taken it."""

    data: bytes
    is_transition: bool = False


@dataclass(slots=True, frozen=True)
class Close:
    """End the connection; nothing is sent after it. `reason` is a token by which clients choose their back-off."""

    code: int
    reason: str


@dataclass(slots=True, frozen=True)
class RequestUpdate:
    """An update is wanted and possible: call `begin_update` soon."""


@dataclass(slots=True, frozen=True)
class RunMutations:
    """Run what `next_mutation` gives, one after the other, until it gives None."""


@dataclass(slots=True, frozen=True)
class RunAction:
    request: ActionRequest
    caller: Caller


@dataclass(slots=True, frozen=True)
class Verify:
    """Find out whom the token or key proves, then call `authenticated` or `authentication_refused`; close where that
    cannot be told."""

    request: Authenticate


Effect: TypeAlias = Send | Close | RequestUpdate | RunMutations | RunAction | Verify

_REQUEST_UPDATE: Final = RequestUpdate()
_RUN_MUTATIONS: Final = RunMutations()
_COMPONENT_REFUSED: Final = "componentPath must be empty: there are no components"


class QueryRecord:
    """One query of the client's set."""

    __slots__ = ("handle", "is_removed", "query_id", "request", "sent")

    def __init__(self, request: AddQuery) -> None:
        self.query_id = request.query_id
        self.request: AddQuery | None = request
        """What was asked for; dropped when the first update takes the query up."""
        self.handle: object = None
        """The caller's own; set when it takes the query up."""
        self.sent: Content | None = None
        """What the client was last sent on this connection; None before the first result."""
        self.is_removed = False


@dataclass(slots=True, frozen=True)
class QueuedMutation:
    """`caller` is the one at the time of arrival. `may_be_resent`: the request may have been committed before."""

    request: MutationRequest
    caller: Caller
    may_be_resent: bool


@dataclass(slots=True)
class Update:
    """What has changed since the last update began."""

    added: Sequence[QueryRecord]
    removed: Sequence[QueryRecord]
    identity_changed: bool


_NO_CHANGE: Final = Update((), (), identity_changed=False)
"""The update that only invalidated results call for: by far the most frequent one."""


class SessionState:
    __slots__ = (
        "_actions",
        "_added",
        "_are_run",
        "_cur_wire",
        "_holds_mutations",
        "_is_draining",
        "_limits",
        "_mutations",
        "_removed",
        "_running_mutation",
        "_unsettled",
        "_update",
        "_update_identity",
        "_update_owes",
        "_update_query_set",
        "_waiting",
        "caller",
        "cur_identity",
        "cur_query_set",
        "cur_ts",
        "floor_ts",
        "is_reconnect",
        "owes_transition",
        "phase",
        "queries",
        "recv_identity",
        "recv_query_set",
        "session_id",
        "skew_ms",
        "unsent",
        "wants_update",
    )

    def __init__(self, limits: SessionLimits = DEFAULT_SESSION_LIMITS) -> None:
        self._limits = limits
        self.phase = Phase.CONNECTING
        self.session_id = ""
        self.is_reconnect = False
        """Whether the client says it had a connection before: then its first mutations may have been sent already."""
        self.skew_ms: int | None = None
        """The client's clock minus ours, at Connect."""

        self.recv_query_set = 0
        self.recv_identity = 0
        self.cur_query_set = 0
        self.cur_identity = 0
        self.cur_ts = Timestamp(0)
        self._cur_wire = messages.state_version(0, 0, Timestamp(0))
        self.floor_ts = Timestamp(0)
        """What the client has been told of, or has seen elsewhere: no update may show an earlier state."""

        self.caller: Caller = ANONYMOUS
        """Whom the client has proved to be, as of `recv_identity`."""
        self._waiting: deque[ClientMessage] | None = None
        """Messages that came while a token is being verified; None while none is."""
        self.queries: dict[int, QueryRecord] = {}
        """The query set as of `recv_query_set`."""
        self._added: list[QueryRecord] = []
        self._removed: list[QueryRecord] = []
        """Changes of the query set that no update has taken up. `_removed` may name a query of `_added`."""
        self._unsettled: list[int] = []
        """Ids removed by the update in progress."""

        self.wants_update = False
        """Something has happened that the client must be brought up to date with."""
        self.owes_transition = False
        """It must be told even if nothing it watches has changed. Implies `wants_update`."""
        self._update: Update | None = None
        """The update in progress, with the versions that it covers."""
        self._update_query_set = 0
        self._update_identity = 0
        self._update_owes = False
        self.unsent = 0
        """Transitions handed out as effects and not taken by the transport."""

        self._mutations: deque[QueuedMutation] | None = None
        self._running_mutation: QueuedMutation | None = None
        """The one without a response; None also between a commit and the return of the call."""
        self._are_run = False
        """From `RunMutations` until `next_mutation` has given None: there is somebody to run what is queued."""
        self._actions: set[int] | None = None

        self._is_draining = False
        """Set by `drain`, for good: the connection ends as soon as nothing is under way."""
        self._holds_mutations = False
        """While draining, from the moment when no action runs, for good: no queued mutation is begun any more."""

    # -- messages -----------------------------------------------------------------------------------------------

    def receive(self, message: ClientMessage, *, now_ms: float, latest_ts: Timestamp) -> list[Effect]:
        """Take in one message, in order of arrival. `latest_ts` is the newest timestamp the server knows."""
        if self.phase is Phase.CLOSED:
            return []
        if isinstance(message, Event):
            return []
        if isinstance(message, Connect):
            return self._connect(message, now_ms, latest_ts)
        if self.phase is not Phase.OPEN:
            return self._refuse("the first message must be Connect")
        if self._waiting is not None:
            if len(self._waiting) >= self._limits.messages_waiting_max:
                return self.close(TRY_AGAIN_LATER, "TooManyMessages")
            self._waiting.append(message)
            return []
        if isinstance(message, MutationRequest):
            return self._enqueue_mutation(message, now_ms)
        if isinstance(message, ModifyQuerySet):
            return self._modify_query_set(message)
        if isinstance(message, ActionRequest):
            return self._start_action(message, now_ms)
        return self._authenticate(message)

    def reject(self, error: messages.ProtocolError) -> list[Effect]:
        """The client sent something undecodable. A FatalError ends a JS client for good: nothing else gets one."""
        if self.phase is Phase.CLOSED:
            return []
        return [Send(messages.fatal_error(str(error))), *self.close(NORMAL_CLOSURE, "FatalError")]

    def _connect(self, message: Connect, now_ms: float, latest_ts: Timestamp) -> list[Effect]:
        if self.phase is not Phase.CONNECTING:
            return self._refuse("Connect was sent twice on one connection")
        observed = message.max_observed_ts
        if observed is not None and observed > latest_ts:
            if observed > (now_ms + self._limits.clock_tolerance_ms) * 1e6:
                return self._refuse("Connect.maxObservedTimestamp is ahead of the server's clock")
            # Another node, or this one before a restart, was ahead of what we know; it is not far.
            self.floor_ts = observed
        self.phase = Phase.OPEN
        self.session_id = message.session_id
        self.is_reconnect = message.connection_count > 0
        if message.client_ts is not None:
            self.skew_ms = int(message.client_ts - now_ms)
        return []

    def _modify_query_set(self, message: ModifyQuerySet) -> list[Effect]:
        # What counts is what was received last: clients do not wait for a Transition before they send the next one.
        base, new = message.base_version, message.new_version
        if base != self.recv_query_set:
            return self._refuse(f"ModifyQuerySet.baseVersion is {base}, the last newVersion was {self.recv_query_set}")
        if new <= base:
            return self._refuse(f"ModifyQuerySet.newVersion is {new}, not above baseVersion {base}")
        for modification in message.modifications:
            query_id = modification.query_id
            if isinstance(modification, AddQuery):
                if query_id in self.queries:
                    return self._refuse(f"query {query_id} was added twice")
                if modification.component_path:
                    return self._refuse(_COMPONENT_REFUSED)
                if len(self.queries) >= self._limits.queries_max:
                    return self.close(TRY_AGAIN_LATER, "TooManyQueries")
                record = QueryRecord(modification)
                self.queries[query_id] = record
                self._added.append(record)
            else:
                removed = self.queries.pop(query_id, None)
                if removed is None:
                    return self._refuse(f"query {query_id} was removed and is not in the query set")
                removed.is_removed = True
                self._removed.append(removed)
        self.recv_query_set = new
        return self._owe_transition()

    def _authenticate(self, message: Authenticate) -> list[Effect]:
        if message.base_version != self.recv_identity:
            return self._refuse(
                f"Authenticate.baseVersion is {message.base_version}, the identity version is {self.recv_identity}"
            )
        if message.token_type != "None":
            self._waiting = deque()
            return [Verify(message)]
        return self._become(ANONYMOUS)

    def _become(self, caller: Caller) -> list[Effect]:
        self.caller = caller
        self.recv_identity += 1
        return self._owe_transition()

    @property
    def is_verifying(self) -> bool:
        """Whether a token is being verified; what arrives meanwhile waits."""
        return self._waiting is not None

    def authenticated(self, caller: Caller, *, now_ms: float, latest_ts: Timestamp) -> list[Effect]:
        """The token being verified proves this caller. The messages that waited are taken in now."""
        waiting, self._waiting = self._waiting, None
        assert waiting is not None, "no token is being verified"
        if self.phase is Phase.CLOSED:
            return []
        effects = self._become(caller)
        while waiting:
            effects += self.receive(waiting.popleft(), now_ms=now_ms, latest_ts=latest_ts)
            if self._waiting is not None:
                self._waiting.extend(waiting)
                break
        return effects

    def authentication_refused(self, why: str) -> list[Effect]:
        """The token being verified proves nothing. Closing is as mandatory as the message (spec 4.1)."""
        assert self._waiting is not None, "no token is being verified"
        return self._end_by_auth_error(why, update_attempted=True)

    def expire(self, now_ms: float) -> list[Effect] | None:
        """To be asked before an update: None if the identity holds. Otherwise the update must not begin, and these are
        the effects: none while a newer token is being verified, after which another update is asked for."""
        if not self.caller.is_expired(now_ms):
            return None
        return [] if self._waiting is not None else self._expired()

    def _expired(self) -> list[Effect]:
        return self._end_by_auth_error("Could not verify the token: it has expired.", update_attempted=False)

    def _end_by_auth_error(self, why: str, *, update_attempted: bool) -> list[Effect]:
        if self.phase is Phase.CLOSED:
            return []
        error = messages.auth_error(why, self.cur_identity, update_attempted=update_attempted)
        return [Send(error), *self.close(NORMAL_CLOSURE, "AuthError")]

    def _enqueue_mutation(self, message: MutationRequest, now_ms: float) -> list[Effect]:
        if message.component_path:
            return self._refuse(_COMPONENT_REFUSED)
        if self.caller.is_expired(now_ms):
            return self._expired()
        queue = self._mutations
        if queue is None:
            queue = self._mutations = deque()
        if len(queue) >= self._limits.mutations_queued_max:
            return self.close(TRY_AGAIN_LATER, "TooManyConcurrentMutations")
        # A client re-sends right after it has connected, before it can have had an answer from us.
        may_be_resent = self.is_reconnect and not self.cur_ts
        queue.append(QueuedMutation(message, self.caller, may_be_resent))
        if self._are_run:
            return []
        self._are_run = True
        return [_RUN_MUTATIONS]

    def _start_action(self, message: ActionRequest, now_ms: float) -> list[Effect]:
        actions = self._actions
        if actions is None:
            actions = self._actions = set()
        if message.component_path:
            return self._refuse(_COMPONENT_REFUSED)
        if self.caller.is_expired(now_ms):
            return self._expired()
        # An answer names its request and nothing else, so two with one number cannot be told apart.
        if message.request_id in actions:
            return self._refuse(f"the action of request {message.request_id} is still running")
        if len(actions) >= self._limits.actions_in_flight_max:
            return self.close(TRY_AGAIN_LATER, "TooManyInflightActionsForSingleClient")
        actions.add(message.request_id)
        return [RunAction(message, self.caller)]

    # -- calls ----------------------------------------------------------------------------------------------------

    def next_mutation(self) -> QueuedMutation | None:
        """The mutation to run now, None if there is none or the connection has ended."""
        assert self._running_mutation is None
        if not self._mutations or self.phase is Phase.CLOSED or self._holds_mutations:
            self._mutations = None
            self._are_run = False
            return None
        self._running_mutation = self._mutations.popleft()
        return self._running_mutation

    def mutation_finished(self, content: Content, ts: Timestamp) -> list[Effect]:
        """The running mutation was committed at `ts`, or failed for a reason of its own. To be called at the commit
        itself."""
        running = self._running_mutation
        assert running is not None, "no mutation is running"
        self._running_mutation = None
        if self.phase is Phase.CLOSED:
            return []
        request_id = running.request.request_id
        if content.failed:
            response = messages.mutation_failed(request_id, content.body, content.error_data, content.log_lines)
        else:
            self.floor_ts = max(self.floor_ts, ts)
            response = messages.mutation_succeeded(request_id, content.body, ts, content.log_lines)
        effects: list[Effect] = [Send(response), *self._owe_transition()]
        return effects + self._end_if_drained() if self._is_draining else effects

    @property
    def mutation_is_running(self) -> bool:
        return self._running_mutation is not None

    def action_finished(self, request_id: int, content: Content) -> list[Effect]:
        if self._actions is not None:
            self._actions.discard(request_id)
            if not self._actions:
                self._actions = None
        if self.phase is Phase.CLOSED:
            return []
        if content.failed:
            response = messages.action_failed(request_id, content.body, content.error_data, content.log_lines)
        else:
            response = messages.action_succeeded(request_id, content.body, content.log_lines)
        effects: list[Effect] = [Send(response), *self._owe_transition()]
        return effects + self._end_if_drained() if self._is_draining else effects

    # -- updates --------------------------------------------------------------------------------------------------

    @property
    def can_begin_update(self) -> bool:
        return (
            self.wants_update
            and self._update is None
            and self.phase is Phase.OPEN
            and self.unsent < self._limits.transitions_unsent_max
        )

    def results_changed(self) -> bool:
        """A result that the client holds may be out of date. Returns whether an update can begin now."""
        self.wants_update = True
        return self.can_begin_update

    def begin_update(self) -> Update:
        """Take up everything that has happened so far. Only when `can_begin_update`."""
        assert self.can_begin_update
        update = _NO_CHANGE
        if self.owes_transition:
            added, removed = self._added, self._removed
            update = Update(
                added=[record for record in added if not record.is_removed] if removed else added,
                removed=removed,
                identity_changed=self.recv_identity != self.cur_identity,
            )
            # Ids of an update that came to nothing are still to be told.
            self._unsettled += [record.query_id for record in removed]
            self._added, self._removed = [], []
        self._update = update
        self._update_query_set = self.recv_query_set
        self._update_identity = self.recv_identity
        self._update_owes = self.owes_transition
        self.wants_update = self.owes_transition = False
        return update

    def redo_update(self) -> list[Effect]:
        """The update in progress came to nothing, through trouble of ours. What it took up stays taken up."""
        assert self._update is not None
        self._update = None
        self.wants_update = True
        self.owes_transition = self.owes_transition or self._update_owes
        return [_REQUEST_UPDATE] if self.can_begin_update else []

    def finish_update(
        self,
        ts: Timestamp,
        results: Sequence[tuple[Subscription, Version]],
        refused: Sequence[tuple[QueryRecord, Content, str | None]] = (),
        *,
        now_ms: float,
    ) -> list[Effect]:
        """All queries of the update are known at `ts`. `results` holds those that ran; each subscription's tag is its
        record. `refused` are those that failed without being run, with their journals."""
        assert self._update is not None
        assert ts >= self.cur_ts
        self._update = None
        if self.phase is Phase.CLOSED:
            return []
        modifications: list[tuple[bytes, ...]] = []
        if self._unsettled:
            # A query that was removed and added again under the same id has one modification, its result.
            modifications += [messages.query_removed(gone) for gone in self._unsettled if gone not in self.queries]
            self._unsettled = []
        for subscription, version in results:
            record, content = subscription.tag, version.content
            sent = record.sent
            if record.is_removed or (sent is not None and sent.looks_like(content)):
                continue
            record.sent = content
            modifications.append(_modification(record.query_id, content, version.journal))
        for record, content, journal in refused:
            if not record.is_removed:
                record.sent = content
                modifications.append(_modification(record.query_id, content, journal))
        if not modifications and not self._update_owes:
            # Nothing was asked and nothing has changed: the client's state as of `cur` still stands.
            return [_REQUEST_UPDATE] if self.can_begin_update else []
        start, end = self._cur_wire, messages.state_version(self._update_query_set, self._update_identity, ts)
        self.cur_query_set, self.cur_identity, self.cur_ts = self._update_query_set, self._update_identity, ts
        self._cur_wire = end
        self.unsent += 1
        message = messages.transition(start, end, modifications, self.skew_ms, int(now_ms * 1e6))
        effects: list[Effect] = [Send(message, True)]
        if self.wants_update and self.can_begin_update:
            effects.append(_REQUEST_UPDATE)
        return effects + self._end_if_drained() if self._is_draining else effects

    def transition_sent(self) -> list[Effect]:
        """The transport has taken one Transition."""
        assert self.unsent > 0
        self.unsent -= 1
        return [_REQUEST_UPDATE] if self.wants_update and self.can_begin_update else []

    def _owe_transition(self) -> list[Effect]:
        self.wants_update = self.owes_transition = True
        return [_REQUEST_UPDATE] if self.can_begin_update else []

    # -- the end ----------------------------------------------------------------------------------------------------

    def drain(self) -> list[Effect]:
        """The node is about to stop: end the connection as soon as what is under way has been answered and shown.

        Mutations that wait are dropped, since a client sends them again. Actions are not sent again by JS: while some
        run, everything goes on as usual.
        """
        self._is_draining = True
        return self._end_if_drained()

    def _end_if_drained(self) -> list[Effect]:
        if self._actions is not None or self.phase is Phase.CLOSED:
            return []
        self._holds_mutations = True
        shows = self.owes_transition or (self._update is not None and self._update_owes)
        if self._running_mutation is not None or shows:
            return []
        return self.close(GOING_AWAY, "ServerRestart")

    def close(self, code: int, reason: str) -> list[Effect]:
        """End the connection from our side. Queued mutations are dropped: the client sends them again."""
        if self.phase is Phase.CLOSED:
            return []
        self.disconnected()
        return [Close(code, reason)]

    def _refuse(self, fault: str) -> list[Effect]:
        """End the connection over a message that does not follow from those before it: a reconnect mends that. Clients
        choose their back-off by how the reason begins; `fault`, at most 100 bytes, is for whoever reads their log."""
        return self.close(INTERNAL_ERROR, f"{INTERNAL_SERVER_ERROR}: {fault}")

    def disconnected(self) -> None:
        """The socket is gone. Calls that run go on; their ends are ignored."""
        self.phase = Phase.CLOSED
        self._mutations = None
        if self._waiting is not None:
            self._waiting.clear()

    def give_up_queries(self) -> list[QueryRecord]:
        """Every query that the caller may still hold a handle for; the state forgets them. After the end only."""
        assert self.phase is Phase.CLOSED
        records = [*self.queries.values(), *self._removed]
        self.queries = {}
        self._added, self._removed = [], []
        return records

    def validate(self) -> None:
        """Check the invariants; for tests."""
        assert self.cur_query_set <= self.recv_query_set
        assert self.cur_identity <= self.recv_identity
        assert self._cur_wire == messages.state_version(self.cur_query_set, self.cur_identity, self.cur_ts)
        assert 0 <= self.unsent <= self._limits.transitions_unsent_max
        assert self.wants_update or not self.owes_transition
        assert len(self.queries) <= self._limits.queries_max
        assert all(record.query_id == query_id for query_id, record in self.queries.items())
        assert not any(record.is_removed for record in self.queries.values())
        if self._update is not None:
            assert self.cur_query_set <= self._update_query_set <= self.recv_query_set
            assert self.cur_identity <= self._update_identity <= self.recv_identity
        elif self.phase is Phase.OPEN:
            told = self.cur_query_set == self.recv_query_set and self.cur_identity == self.recv_identity
            assert told or self.owes_transition, "a version was accepted and no Transition is due"


def _modification(query_id: int, content: Content, journal: str | None) -> tuple[bytes, ...]:
    journal_json = b"null" if journal is None else json_string(journal)
    if content.failed:
        return messages.query_failed(query_id, content.body, content.error_data, content.log_lines, journal_json)
    return messages.query_updated(query_id, content.body, content.log_lines, journal_json)
