"""Connections between a client and a node's session: each way in order, each message with a delay, cut at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Protocol

from concave.reactive.engine import Engine
from concave.sync.session import Session
from concave.testing.simulation.faults import Faults
from concave.values.runtime import Runtime

LINGER_S_MAX = 3.0
"""How long a server may take to notice that a client has gone."""

APART_S = 1e-6
"""Timers of the same moment run in no certain order."""


class Receiver(Protocol):
    """The client's end."""

    def opened(self, connection: Connection) -> None: ...

    def received(self, connection: Connection, data: bytes) -> None: ...

    def closed(self, connection: Connection, reason: str) -> None: ...


class _OrderedSession(Session):
    """A session whose place in a set does not depend on its address."""

    __slots__ = ("_order",)

    def __init__(self, engine: Engine, runtime: Runtime, transport: Connection, order: int) -> None:
        super().__init__(engine, runtime, transport)
        self._order = order

    def __hash__(self) -> int:
        return self._order


class Connection:
    """One websocket. It is the session's `Transport`; the client calls `send_up` and `cut`.

    A cut loses what is on its way, both ways, and each end hears of it in its own time.
    """

    def __init__(
        self,
        number: int,
        client: Receiver,
        engine: Engine,
        runtime: Runtime,
        random: Random,
        faults: Callable[[], Faults],
    ) -> None:
        self.number = number
        self._loop = asyncio.get_running_loop()
        self._client = client
        self._random = random
        self._faults = faults
        self._up_at = self._down_at = 0.0
        self._is_cut = False
        self._client_knows = False
        self._server_is_dead = False
        self.session = _OrderedSession(engine, runtime, self, random.getrandbits(32))
        self._later(self._delay(), self._open)

    @property
    def is_over(self) -> bool:
        return self._is_cut

    # -- from the client ----------------------------------------------------------------------------------------------

    def send_up(self, data: bytes) -> None:
        self._up_at = self._after(self._up_at)
        self._loop.call_at(self._up_at, self._deliver_up, data)

    def cut(self, *, reason: str = "cut") -> None:
        """The network loses the connection."""
        if self._is_cut:
            return
        self._is_cut = True
        self._later(self._delay(), self._tell_client, reason)
        if not self._server_is_dead:
            self._later(self._random.random() ** 3 * LINGER_S_MAX, self._tell_server)

    # -- from the session (`Transport`) -------------------------------------------------------------------------------

    def send(self, data: bytes, is_transition: bool) -> bool:
        """To a connection that is cut, and does not know it, everything can be sent."""
        if self._server_is_dead:
            return True
        self._down_at = self._after(self._down_at)
        self._loop.call_at(self._down_at, self._deliver_down, data)
        if is_transition and self._random.random() < self._faults().slow_socket:
            self._loop.call_at(self._down_at, self._transition_sent)
            return False
        return True

    def close(self, code: int, reason: str) -> None:
        if not self._is_cut and not self._server_is_dead:
            self._loop.call_at(self._after(self._down_at), self._close_from_server, reason)

    # -- what happens to the node -------------------------------------------------------------------------------------

    def server_died(self) -> None:
        """What the node has sent is on its way; nothing else comes, and nobody listens."""
        self._server_is_dead = True
        self._loop.call_at(self._after(self._down_at), self._close_from_server, "died")

    # -- deliveries ---------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if not self._is_cut:
            self._client.opened(self)

    def _deliver_up(self, data: bytes) -> None:
        if not self._is_cut and not self._server_is_dead:
            self.session.state.validate()
            self.session.receive(data)

    def _deliver_down(self, data: bytes) -> None:
        if not self._is_cut:
            self._client.received(self, data)

    def _transition_sent(self) -> None:
        if not self._server_is_dead:
            self.session.transition_sent()

    def _close_from_server(self, reason: str) -> None:
        if not self._is_cut:
            self._is_cut = True
            self._tell_client(reason)
            self._tell_server()

    def _tell_client(self, reason: str) -> None:
        if not self._client_knows:
            self._client_knows = True
            self._client.closed(self, reason)

    def _tell_server(self) -> None:
        if not self._server_is_dead:
            self.session.disconnected()

    def _later(self, delay_s: float, call: Callable[..., None], *args: object) -> None:
        self._loop.call_later(delay_s, call, *args)

    def _after(self, earlier_s: float) -> float:
        """When something arrives that is sent now, behind what arrives at `earlier_s`."""
        return max(earlier_s + APART_S, self._loop.time() + self._delay())

    def _delay(self) -> float:
        faults = self._faults()
        delay = self._random.expovariate(1 / faults.network_delay_s)
        if self._random.random() < faults.spike:
            delay *= 50 * self._random.random()
        return delay
