"""Messages on the sync socket that break the protocol (sync-protocol.md 1.5).

What cannot be decoded gets a FatalError that says what is wrong, and a close; what a reconnect can mend gets 1011; what
is wrong with one call fails that call, and the connection goes on. Other connections never notice.
"""

from __future__ import annotations

import base64
import struct
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

pytestmark = pytest.mark.slow


def add(query_id: Any, path: Any = "shop:count", **fields: Any) -> dict[str, Any]:
    return {"type": "Add", "queryId": query_id, "udfPath": path, "args": [{"label": "a"}], **fields}


def modify(base: Any, new: Any, *modifications: Any) -> dict[str, Any]:
    return {"type": "ModifyQuerySet", "baseVersion": base, "newVersion": new, "modifications": list(modifications)}


def mutation(request_id: Any, path: Any = "shop:add", args: Any = None, **fields: Any) -> dict[str, Any]:
    return {"type": "Mutation", "requestId": request_id, "udfPath": path, "args": [args or {}], **fields}


class Bystander:
    """A connection with a live query, which must go on whatever others do."""

    def __init__(self, server: Any, client: Any) -> None:
        self._server = server
        self._client = client
        self._label = uuid.uuid4().hex
        client.connect()
        client.send(modify(0, 1, add(0, args=[{"label": self._label}])))
        assert self._count() == 0.0

    def check(self) -> None:
        """The server serves, and this connection hears of what changes."""
        before = self._server.value("query", "shop:count", {"label": self._label})
        self._server.value("mutation", "shop:add", {"label": self._label, "price": 1.0})
        assert self._count() == before + 1

    def _count(self) -> Any:
        message = self._client.next()
        assert message["type"] == "Transition"
        [modification] = message["modifications"]
        assert modification["type"] == "QueryUpdated"
        return modification["value"]


@pytest.fixture
def client(server: Any, open_client: Callable[[], Any]) -> Iterator[Any]:
    """A client that has connected. Afterwards another one, connected before, must have been served all along."""
    bystander = Bystander(server, open_client())
    client = open_client()
    client.connect()
    yield client
    bystander.check()


def _ending(client: Any) -> tuple[list[dict[str, Any]], int, str]:
    """What a client is still sent, and the code and reason of the close."""
    messages = []
    while True:
        try:
            messages.append(client.next())
        except ConnectionClosed as closed:
            close = closed.rcvd
            break
    assert close is not None, "the connection ended without a close frame"
    return messages, close.code, close.reason


UNDECODABLE = (
    ("{", "a message must be JSON: "),
    ("", "a message must be JSON: "),
    ('{"type":"Event","eventType":"a","event":NaN}', "a message must be JSON: "),
    ('{"type":"Mutation","requestId":0,"udfPath":"shop:add","args":[{"label":"\\ud800"}]}', "surrogate"),
    ("[" * 5000 + "]" * 5000, "a message must be JSON: "),
    ("[]", "a message must be a JSON object"),
    ("null", "a message must be a JSON object"),
    ({}, "unknown message type None: expected one of Connect, ModifyQuerySet, Mutation, Action, Authenticate, Event"),
    ({"type": "Subscribe"}, "unknown message type 'Subscribe': expected one of Connect"),
    ({"type": ["Connect"]}, "unknown message type ['Connect']"),
    ({"type": "Connect", "connectionCount": 0}, "Connect.sessionId must be a string, not None"),
    ({"type": "Connect", "sessionId": "x"}, "Connect.connectionCount must be an integer"),
    ({"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 1}, "ModifyQuerySet.modifications must be an array"),
    (modify(None, 1), "ModifyQuerySet.baseVersion must be an integer from 0 to 2^32-1, not None"),
    (modify(0, "1"), "ModifyQuerySet.newVersion must be an integer from 0 to 2^32-1, not '1'"),
    (modify(-1, 0), "ModifyQuerySet.baseVersion must be an integer from 0 to 2^32-1, not -1"),
    (modify(0, 2**32), "ModifyQuerySet.newVersion must be an integer from 0 to 2^32-1, not 4294967296"),
    (modify(0, 1, {"type": "Change", "queryId": 0}), "a modification must be an object with the type Add or Remove"),
    (modify(0, 1, 3), "a modification must be an object with the type Add or Remove"),
    (modify(0, 1, add("0")), "Add.queryId must be an integer from 0 to 2^32-1, not '0'"),
    (modify(0, 1, add(True)), "Add.queryId must be an integer from 0 to 2^32-1, not True"),
    (modify(0, 1, add(0, path=None)), "Add.udfPath must be a string, not None"),
    (modify(0, 1, add(0, args={"label": "a"})), "Add.args must be an array"),
    (modify(0, 1, add(0, journal=3)), "Add.journal must be a string or null, not 3"),
    (modify(0, 1, {"type": "Remove"}), "Remove.queryId must be an integer"),
    ({"type": "Mutation", "udfPath": "shop:add", "args": [{}]}, "Mutation.requestId must be an integer"),
    ({"type": "Mutation", "requestId": 0, "args": [{}]}, "Mutation.udfPath must be a string, not None"),
    ({"type": "Mutation", "requestId": 0, "udfPath": "shop:add"}, "Mutation.args must be an array"),
    ({"type": "Action", "requestId": 1.5, "udfPath": "shop:add", "args": []}, "Action.requestId must be an integer"),
    ({"type": "Authenticate", "tokenType": "None"}, "Authenticate.baseVersion must be an integer"),
    ({"type": "Authenticate", "baseVersion": 0, "tokenType": "User"}, "Authenticate.value must be a string, not None"),
    (
        {"type": "Authenticate", "baseVersion": 0, "tokenType": "Cookie"},
        "Authenticate.tokenType must be None, User or Admin, not 'Cookie'",
    ),
    ({"type": "Event"}, "Event.eventType must be a string, not None"),
)


@pytest.mark.parametrize(("message", "says"), UNDECODABLE)
def test_what_is_no_message(server: Any, client: Any, message: Any, says: str) -> None:
    with server.unchanged():
        client.send(message)
        messages, code, _ = _ending(client)
    [fatal] = messages
    assert fatal["type"] == "FatalError"
    assert says in fatal["error"]
    assert code in (1000, 1005)


@pytest.mark.parametrize("timestamp", [7, "zz", "AAAA"])
def test_an_observed_timestamp_that_is_none(open_client: Any, server: Any, timestamp: Any) -> None:
    client = open_client()
    client.send({"type": "Connect", "sessionId": "x", "connectionCount": 0, "maxObservedTimestamp": timestamp})
    [fatal], _, _ = _ending(client)
    assert fatal["type"] == "FatalError"
    assert "Connect.maxObservedTimestamp" in fatal["error"]
    assert server.value("query", "shop:count", {"label": "none"}) == 0.0


OUT_OF_ORDER: tuple[tuple[list[Any], str], ...] = (
    ([modify(1, 2)], "ModifyQuerySet.baseVersion"),
    ([modify(0, 1), modify(0, 1)], "ModifyQuerySet.baseVersion"),
    ([modify(0, 0)], "ModifyQuerySet.newVersion"),
    ([modify(0, 1, add(0)), modify(1, 2, add(0))], "query 0"),
    ([modify(0, 1, add(5), add(5))], "query 5"),
    ([modify(0, 1, {"type": "Remove", "queryId": 9})], "query 9"),
    ([modify(0, 1, add(0), {"type": "Remove", "queryId": 0}, {"type": "Remove", "queryId": 0})], "query 0"),
    ([{"type": "Authenticate", "baseVersion": 3, "tokenType": "None"}], "Authenticate.baseVersion"),
    ([modify(0, 1, add(0, componentPath="part"))], "componentPath"),
    ([mutation(0, componentPath="part")], "componentPath"),
    ([{"type": "Connect", "sessionId": "again", "connectionCount": 0}], "Connect was sent twice"),
    ([b'{"type":"Event","eventType":"a"}'], "binary"),
)


@pytest.mark.parametrize(("messages", "says"), OUT_OF_ORDER)
def test_messages_that_do_not_follow_from_what_went_before(
    server: Any, client: Any, messages: list[Any], says: str
) -> None:
    with server.unchanged():
        for message in messages:
            client.send(message)
        received, code, reason = _ending(client)
    assert all(message["type"] == "Transition" for message in received)
    assert code == 1011
    # Clients choose their back-off by how the reason begins; the rest is for people.
    assert reason.startswith("InternalServerError: ")
    assert says in reason
    assert len(reason.encode()) <= 123


@pytest.mark.parametrize("message", [modify(0, 1), mutation(0)])
def test_messages_before_connect(server: Any, open_client: Any, message: Any) -> None:
    bystander = Bystander(server, open_client())
    client = open_client()
    with server.unchanged():
        client.send(message)
        received, code, reason = _ending(client)
    assert (received, code) == ([], 1011)
    assert "Connect" in reason
    bystander.check()


def test_a_timestamp_from_the_future(server: Any, open_client: Any) -> None:
    bystander = Bystander(server, open_client())
    client = open_client()
    future = base64.b64encode(struct.pack("<Q", 2**62)).decode()
    client.send({"type": "Connect", "sessionId": "x", "connectionCount": 1, "maxObservedTimestamp": future})
    client.send(modify(0, 1))
    received, code, reason = _ending(client)
    assert (received, code) == ([], 1011)
    assert reason.startswith("InternalServerError: ")
    assert "maxObservedTimestamp" in reason
    bystander.check()


@pytest.mark.parametrize(
    ("token", "value"), [("User", "nonsense"), ("User", "a.b.c"), ("Admin", "wrong|key"), ("Admin", "")]
)
def test_a_token_that_proves_nothing(server: Any, client: Any, token: str, value: str) -> None:
    with server.unchanged():
        client.send({"type": "Authenticate", "baseVersion": 0, "tokenType": token, "value": value})
        messages, _, _ = _ending(client)
    [refusal] = messages
    assert refusal["type"] == "AuthError"
    assert refusal["authUpdateAttempted"] is True
    assert refusal["baseVersion"] == 0
    expected = "Could not parse the token as a JWT." if token == "User" else "The provided admin key is invalid"
    assert expected in refusal["error"]


# What is wrong with one call is that call's failure; the connection goes on.


@pytest.mark.parametrize(
    ("path", "args", "says"),
    [
        ("shop:none", [{}], "Could not find public function for 'shop:none'."),
        ("shop:hidden", [{}], "Could not find public function for 'shop:hidden'."),
        ("shop list", [{}], "'shop list' is not a path to a function"),
        ("", [{}], "'' is not a path to a function"),
        ("shop:list", [{"label": 3}], "Path: .label\nValue: 3.0\nValidator: v.string()"),
        ("shop:list", [{"label": "a", "lable": "a"}], "extra field `lable`"),
        ("shop:list", [{}], "missing the required field `label`"),
        ("shop:list", [], "missing the required field `label`"),
        ("shop:list", [3], "The arguments of a function must be one object."),
        ("shop:list", [{}, {}], "The arguments of a function must be one object."),
        ("shop:echo", [{"value": {"$money": 1}}], "Arguments at path .value: field name '$money' starts with `$`"),
        ("shop:echo", [{"value": [0] * 8193}], "Arguments at path .value: the array has 8193 elements"),
        ("shop:read_table", [{"table": "itmes"}], "There is no table `itmes` in the schema. Did you mean `items`?"),
    ],
)
def test_a_query_that_cannot_be_run(client: Any, server: Any, path: str, args: Any, says: str) -> None:
    client.send(modify(0, 1, add(0, args=[{"label": "none"}]), add(1, path, args=args)))
    results = {change["queryId"]: change for change in client.next()["modifications"]}
    assert results[0]["type"] == "QueryUpdated"
    assert results[1]["type"] == "QueryFailed"
    assert says in results[1]["errorMessage"]
    assert "errorData" not in results[1]
    client.send(modify(1, 2, {"type": "Remove", "queryId": 1}))
    assert client.next()["modifications"] == [{"type": "QueryRemoved", "queryId": 1}]


@pytest.mark.parametrize(
    ("path", "args", "says"),
    [
        ("shop:none", {}, "Could not find public function for 'shop:none'."),
        ("shop add", {}, "'shop add' is not a path to a function"),
        ("shop:add", {"label": "a"}, "missing the required field `price`"),
        ("shop:add", {"label": "a", "price": "dear"}, 'Path: .price\nValue: "dear"'),
        ("shop:insert", {"table": "items", "document": {"label": "a"}}, "missing the required field `price`"),
        ("shop:insert_named", {"name": "$money"}, "field name '$money' starts with `$`"),
        ("shop:insert", {"table": "loose", "document": {"$money": 1}}, "Arguments at path .document: field name"),
        ("shop:forget_write", {}, "put `await` before it"),
    ],
)
def test_a_mutation_that_cannot_be_run(client: Any, server: Any, path: str, args: Any, says: str) -> None:
    with server.unchanged():
        client.send(mutation(0, path, args))
        response, transition = client.next(), client.next()
    assert (response["type"], response["requestId"], response["success"]) == ("MutationResponse", 0, False)
    assert response["ts"] is None
    assert "errorData" not in response
    assert says in response["result"]
    assert (transition["type"], transition["modifications"]) == ("Transition", [])
    # The next mutation of the same connection is served.
    client.send(mutation(1, "shop:add", {"label": "next", "price": 1.0}))
    assert client.next()["success"] is True


def test_an_action_that_cannot_be_run(client: Any, server: Any) -> None:
    with server.unchanged():
        for number, (path, says) in enumerate(
            (("shop:none", "Could not find public function"), ("shop:database_in_action", "an action has no ctx.db"))
        ):
            client.send({**mutation(number, path), "type": "Action"})
            response, transition = client.next(), client.next()
            assert (response["type"], response["success"]) == ("ActionResponse", False)
            assert says in response["result"]
            assert transition["type"] == "Transition"


@pytest.mark.parametrize("version", ["0.19.1", "nonsense"])
def test_a_client_that_is_no_client(server: Any, version: str) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": base64.b64encode(b"0" * 16).decode(),
    }
    response = server.request("GET", f"/api/{version}/sync", headers=upgrade)
    assert response.status_code == 400
    error = response.json()
    assert error["code"] in ("ClientVersionUnsupported", "InvalidClientVersion")
    assert version in error["message"]
