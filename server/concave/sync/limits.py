"""What bounds one session (spec/sync-protocol.md 1.2, 1.5, 3.2)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class SessionLimits:
    """Going past one of these ends the connection; the client reconnects and may go on."""

    message_bytes_max: int = 64 * 1024 * 1024
    modifications_max: int = 100_000
    """In one ModifyQuerySet. A reconnect puts all of a client's queries into one."""
    queries_max: int = 10_000
    mutations_queued_max: int = 1_000
    actions_in_flight_max: int = 1_000
    messages_waiting_max: int = 5_000
    """While a token is being verified."""
    transitions_unsent_max: int = 2
    """No further Transition is computed while so many wait for the client to read (3.2)."""
    chunk_bytes: int = 5_000_000
    """Transitions above this are cut into chunks of at most this size, for clients that know chunks (1.4)."""
    clock_tolerance_ms: float = 10_000.0
    """How far ahead of our wall clock a client's observed timestamp may be (3.5)."""
    ping_interval_s: float = 15.0
    """Longest silence of ours at the application level (1.3)."""
    client_silence_s_max: float = 120.0
    """Longest silence of a client, pongs included, where the server can see them (1.3)."""


DEFAULT_SESSION_LIMITS = SessionLimits()
