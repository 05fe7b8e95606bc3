"""One session: performs what the state machine asks for, with the engine on one side and a transport on the other.

A session is a subscriber of the refresh rounds. Everything it does to its state happens in plain calls; the only tasks
are those that run mutations and actions, and they are owned by the runtime: they outlive the connection, because what a
mutation or action has begun goes on (spec/sync-protocol.md 3.4).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, assert_never

from concave.auth.caller import Caller
from concave.functions.failures import error_message, request_id
from concave.functions.frames import Identity
from concave.functions.outcomes import ActionOutcome, MutationOutcome
from concave.functions.recording import Origin, current_origin
from concave.reactive.content import Content, content_of, failure
from concave.reactive.live_query import Subscription, Version
from concave.reactive.refresh import RefreshedSubscriber
from concave.storage.store import StoredRequest
from concave.sync.limits import DEFAULT_SESSION_LIMITS, SessionLimits
from concave.sync.messages import ActionRequest, AddQuery, Authenticate, ProtocolError, parse_message
from concave.sync.session_state import (
    Close,
    Effect,
    Phase,
    QueryRecord,
    QueuedMutation,
    RequestUpdate,
    RunAction,
    RunMutations,
    Send,
    SessionState,
    Verify,
)
from concave.values.codec import encode_json
from concave.values.errors import ClientError, ConcaveError, DeveloperError, EngineError, unauthenticated
from concave.values.runtime import Runtime
from concave.values.types import Timestamp, Value

logger = logging.getLogger(__name__)


class SyncBackend(Protocol):
    """What a session needs of the engine. `reactive.engine.Engine` is one."""

    @property
    def latest_ts(self) -> Timestamp: ...

    def subscribe(
        self,
        subscriber: RefreshedSubscriber,
        tag: object,
        path: str,
        args_json: bytes,
        *,
        journal: str | None,
        identity: Identity | None,
        internal_ok: bool,
    ) -> Subscription: ...

    def unsubscribe(self, subscriber: RefreshedSubscriber, subscription: Subscription) -> None: ...

    def change_identity(
        self,
        subscriber: RefreshedSubscriber,
        subscription: Subscription,
        identity: Identity | None,
        *,
        internal_ok: bool,
    ) -> None: ...

    def request(self, subscriber: RefreshedSubscriber) -> None: ...

    def leave(self, subscriber: RefreshedSubscriber) -> None: ...

    async def mutation(
        self,
        path: str,
        args: Value,
        *,
        identity: Identity | None,
        session_id: str,
        request_id: int,
        on_committed: Callable[[MutationOutcome], None],
        internal_ok: bool,
    ) -> MutationOutcome:
        """`on_committed` is called at the commit, before anybody hears of what was written; not for failures."""

    async def action(
        self, path: str, args: Value, *, identity: Identity | None, internal_ok: bool
    ) -> ActionOutcome: ...

    async def find_request(self, session_id: str, request_id: int) -> StoredRequest | None: ...

    async def reach(self, ts: Timestamp) -> None:
        """Wait until `ts` can be read on this node; raises when that takes too long."""


class CallerVerifier(Protocol):
    """Finds out who a client is. `auth.authenticator.Authenticator` is one.

    Raises `ClientError` for what proves nothing; anything else for what cannot be told at the moment.
    """

    async def user(self, token: str) -> Caller: ...

    def admin(self, key: str, acting_as: dict[str, Any] | None) -> Caller: ...


class NobodyVerifies:
    """The verifier where no provider and no admin key is configured."""

    async def user(self, token: str) -> Caller:
        raise unauthenticated("NoAuthProvider", "No auth provider is configured on this server.")

    def admin(self, key: str, acting_as: dict[str, Any] | None) -> Caller:
        raise unauthenticated("BadAdminKey", "No admin key is configured on this server.")


class Transport(Protocol):
    """The way to the client. Neither method waits or raises; after `close` both do nothing."""

    def send(self, data: bytes, is_transition: bool) -> bool:
        """Send one text message after all earlier ones. True if it has left; otherwise, if it is a Transition,
        `Session.transition_sent` is called when it has."""

    def close(self, code: int, reason: str) -> None:
        """End the connection when what was sent before has left."""


_NOBODY_VERIFIES: Final = NobodyVerifies()


class Session(RefreshedSubscriber):
    __slots__ = ("_backend", "_refused", "_runtime", "_transport", "_verifier", "limits", "state")

    def __init__(
        self,
        backend: SyncBackend,
        runtime: Runtime,
        transport: Transport,
        limits: SessionLimits = DEFAULT_SESSION_LIMITS,
        verifier: CallerVerifier = _NOBODY_VERIFIES,
    ) -> None:
        super().__init__(backend)
        self._verifier = verifier
        self._backend = backend
        self._runtime = runtime
        self._transport = transport
        self.limits = limits
        self.state = SessionState(limits)
        self._refused: tuple[tuple[QueryRecord, Content, str | None], ...] = ()
        """Queries that fail without being run, because of their arguments; for the round being opened."""

    # -- from the transport ---------------------------------------------------------------------------------------

    def receive(self, text: str | bytes) -> None:
        """One text message of the client."""
        try:
            message = parse_message(text, self.limits)
        except ProtocolError as error:
            self._perform(self.state.reject(error))
            return
        effects = self.state.receive(message, now_ms=self._runtime.now_ms(), latest_ts=self._backend.latest_ts)
        self.floor_ts = self.state.floor_ts
        self._perform(effects)

    def transition_sent(self) -> None:
        """The transport has taken one Transition."""
        self._perform(self.state.transition_sent())

    def drain(self) -> None:
        """End the connection as soon as nothing is under way on it: the node is about to stop."""
        self._perform(self.state.drain())

    def close(self, code: int, reason: str) -> None:
        """End the connection from our side."""
        self._perform(self.state.close(code, reason))

    def disconnected(self) -> None:
        """The socket is gone, whoever ended it. May be called twice."""
        self.state.disconnected()
        self._leave()

    # -- from the refresh rounds ------------------------------------------------------------------------------------

    def open_round(self) -> bool:
        state = self.state
        if not state.results_changed():
            return False
        if state.caller.expires_ms is not None and (end := state.expire(self._runtime.now_ms())) is not None:
            self._perform(end)
            return False
        update = state.begin_update()
        for record in update.removed:
            if isinstance(record.handle, Subscription):
                self._backend.unsubscribe(self, record.handle)
            record.handle = None
        if update.identity_changed:
            caller = state.caller
            for record in state.queries.values():
                if isinstance(record.handle, Subscription):
                    self._backend.change_identity(self, record.handle, caller.identity, internal_ok=caller.is_admin)
        for record in update.added:
            self._subscribe(record)
        return True

    def close_round(self, ts: Timestamp, results: Sequence[tuple[Subscription, Version]]) -> None:
        refused, self._refused = self._refused, ()
        self._perform(self.state.finish_update(ts, results, refused, now_ms=self._runtime.now_ms()))

    def reopen_round(self) -> None:
        self._perform(self.state.redo_update())

    def break_off(self, error: Exception) -> None:
        self._fail(error)

    def _subscribe(self, record: QueryRecord) -> None:
        request, record.request = record.request, None
        assert isinstance(request, AddQuery)
        args = request.args
        if isinstance(args, DeveloperError):
            self._refused += ((record, self._refusal(args, record.query_id), request.journal),)
            return
        record.handle = self._backend.subscribe(
            self,
            record,
            request.path,
            encode_json(args),
            journal=request.journal,
            identity=self.state.caller.identity,
            internal_ok=self.state.caller.is_admin,
        )

    # -- effects ------------------------------------------------------------------------------------------------------

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Send():
                    if self._transport.send(effect.data, effect.is_transition) and effect.is_transition:
                        self.transition_sent()
                case RequestUpdate():
                    self._backend.request(self)
                case RunMutations():
                    self._runtime.spawn(self._run_mutations(), name="session: mutations")
                case RunAction(request, caller):
                    self._runtime.spawn(self._run_action(request, caller), name="session: action")
                case Verify(request):
                    self._runtime.spawn(self._verify(request), name="session: verification")
                case Close(code, reason):
                    self._transport.close(code, reason)
                    self._leave()
                case _:
                    assert_never(effect)

    async def _verify(self, request: Authenticate) -> None:
        try:
            if request.token_type == "User":
                caller = await self._verifier.user(request.token or "")
            else:
                caller = self._verifier.admin(request.token or "", request.acting_as)
        except ClientError as error:
            self._perform(self.state.authentication_refused(error.message))
        except Exception as error:
            # The token may be good: the client comes back with it.
            self._fail(error)
        else:
            backend, state = self._backend, self.state
            effects = state.authenticated(caller, now_ms=self._runtime.now_ms(), latest_ts=backend.latest_ts)
            self.floor_ts = state.floor_ts
            self._perform(effects)

    async def _run_mutations(self) -> None:
        while (queued := self.state.next_mutation()) is not None:
            try:
                await self._run_mutation(queued)
            except Exception as error:
                self._fail(error)
                return

    async def _run_mutation(self, queued: QueuedMutation) -> None:
        request = queued.request
        state = self.state
        number = request.request_id
        refused = request.args if isinstance(request.args, DeveloperError) else queued.caller.write_refusal
        if refused is not None:
            self._perform(state.mutation_finished(self._refusal(refused, number), Timestamp(0)))
            return
        if queued.may_be_resent:
            stored = await self._backend.find_request(state.session_id, number)
            if stored is not None:
                outcome = MutationOutcome(
                    True, value_json=stored.record.result_json, log_lines=list(stored.record.log_lines), ts=stored.ts
                )
                self._mutation_finished(outcome)
                return
        if state.floor_ts > self._backend.latest_ts:
            # The client comes from a node that is ahead: on what it has seen it may have based this call.
            await self._backend.reach(state.floor_ts)
        try:
            outcome = await self._backend.mutation(
                request.path,
                request.args,
                identity=queued.caller.identity,
                session_id=state.session_id,
                request_id=number,
                on_committed=self._mutation_finished,
                internal_ok=queued.caller.is_admin,
            )
        except ClientError as error:
            self._perform(state.mutation_finished(self._refusal(error, number), Timestamp(0)))
            return
        # Failures, and resends that the store recognised, come back without a commit of their own.
        if state.mutation_is_running:
            self._mutation_finished(outcome)

    def _mutation_finished(self, outcome: MutationOutcome) -> None:
        # The order is the point: the response is on its way before the commit is published, so before any
        # Transition that shows it can be computed (I4).
        effects = self.state.mutation_finished(content_of(outcome), outcome.ts)
        self.floor_ts = self.state.floor_ts
        self._perform(effects)

    async def _run_action(self, request: ActionRequest, caller: Caller) -> None:
        number = request.request_id
        refused = request.args if isinstance(request.args, DeveloperError) else caller.write_refusal
        if refused is not None:
            self._perform(self.state.action_finished(number, self._refusal(refused, number)))
            return
        # The task's own: what the action logs is found by the name that its client has for it.
        current_origin.set(Origin(request_id(self.state.session_id, number), "SyncWorker"))
        try:
            if self.state.floor_ts > self._backend.latest_ts:
                await self._backend.reach(self.state.floor_ts)
            outcome = await self._backend.action(
                request.path, request.args, identity=caller.identity, internal_ok=caller.is_admin
            )
        except ClientError as error:
            self._perform(self.state.action_finished(number, self._refusal(error, number)))
        except Exception as error:
            self._fail(error)
        else:
            self._perform(self.state.action_finished(number, content_of(outcome)))

    def _refusal(self, error: ConcaveError, number: int) -> Content:
        """The failure of a call whose arguments are no value, or whose path cannot be one: nothing of it was run."""
        named = request_id(self.state.session_id, number)
        return failure(error_message(error, named, redact=False, source_root=None))

    def _fail(self, error: Exception) -> None:
        """Trouble of ours: the client reconnects and sends again what was not answered."""
        if not isinstance(error, ConcaveError):
            logger.error("a session failed: %r", error, exc_info=error)
            error = EngineError(str(error))
        elif self.state.phase is not Phase.CLOSED:
            logger.warning("a session ends with %s: %s", error.code, error)
        self.close(error.close_code, error.close_reason)

    def _leave(self) -> None:
        if self.has_left:
            return
        self._backend.leave(self)
        for record in self.state.give_up_queries():
            if isinstance(record.handle, Subscription):
                self._backend.unsubscribe(self, record.handle)
                record.handle = None
