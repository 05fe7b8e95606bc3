"""The messages of the sync protocol, both ways (spec/sync-protocol.md section 2).

Client messages are parsed into typed objects; whatever is no message of the protocol raises `ProtocolError`, the text
of which goes into a FatalError. Unknown fields are ignored. Arguments that are no Convex value are not the protocol's
business: they become that call's own failure, and travel as a `DeveloperError` in `args`.

Server messages are built as bytes. A result was encoded when it was computed, and its bytes are put in their place
unseen: nothing here depends on how large a result is but the copying.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

import orjson

from concave.reactive.content import json_string
from concave.sync.limits import DEFAULT_SESSION_LIMITS, SessionLimits
from concave.values.codec import decode
from concave.values.errors import DeveloperError
from concave.values.timestamps import ts_from_wire, ts_to_wire
from concave.values.types import Timestamp, Value

UINT32_MAX: Final = 2**32 - 1
TIMESTAMP_MAX: Final = 2**63 - 1


class ProtocolError(Exception):
    """The client sent something that is no message of the protocol; the text says what and where."""


# -- client to server ---------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Connect:
    """The first message on a socket. `client_ts` is the client's clock in ms, None if it does not say."""

    session_id: str
    connection_count: int
    last_close_reason: str | None
    max_observed_ts: Timestamp | None
    client_ts: float | None


@dataclass(slots=True)
class AddQuery:
    query_id: int
    path: str
    args: Value | DeveloperError
    journal: str | None
    component_path: str


@dataclass(slots=True)
class RemoveQuery:
    query_id: int


@dataclass(slots=True)
class ModifyQuerySet:
    base_version: int
    new_version: int
    modifications: list[AddQuery | RemoveQuery]


@dataclass(slots=True)
class MutationRequest:
    request_id: int
    path: str
    args: Value | DeveloperError
    component_path: str


@dataclass(slots=True)
class ActionRequest:
    request_id: int
    path: str
    args: Value | DeveloperError
    component_path: str


@dataclass(slots=True)
class Authenticate:
    """`token` is None for tokenType None; `acting_as` holds the attributes of an admin's impersonation."""

    base_version: int
    token_type: Literal["None", "User", "Admin"]
    token: str | None
    acting_as: dict[str, Any] | None


@dataclass(slots=True)
class Event:
    """Telemetry; any type is accepted and ignored."""

    event_type: str


ClientMessage: TypeAlias = Connect | ModifyQuerySet | MutationRequest | ActionRequest | Authenticate | Event


def parse_message(text: str | bytes, limits: SessionLimits = DEFAULT_SESSION_LIMITS) -> ClientMessage:
    """The message in one text frame. Raises `ProtocolError`."""
    if len(text) > limits.message_bytes_max:
        raise ProtocolError(f"a message may have {limits.message_bytes_max} bytes, this one has {len(text)}")
    try:
        # Its nesting is bounded by the parser; that of values is checked when they are decoded.
        obj = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"a message must be JSON: {error}") from None
    if type(obj) is not dict:
        raise ProtocolError("a message must be a JSON object")
    kind = obj.get("type")
    parse = _PARSERS.get(kind) if type(kind) is str else None
    if parse is None:
        raise ProtocolError(f"unknown message type {kind!r:.100}: expected one of {', '.join(_PARSERS)}")
    return parse(obj, limits)


def _connect(obj: dict[str, Any], limits: SessionLimits) -> Connect:
    observed = obj.get("maxObservedTimestamp")
    client_ts = obj.get("clientTs")
    if client_ts is not None and type(client_ts) not in (int, float):
        raise ProtocolError("Connect.clientTs must be a number of milliseconds")
    session_id = _string(obj, "Connect", "sessionId")
    if not 0 < len(session_id) <= 64:
        raise ProtocolError("Connect.sessionId must be a UUID")
    return Connect(
        session_id=session_id,
        connection_count=_uint(obj, "Connect", "connectionCount"),
        last_close_reason=_optional_string(obj, "Connect", "lastCloseReason"),
        max_observed_ts=None if observed is None else _timestamp(observed),
        client_ts=client_ts,
    )


def _modify_query_set(obj: dict[str, Any], limits: SessionLimits) -> ModifyQuerySet:
    modifications = obj.get("modifications")
    if type(modifications) is not list:
        raise ProtocolError("ModifyQuerySet.modifications must be an array")
    if len(modifications) > limits.modifications_max:
        raise ProtocolError(f"ModifyQuerySet may hold {limits.modifications_max} modifications")
    return ModifyQuerySet(
        base_version=_uint(obj, "ModifyQuerySet", "baseVersion"),
        new_version=_uint(obj, "ModifyQuerySet", "newVersion"),
        modifications=[_modification(item) for item in modifications],
    )


def _modification(obj: Any) -> AddQuery | RemoveQuery:
    kind = obj.get("type") if type(obj) is dict else None
    if kind == "Add":
        return AddQuery(
            query_id=_uint(obj, "Add", "queryId"),
            path=_string(obj, "Add", "udfPath"),
            args=_arguments(obj, "Add"),
            journal=_optional_string(obj, "Add", "journal"),
            component_path=_optional_string(obj, "Add", "componentPath") or "",
        )
    if kind == "Remove":
        return RemoveQuery(_uint(obj, "Remove", "queryId"))
    raise ProtocolError("a modification must be an object with the type Add or Remove")


def _mutation(obj: dict[str, Any], limits: SessionLimits) -> MutationRequest:
    return MutationRequest(
        request_id=_uint(obj, "Mutation", "requestId"),
        path=_string(obj, "Mutation", "udfPath"),
        args=_arguments(obj, "Mutation"),
        component_path=_optional_string(obj, "Mutation", "componentPath") or "",
    )


def _action(obj: dict[str, Any], limits: SessionLimits) -> ActionRequest:
    return ActionRequest(
        request_id=_uint(obj, "Action", "requestId"),
        path=_string(obj, "Action", "udfPath"),
        args=_arguments(obj, "Action"),
        component_path=_optional_string(obj, "Action", "componentPath") or "",
    )


def _authenticate(obj: dict[str, Any], limits: SessionLimits) -> Authenticate:
    base_version = _uint(obj, "Authenticate", "baseVersion")
    match obj.get("tokenType"):
        case "None":
            return Authenticate(base_version, "None", None, None)
        case "User":
            return Authenticate(base_version, "User", _string(obj, "Authenticate", "value"), None)
        case "Admin":
            # Rust clients say `acting_as`.
            attributes = obj.get("impersonating")
            if attributes is None:
                attributes = obj.get("acting_as")
            if attributes is not None and type(attributes) is not dict:
                raise ProtocolError("Authenticate.impersonating must be an object")
            return Authenticate(base_version, "Admin", _string(obj, "Authenticate", "value"), attributes)
        case other:
            raise ProtocolError(f"Authenticate.tokenType must be None, User or Admin, not {other!r:.100}")


def _event(obj: dict[str, Any], limits: SessionLimits) -> Event:
    return Event(_string(obj, "Event", "eventType"))


_PARSERS: Final[dict[str, Callable[[dict[str, Any], SessionLimits], ClientMessage]]] = {
    "Connect": _connect,
    "ModifyQuerySet": _modify_query_set,
    "Mutation": _mutation,
    "Action": _action,
    "Authenticate": _authenticate,
    "Event": _event,
}


def _uint(obj: dict[str, Any], message: str, name: str) -> int:
    value = obj.get(name)
    if type(value) is not int or not 0 <= value <= UINT32_MAX:
        raise ProtocolError(f"{message}.{name} must be an integer from 0 to 2^32-1, not {value!r:.100}")
    return value


def _string(obj: dict[str, Any], message: str, name: str) -> str:
    value = obj.get(name)
    if type(value) is not str:
        raise ProtocolError(f"{message}.{name} must be a string, not {value!r:.100}")
    return value


def _optional_string(obj: dict[str, Any], message: str, name: str) -> str | None:
    value = obj.get(name)
    if value is not None and type(value) is not str:
        raise ProtocolError(f"{message}.{name} must be a string or null, not {value!r:.100}")
    return value


def _timestamp(value: Any) -> Timestamp:
    if type(value) is not str:
        raise ProtocolError("Connect.maxObservedTimestamp must be a string")
    try:
        return ts_from_wire(value)
    except ValueError as error:
        raise ProtocolError(f"Connect.maxObservedTimestamp: {error}") from None


def _arguments(obj: dict[str, Any], message: str) -> Value | DeveloperError:
    args = obj.get("args")
    if type(args) is not list:
        raise ProtocolError(f"{message}.args must be an array")
    if not args:
        return {}
    if len(args) != 1 or type(args[0]) is not dict:
        return DeveloperError("InvalidArguments", "The arguments of a function must be one object.")
    try:
        return decode(args[0], where="Arguments")
    except DeveloperError as error:
        return error


# -- server to client ---------------------------------------------------------------------------------------------

PING: Final = b'{"type":"Ping"}'
_START: Final = b'{"type":"Transition","startVersion":'


@lru_cache(maxsize=256)
def state_version(query_set: int, identity: int, ts: Timestamp) -> bytes:
    """The start or the end of a Transition. The sessions of one refresh round share most of them."""
    return b'{"querySet":%d,"identity":%d,"ts":"%b"}' % (query_set, identity, ts_to_wire(ts).encode())


def query_updated(query_id: int, value: bytes, log_lines: bytes, journal: bytes) -> tuple[bytes, ...]:
    """The pieces of one modification, not copied together yet; `journal` is a JSON string or null."""
    return (
        b'{"type":"QueryUpdated","queryId":%d,"value":' % query_id,
        value,
        b',"logLines":',
        log_lines,
        b',"journal":',
        journal,
        b"}",
    )


def query_failed(
    query_id: int, message: bytes, error_data: bytes | None, log_lines: bytes, journal: bytes
) -> tuple[bytes, ...]:
    """As `query_updated`. The key errorData must be there for a ConvexError, and only then (section 6)."""
    return (
        b'{"type":"QueryFailed","queryId":%d,"errorMessage":' % query_id,
        message,
        b"" if error_data is None else b',"errorData":' + error_data,
        b',"logLines":',
        log_lines,
        b',"journal":',
        journal,
        b"}",
    )


def query_removed(query_id: int) -> tuple[bytes, ...]:
    return (b'{"type":"QueryRemoved","queryId":%d}' % query_id,)


def transition(
    start: bytes, end: bytes, modifications: Iterable[tuple[bytes, ...]], skew_ms: int | None, server_ts_ns: int
) -> bytes:
    """A whole Transition. `start` and `end` are from `state_version`; the skew is null if the client's clock is
    unknown."""
    pieces = [_START, start, b',"endVersion":', end, b',"modifications":[']
    first = len(pieces)
    for modification in modifications:
        if len(pieces) > first:
            pieces.append(b",")
        pieces += modification
    if skew_ms is None:
        pieces.append(b'],"clientClockSkew":null,"serverTs":%d}' % server_ts_ns)
    else:
        pieces.append(b'],"clientClockSkew":%d,"serverTs":%d}' % (skew_ms, server_ts_ns))
    return b"".join(pieces)


def mutation_succeeded(request_id: int, value: bytes, ts: Timestamp, log_lines: bytes) -> bytes:
    return b'{"type":"MutationResponse","requestId":%d,"success":true,"result":%b,"ts":"%b","logLines":%b}' % (
        request_id,
        value,
        ts_to_wire(ts).encode(),
        log_lines,
    )


def mutation_failed(request_id: int, message: bytes, error_data: bytes | None, log_lines: bytes) -> bytes:
    return b'{"type":"MutationResponse","requestId":%d,"success":false,"result":%b,"ts":null,"logLines":%b%b}' % (
        request_id,
        message,
        log_lines,
        b"" if error_data is None else b',"errorData":' + error_data,
    )


def action_succeeded(request_id: int, value: bytes, log_lines: bytes) -> bytes:
    return b'{"type":"ActionResponse","requestId":%d,"success":true,"result":%b,"logLines":%b}' % (
        request_id,
        value,
        log_lines,
    )


def action_failed(request_id: int, message: bytes, error_data: bytes | None, log_lines: bytes) -> bytes:
    return b'{"type":"ActionResponse","requestId":%d,"success":false,"result":%b,"logLines":%b%b}' % (
        request_id,
        message,
        log_lines,
        b"" if error_data is None else b',"errorData":' + error_data,
    )


def auth_error(message: str, base_version: int, *, update_attempted: bool) -> bytes:
    return b'{"type":"AuthError","error":%b,"baseVersion":%d,"authUpdateAttempted":%b}' % (
        json_string(message),
        base_version,
        b"true" if update_attempted else b"false",
    )


def fatal_error(message: str) -> bytes:
    return b'{"type":"FatalError","error":%b}' % json_string(message)


def transition_chunks(message: bytes, chunk_bytes: int) -> list[bytes]:
    """A Transition in pieces of at most `chunk_bytes`, cut between characters, as TransitionChunk messages (1.4).

    The series must be sent in order, with nothing but Pings in between.
    """
    pieces: list[bytes] = []
    position = 0
    while position < len(message):
        end = min(position + chunk_bytes, len(message))
        # A byte 10xxxxxx continues a character: it may not begin a piece.
        while end < len(message) and message[end] & 0xC0 == 0x80:
            end -= 1
        assert end > position, "a chunk must have room for one character"
        pieces.append(message[position:end])
        position = end
    return [
        b'{"type":"TransitionChunk","chunk":%b,"partNumber":%d,"totalParts":%d,"transitionId":"%d"}'
        % (orjson.dumps(piece.decode()), number, len(pieces), len(message))
        for number, piece in enumerate(pieces)
    ]
