"""Authentication on one connection: spec/sync-protocol.md section 4, and tests 27 to 33 of its section 8."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from concave.auth.caller import Caller, not_permitted
from concave.sync.limits import SessionLimits
from concave.values.errors import OverloadError, unauthenticated

Settled = Callable[..., Awaitable[None]]


class Verifier:
    """Knows `ann` and `bob`. `held` delays it; `expires_ms` is when its tokens end."""

    def __init__(self) -> None:
        self.held = asyncio.Event()
        self.held.set()
        self.expires_ms: float | None = None
        self.is_down = False
        self.verified: list[str] = []

    async def user(self, token: str) -> Caller:
        await self.held.wait()
        if self.is_down:
            raise OverloadError("AuthProviderDiscoveryFailed", "its keys cannot be had")
        if token not in ("ann", "bob"):
            raise unauthenticated("Unauthenticated", f"not verified: {token}")
        self.verified.append(token)
        return Caller({"subject": token}, expires_ms=self.expires_ms)

    def admin(self, key: str, acting_as: dict[str, Any] | None) -> Caller:
        match key:
            case "key":
                return Caller(acting_as, is_admin=True)
            case "read-only":
                return Caller(is_admin=True, is_read_only=True)
        raise unauthenticated("BadAdminKey", "not the key")


@pytest.fixture
def verifier() -> Verifier:
    return Verifier()


@pytest.fixture
def connect(new_client: Callable[..., Any], verifier: Verifier) -> Callable[..., Any]:
    def connect(**options: Any) -> Any:
        client = new_client(verifier=verifier, **options)
        client.connect()
        return client

    return connect


def log_in(client: Any, token: str, base: int = 0) -> None:
    client.say("Authenticate", baseVersion=base, tokenType="User", value=token)


async def test_27_a_valid_token_advances_the_identity(connect: Any, settled: Settled) -> None:
    client = connect()
    log_in(client, "ann")
    await settled(lambda: bool(client.transitions))
    [transition] = client.transitions
    assert (transition["startVersion"]["identity"], transition["endVersion"]["identity"]) == (0, 1)
    assert transition["modifications"] == []


async def test_28_a_bad_token_ends_the_connection(connect: Any, settled: Settled) -> None:
    client = connect()
    log_in(client, "forged")
    client.modify({0: ("me", {})})
    client.mutate(0, key="a", by=1)
    await settled(lambda: client.closed is not None)
    [error] = client.messages
    assert error == {
        "type": "AuthError",
        "error": "not verified: forged",
        "baseVersion": 0,
        "authUpdateAttempted": True,
    }
    await settled()
    assert client.node.applied == [], "what came after the token was never taken in"


async def test_a_bad_token_after_a_good_one_names_the_version_that_was_shown(connect: Any, settled: Settled) -> None:
    client = connect()
    log_in(client, "ann")
    await settled(lambda: bool(client.transitions))
    log_in(client, "forged", base=1)
    await settled(lambda: client.closed is not None)
    assert client.messages[-1]["baseVersion"] == 1


async def test_29_two_tokens_back_to_back(connect: Any, settled: Settled, verifier: Verifier) -> None:
    client = connect()
    log_in(client, "ann")
    log_in(client, "bob", base=1)
    client.modify({0: ("me", {})})
    await settled(lambda: client.version["identity"] == 2 and bool(client.results))
    assert client.values() == {0: {"subject": "bob"}}
    assert verifier.verified == ["ann", "bob"]


async def test_messages_wait_for_the_verification_in_their_order(
    connect: Any, settled: Settled, verifier: Verifier, node: Any
) -> None:
    verifier.held.clear()
    client = connect()
    client.mutate(0, key="a", by=1)
    log_in(client, "ann")
    client.mutate(1, key="a", by=1)
    client.say("Authenticate", baseVersion=1, tokenType="None")
    client.mutate(2, key="a", by=1)
    log_in(client, "bob", base=2)
    client.say("Action", requestId=3, udfPath="act", args=[{}])
    await settled()
    assert [caller for _, caller, _ in node.callers] == [None]
    assert client.version["identity"] == 0, "the identity advances only once the token is verified"
    verifier.held.set()
    await settled(lambda: 3 in client.responses and 2 in client.resolved)
    by_call = [(path, identity and identity["subject"]) for path, identity, _ in node.callers]
    assert sorted(by_call[1:], key=str) == sorted([("add", "ann"), ("add", None), ("act", "bob")], key=str)
    assert [request for _, request in node.applied] == [0, 1, 2]


async def test_a_wrong_base_version_is_refused_before_the_token_is_looked_at(
    connect: Any, settled: Settled, verifier: Verifier
) -> None:
    client = connect()
    log_in(client, "ann", base=1)
    await settled(lambda: client.closed is not None)
    assert client.closed[0] == 1011
    assert not client.messages
    assert not verifier.verified


async def test_a_client_that_leaves_during_the_verification(connect: Any, settled: Settled, verifier: Verifier) -> None:
    verifier.held.clear()
    client = connect()
    log_in(client, "ann")
    client.modify({0: ("me", {})})
    client.session.disconnected()
    verifier.held.set()
    await settled()
    assert not client.messages
    assert client.closed is None


async def test_too_many_messages_during_the_verification(connect: Any, verifier: Verifier) -> None:
    verifier.held.clear()
    client = connect(limits=SessionLimits(messages_waiting_max=3))
    log_in(client, "ann")
    for number in range(4):
        client.mutate(number, key="a", by=1)
    assert client.closed == (1013, "TooManyMessages")


@pytest.mark.parametrize("kind", ["Mutation", "Action"])
async def test_30_an_expired_token_ends_the_connection_when_a_call_arrives(
    kind: str, connect: Any, settled: Settled, verifier: Verifier, node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier.expires_ms = 2_000.0
    monkeypatch.setattr(node.runtime, "now_ms", lambda: 1_999.0)
    client = connect()
    log_in(client, "ann")
    await settled(lambda: bool(client.transitions))
    client.messages.clear()
    monkeypatch.setattr(node.runtime, "now_ms", lambda: 2_000.0)
    await settled()
    assert client.closed is None, "nothing is done about it before somebody wants something"
    client.say(kind, requestId=0, udfPath="add", args=[{"key": "a", "by": 1}])
    assert client.closed is not None
    [error] = client.messages
    assert (error["type"], error["authUpdateAttempted"], error["baseVersion"]) == ("AuthError", False, 1)
    await settled()
    assert not node.callers


async def test_an_expired_token_is_noticed_before_an_update(
    connect: Any, settled: Settled, verifier: Verifier, node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifier.expires_ms = 2_000.0
    monkeypatch.setattr(node.runtime, "now_ms", lambda: 1.0)
    client = connect()
    log_in(client, "ann")
    client.modify({0: ("get", {"key": "a"})})
    await settled(lambda: bool(client.results))
    monkeypatch.setattr(node.runtime, "now_ms", lambda: 3_000.0)
    verifier.expires_ms = 9_000.0
    verifier.held.clear()
    log_in(client, "ann", base=1)
    node.write("a", 7)
    await settled()
    assert client.closed is None, "a newer token is under way"
    assert client.values() == {0: None}
    verifier.held.set()
    await settled(lambda: client.values() == {0: 7})
    assert client.version["identity"] == 2
    monkeypatch.setattr(node.runtime, "now_ms", lambda: 9_000.0)
    node.write("a", 8)
    await settled(lambda: client.closed is not None)
    assert client.messages[-1]["authUpdateAttempted"] is False
    assert client.values() == {0: 7}


async def test_31_only_queries_that_looked_at_the_identity_are_run_again(
    connect: Any, settled: Settled, node: Any
) -> None:
    client = connect()
    log_in(client, "ann")
    client.modify({0: ("me", {}), 1: ("all", {})})
    await settled(lambda: len(client.results) == 2)
    assert client.values()[0] == {"subject": "ann"}
    log_in(client, "ann", base=1)
    await settled(lambda: client.version["identity"] == 2)
    assert client.transitions[-1]["modifications"] == [], "a refreshed token is the same identity"
    client.say("Authenticate", baseVersion=2, tokenType="None")
    await settled(lambda: client.version["identity"] == 3)
    assert [m["queryId"] for m in client.transitions[-1]["modifications"]] == [0]
    assert client.values()[0] is None
    assert [path for path, _ in node.runs].count("all") == 1
    assert [path for path, _ in node.runs].count("me") == 2


async def test_results_are_shared_between_users_unless_they_looked(connect: Any, settled: Settled, node: Any) -> None:
    clients = [connect(), connect(), connect()]
    for client, token in zip(clients, ("ann", "bob", "ann"), strict=True):
        log_in(client, token)
        client.modify({0: ("all", {}), 1: ("me", {})})
        await settled(lambda client=client: len(client.results) == 2)
    assert [client.values()[1]["subject"] for client in clients] == ["ann", "bob", "ann"]
    paths = [path for path, _ in node.runs]
    assert (paths.count("all"), paths.count("me")) == (1, 2)


async def test_32_an_unreachable_provider_closes_without_an_auth_error(
    connect: Any, settled: Settled, verifier: Verifier
) -> None:
    verifier.is_down = True
    client = connect()
    log_in(client, "ann")
    await settled(lambda: client.closed is not None)
    assert client.closed == (1013, "AuthProviderDiscoveryFailed")
    assert not client.messages


@pytest.mark.parametrize("name", ["impersonating", "acting_as"])
async def test_33_an_admin_acts_as_a_user_and_sees_internal_functions(
    name: str, connect: Any, settled: Settled, node: Any
) -> None:
    client = connect()
    client.modify({0: ("me", {}), 1: ("hidden", {})})
    await settled(lambda: len(client.results) == 2)
    assert client.results[1]["type"] == "QueryFailed"
    who = {"tokenIdentifier": "i|ann", "subject": "ann"}
    client.say("Authenticate", baseVersion=0, tokenType="Admin", value="key", **{name: who})
    client.mutate(0, key="a", by=1)
    await settled(lambda: client.version["identity"] == 1 and 0 in client.resolved)
    assert client.values() == {0: who, 1: "seen"}
    assert node.callers == [("add", who, True)]
    client.say("Authenticate", baseVersion=1, tokenType="None")
    await settled(lambda: client.version["identity"] == 2)
    assert client.results[1]["type"] == "QueryFailed"


async def test_an_admin_is_nobody_in_particular(connect: Any, settled: Settled) -> None:
    client = connect()
    client.say("Authenticate", baseVersion=0, tokenType="Admin", value="key")
    client.modify({0: ("me", {}), 1: ("hidden", {})})
    await settled(lambda: len(client.results) == 2)
    assert client.values() == {0: None, 1: "seen"}


async def test_a_bad_admin_key(connect: Any, settled: Settled) -> None:
    client = connect()
    client.say("Authenticate", baseVersion=0, tokenType="Admin", value="wrong")
    await settled(lambda: client.closed is not None)
    assert client.messages[0]["authUpdateAttempted"] is True


async def test_a_read_only_admin_changes_nothing(connect: Any, settled: Settled, node: Any) -> None:
    client = connect()
    client.say("Authenticate", baseVersion=0, tokenType="Admin", value="read-only")
    client.modify({0: ("hidden", {})})
    client.mutate(0, key="a", by=1)
    client.say("Action", requestId=1, udfPath="act", args=[{}])
    await settled(lambda: {0, 1} <= client.responses.keys() and bool(client.results))
    assert client.values() == {0: "seen"}
    for response in client.responses.values():
        assert response["success"] is False
        assert not_permitted("deployment:data:write").message in response["result"]
    assert not node.callers


async def test_an_unexpected_failure_of_the_verification_is_ours(connect: Any, settled: Settled, verifier: Any) -> None:
    async def broken(token: str) -> Caller:
        raise RuntimeError("a bug")

    verifier.user = broken
    client = connect()
    log_in(client, "ann")
    await settled(lambda: client.closed is not None)
    assert client.closed[0] == 1011
    assert not client.messages
