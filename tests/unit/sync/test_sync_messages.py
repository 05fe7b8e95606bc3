"""The wire: what is parsed, what is refused, and how results are put into their messages."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from concave.sync import messages
from concave.sync.limits import SessionLimits
from concave.sync.messages import ProtocolError, parse_message
from concave.values.errors import DeveloperError
from concave.values.types import Int64, Timestamp


def parse(**fields: Any) -> Any:
    return parse_message(orjson.dumps(fields))


def test_connect() -> None:
    message = parse(
        type="Connect",
        sessionId="3f2a",
        connectionCount=2,
        lastCloseReason=None,
        maxObservedTimestamp="AAAAAAAAAAA=",
        clientTs=1790000000000,
        unknown=[1],
    )
    assert message == messages.Connect("3f2a", 2, None, Timestamp(0), 1790000000000)
    assert parse(type="Connect", sessionId="x", connectionCount=0).client_ts is None


def test_query_set() -> None:
    message = parse(
        type="ModifyQuerySet",
        baseVersion=0,
        newVersion=1,
        modifications=[
            {"type": "Add", "queryId": 0, "udfPath": "m:f", "args": [{"n": 2, "i": {"$integer": "AQAAAAAAAAA="}}]},
            {"type": "Add", "queryId": 1, "udfPath": "m:f", "args": [], "journal": "j"},
            {"type": "Remove", "queryId": 0},
        ],
    )
    first, second, removed = message.modifications
    assert first.args == {"n": 2.0, "i": Int64(1)}
    assert type(first.args["n"]) is float
    assert second.args == {}
    assert second.journal == "j"
    assert removed == messages.RemoveQuery(0)


def test_authenticate() -> None:
    admin = {"type": "Authenticate", "baseVersion": 0, "tokenType": "Admin", "value": "key"}
    assert parse(**admin).acting_as is None
    assert parse(**admin, acting_as={"subject": "s"}).acting_as == {"subject": "s"}
    assert parse(**admin, impersonating={"subject": "s"}).acting_as == {"subject": "s"}
    assert parse(type="Authenticate", baseVersion=0, tokenType="None").token is None


@pytest.mark.parametrize("args", [[1], [{}, {}], [[]], [{"$x": 1}], [{"a": {"$integer": "?"}}]])
def test_arguments_that_are_no_value_are_the_calls_failure(args: Any) -> None:
    message = parse(type="Mutation", requestId=0, udfPath="f", args=args)
    assert isinstance(message.args, DeveloperError)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[1]",
        '{"type": 1}',
        '{"type": "Nope"}',
        '{"type": ["Connect"]}',
        '{"type":"Connect","sessionId":1,"connectionCount":0}',
        '{"type":"Connect","sessionId":"s","connectionCount":-1}',
        '{"type":"Connect","sessionId":"s","connectionCount":true}',
        '{"type":"Connect","sessionId":"s","connectionCount":0,"maxObservedTimestamp":"AAA="}',
        '{"type":"Connect","sessionId":"s","connectionCount":0,"clientTs":"now"}',
        '{"type":"Mutation","requestId":4294967296,"udfPath":"f","args":[{}]}',
        '{"type":"Mutation","requestId":1.5,"udfPath":"f","args":[{}]}',
        '{"type":"Mutation","requestId":0,"udfPath":"f","args":{}}',
        '{"type":"Mutation","requestId":0,"udfPath":"f","args":[{"a":NaN}]}',
        '{"type":"Mutation","requestId":0,"udfPath":"f","args":[{"a":"\\ud800"}]}',
        '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[{"type":"Change"}]}',
        '{"type":"ModifyQuerySet","baseVersion":0,"newVersion":1,"modifications":[7]}',
        '{"type":"Authenticate","baseVersion":0,"tokenType":"Magic"}',
        '{"type":"Authenticate","baseVersion":0,"tokenType":"Admin","value":"k","impersonating":7}',
        '{"type":"Mutation","requestId":0,"udfPath":"f","args":' + "[" * 5000 + "]" * 5000 + "}",
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_message(text)


def test_sizes_are_bounded() -> None:
    limits = SessionLimits(message_bytes_max=200, modifications_max=1)
    with pytest.raises(ProtocolError):
        parse_message(b" " * 201, limits)
    remove = {"type": "Remove", "queryId": 0}
    text = orjson.dumps({"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1, "modifications": [remove] * 2})
    with pytest.raises(ProtocolError):
        parse_message(text, limits)


def test_a_transition_is_put_together_from_its_pieces() -> None:
    text = messages.transition(
        messages.state_version(0, 0, Timestamp(0)),
        messages.state_version(1, 0, Timestamp(1)),
        [
            messages.query_updated(0, b'{"$integer":"AQAAAAAAAAA="}', b'["[LOG] x"]', b'"j"'),
            messages.query_failed(1, b'"no"', b"null", b"[]", b"null"),
            messages.query_failed(2, b'"no"', None, b"[]", b"null"),
            messages.query_removed(3),
        ],
        -5,
        1_700_000_000_000_000_000,
    )
    assert orjson.loads(text) == {
        "type": "Transition",
        "startVersion": {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="},
        "endVersion": {"querySet": 1, "identity": 0, "ts": "AQAAAAAAAAA="},
        "modifications": [
            {
                "type": "QueryUpdated",
                "queryId": 0,
                "value": {"$integer": "AQAAAAAAAAA="},
                "logLines": ["[LOG] x"],
                "journal": "j",
            },
            {
                "type": "QueryFailed",
                "queryId": 1,
                "errorMessage": "no",
                "errorData": None,
                "logLines": [],
                "journal": None,
            },
            {"type": "QueryFailed", "queryId": 2, "errorMessage": "no", "logLines": [], "journal": None},
            {"type": "QueryRemoved", "queryId": 3},
        ],
        "clientClockSkew": -5,
        "serverTs": 1_700_000_000_000_000_000,
    }


def test_responses() -> None:
    assert orjson.loads(messages.mutation_succeeded(1, b"null", Timestamp(1), b"[]")) == {
        "type": "MutationResponse",
        "requestId": 1,
        "success": True,
        "result": None,
        "ts": "AQAAAAAAAAA=",
        "logLines": [],
    }
    assert orjson.loads(messages.mutation_failed(1, b'"no"', b'{"a":1}', b"[]"))["errorData"] == {"a": 1}
    assert orjson.loads(messages.mutation_failed(1, b'"no"', None, b"[]")) == {
        "type": "MutationResponse",
        "requestId": 1,
        "success": False,
        "result": "no",
        "ts": None,
        "logLines": [],
    }
    assert "ts" not in orjson.loads(messages.action_succeeded(1, b"1.0", b"[]"))
    assert orjson.loads(messages.auth_error('"x"', 3, update_attempted=True)) == {
        "type": "AuthError",
        "error": '"x"',
        "baseVersion": 3,
        "authUpdateAttempted": True,
    }


@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=200),
    st.integers(min_value=4, max_value=50),
)
def test_chunks_join_to_the_message_and_split_no_character(text: str, chunk_bytes: int) -> None:
    message = orjson.dumps({"type": "Transition", "x": text})
    chunks = [orjson.loads(chunk) for chunk in messages.transition_chunks(message, chunk_bytes)]
    assert "".join(chunk["chunk"] for chunk in chunks).encode() == message
    assert all(0 < len(chunk["chunk"].encode()) <= chunk_bytes for chunk in chunks)
    assert [chunk["partNumber"] for chunk in chunks] == list(range(len(chunks)))
    assert {chunk["totalParts"] for chunk in chunks} == {len(chunks)}
    assert len({chunk["transitionId"] for chunk in chunks}) == 1
