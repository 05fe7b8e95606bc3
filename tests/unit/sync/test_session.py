"""Sessions over a fake node: the cases of spec/sync-protocol.md section 8 that concern the state machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest

from concave.sync.limits import SessionLimits
from concave.sync.session_state import Phase
from concave.values.errors import ConflictError
from concave.values.timestamps import ts_to_wire
from concave.values.types import Timestamp

Settled = Callable[..., Awaitable[None]]
NewClient = Callable[..., Any]


async def connected(new_client: NewClient, *args: Any, **fields: Any) -> Any:
    client = new_client(*args)
    client.connect(**fields)
    return client


async def test_an_empty_query_set_is_acknowledged(new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    client.modify()
    await settled(lambda: bool(client.transitions))
    [transition] = client.transitions
    assert transition["startVersion"] == {"querySet": 0, "identity": 0, "ts": "AAAAAAAAAAA="}
    assert transition["endVersion"]["querySet"] == 1
    assert transition["modifications"] == []
    assert isinstance(transition["clientClockSkew"], int)


async def test_a_mutation_without_queries_gets_its_response_and_then_a_transition(
    new_client: NewClient, settled: Settled
) -> None:
    client = await connected(new_client)
    client.mutate(0, key="a", by=1)
    await settled(lambda: 0 in client.resolved)
    assert [message["type"] for message in client.messages] == ["MutationResponse", "Transition"]
    assert client.messages[1]["endVersion"]["querySet"] == 0


async def test_a_result_is_sent_once_and_again_only_when_it_differs(
    node: Any, new_client: NewClient, settled: Settled
) -> None:
    client = await connected(new_client)
    client.modify({0: ("parity", {"key": "a"})})
    await settled(lambda: bool(client.transitions))
    node.write("a", 2)  # in range, but the parity stays
    await settled()
    assert len(client.transitions) == 1, "nothing was asked and nothing has changed"
    node.write("a", 3)
    await settled(lambda: len(client.transitions) == 2)
    assert client.values() == {0: 1}


async def test_a_burst_of_query_sets_ends_in_few_transitions(new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    for number in range(100):
        client.modify({number: ("get", {"key": str(number)})})
    await settled(lambda: client.version["querySet"] == 100)
    assert len(client.transitions) <= 3
    assert len(client.results) == 100


async def test_add_and_remove_before_the_first_result(node: Any, new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    client.modify({0: ("get", {"key": "a"})})
    client.modify(remove=(0,))
    await settled(lambda: bool(client.transitions))
    assert client.transitions[-1]["modifications"] == [{"type": "QueryRemoved", "queryId": 0}]
    node.write("a", 1)
    await settled()
    assert len(client.transitions) == 1
    assert not client.results


async def test_remove_while_the_first_run_is_under_way(node: Any, new_client: NewClient, settled: Settled) -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def pace(path: str) -> None:
        await held

    node.pace = pace
    client = await connected(new_client)
    client.modify({0: ("get", {"key": "a"})})
    await settled(lambda: bool(node.runs))
    client.modify(remove=(0,))
    held.set_result(None)
    await settled(lambda: client.version["querySet"] == 2)
    kinds = [m["type"] for t in client.transitions for m in t["modifications"]]
    assert kinds == ["QueryRemoved"]
    assert all(not live.subscriptions for live in node.cache.live_queries())


async def test_remove_and_add_again_under_the_same_id(new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    client.modify({0: ("get", {"key": "a"})})
    await settled(lambda: bool(client.results))
    client.modify(remove=(0,))
    client.modify({0: ("parity", {"key": "a"})})
    await settled(lambda: client.version["querySet"] == 3)
    assert client.values() == {0: 0}
    assert [m["type"] for m in client.transitions[-1]["modifications"]] == ["QueryUpdated"]


async def test_the_response_comes_before_the_transition_that_shows_it(
    node: Any, new_client: NewClient, settled: Settled
) -> None:
    client = await connected(new_client)
    client.modify({0: ("get", {"key": "a"}), 1: ("all", {})})
    await settled(lambda: bool(client.transitions))
    client.messages.clear()
    client.mutate(0, key="a", by=5)
    await settled(lambda: 0 in client.resolved)
    assert [message["type"] for message in client.messages] == ["MutationResponse", "Transition"]
    assert client.values() == {0: 5, 1: {"a": 5}}


async def test_a_mutation_that_throws(new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    client.mutate(0, path="throw")
    await settled(lambda: bool(client.transitions))
    response, transition = client.messages
    assert response["success"] is False
    assert response["ts"] is None
    assert "errorData" not in response
    assert transition["type"] == "Transition"


async def test_mutations_run_one_at_a_time_in_order(node: Any, new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    for number in range(50):
        client.mutate(number, key="a", by=1)
    await settled(lambda: len(client.resolved) == 50, turns=5_000)
    assert [request for _, request in node.applied] == list(range(50))
    assert list(client.responses) == list(range(50))
    assert node.value_at("a", node.latest_ts) == 50


async def test_a_slow_action_delays_no_mutation(node: Any, new_client: NewClient, settled: Settled) -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def pace(path: str) -> None:
        if path == "slow":
            await held

    node.pace = pace
    client = await connected(new_client)
    client.say("Action", requestId=0, udfPath="slow", args=[{"x": 1}])
    client.mutate(1, key="a", by=1)
    await settled(lambda: 1 in client.resolved)
    assert 0 not in client.responses
    held.set_result(None)
    await settled(lambda: 0 in client.responses)
    assert client.responses[0]["result"] == {"x": 1}
    await settled(lambda: client.messages[-1]["type"] == "Transition")


async def test_a_resent_mutation_is_answered_with_its_first_result(
    node: Any, new_client: NewClient, settled: Settled
) -> None:
    first = await connected(new_client)
    first.reads = False
    first.mutate(0, key="a", by=1)
    await settled(lambda: bool(node.applied))
    first.session.disconnected()
    again = await connected(new_client, connectionCount=1)
    again.modify({0: ("get", {"key": "a"})})
    again.mutate(0, key="a", by=1)
    await settled(lambda: 0 in again.resolved)
    assert node.applied == [("s", 0)]
    assert again.responses[0]["ts"] == ts_to_wire(node.requests["s", 0].ts)
    assert again.values() == {0: 1}
    assert node.look_ups == 1
    again.mutate(1, key="a", by=1)
    await settled(lambda: 1 in again.resolved)
    assert node.look_ups == 1, "after the first burst nobody is asked before a mutation runs"


async def test_an_ordinary_mutation_is_looked_up_nowhere(node: Any, new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    client.mutate(0, key="a", by=1)
    await settled(lambda: 0 in client.resolved)
    assert node.look_ups == 0


async def test_a_resend_that_only_the_store_recognises(node: Any, new_client: NewClient, settled: Settled) -> None:
    for _ in range(2):
        client = await connected(new_client)  # connectionCount 0 proves nothing
        client.mutate(0, key="a", by=1)
        await settled(lambda client=client: 0 in client.resolved)  # type: ignore[misc]
        client.session.disconnected()
    assert node.value_at("a", node.latest_ts) == 1


async def test_queued_mutations_are_dropped_with_the_connection(
    node: Any, new_client: NewClient, settled: Settled
) -> None:
    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def pace(path: str) -> None:
        await held

    node.pace = pace
    client = await connected(new_client)
    for number in range(3):
        client.mutate(number, key="a", by=1)
    await settled()
    client.session.disconnected()
    held.set_result(None)
    await settled()
    assert node.applied == [("s", 0)], "what had begun went on, what waited did not"
    assert not client.messages


async def test_a_new_connection_is_sent_every_result_again(new_client: NewClient, settled: Settled) -> None:
    for _ in range(2):
        client = await connected(new_client)
        client.modify({n: ("get", {"key": str(n)}) for n in range(3)})
        await settled(lambda client=client: len(client.results) == 3)  # type: ignore[misc]
        client.session.disconnected()


async def test_an_observed_timestamp_ahead_of_us_is_a_floor_or_the_end(
    node: Any, new_client: NewClient, settled: Settled
) -> None:
    ahead = Timestamp(node.latest_ts + 1)
    client = await connected(new_client, maxObservedTimestamp=ts_to_wire(ahead))
    client.modify({0: ("get", {"key": "a"})})
    await settled(turns=50)
    assert not client.transitions
    node.write("b", 1)
    await settled(lambda: bool(client.transitions))
    assert client.ts >= ahead
    tomorrow = Timestamp(int((node.runtime.now_ms() + 86_400_000) * 1_000_000))
    client = await connected(new_client, maxObservedTimestamp=ts_to_wire(tomorrow))
    assert client.closed is not None
    assert client.closed[0] == 1011
    assert client.closed[1].startswith("InternalServerError")


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "ModifyQuerySet", "baseVersion": 1, "newVersion": 2, "modifications": []}],
        [{"type": "ModifyQuerySet", "baseVersion": 0, "newVersion": 0, "modifications": []}],
        [
            {
                "type": "ModifyQuerySet",
                "baseVersion": 0,
                "newVersion": 1,
                "modifications": [{"type": "Add", "queryId": 1, "udfPath": "get", "args": [{}]}] * 2,
            }
        ],
        [
            {
                "type": "ModifyQuerySet",
                "baseVersion": 0,
                "newVersion": 1,
                "modifications": [{"type": "Remove", "queryId": 1}],
            }
        ],
        [{"type": "Authenticate", "baseVersion": 1, "tokenType": "None"}],
        [{"type": "Mutation", "requestId": 0, "udfPath": "add", "args": [{}], "componentPath": "c"}],
        [{"type": "Connect", "sessionId": "s", "connectionCount": 0}],
    ],
)
async def test_a_slip_that_a_reconnect_heals_ends_the_connection_with_1011(
    messages: list[Any], new_client: NewClient, settled: Settled
) -> None:
    client, other = await connected(new_client), await connected(new_client)
    for message in messages:
        client.session.receive(orjson.dumps(message))
    assert client.closed is not None
    assert client.closed[0] == 1011
    assert client.closed[1].startswith("InternalServerError")
    assert not client.messages
    other.modify({0: ("get", {"key": "a"})})
    await settled(lambda: bool(other.results))


async def test_nothing_may_precede_connect(new_client: NewClient) -> None:
    client = new_client()
    client.session.receive(b'{"type":"Event","eventType":"x","event":null}')
    client.session.receive(b'{"type":"Authenticate","baseVersion":0,"tokenType":"None"}')
    assert client.closed is not None
    assert client.closed[0] == 1011
    assert client.closed[1].startswith("InternalServerError")


@pytest.mark.parametrize("text", [b"{", b"[]", b'{"type":"Bogus"}', b'{"type":"Mutation","requestId":0,"udfPath":"f"}'])
async def test_undecodable_input_is_fatal(text: bytes, new_client: NewClient) -> None:
    client = await connected(new_client)
    client.session.receive(text)
    assert [message["type"] for message in client.messages] == ["FatalError"]
    assert client.closed == (1000, "FatalError")
    client.session.receive(b'{"type":"Event","eventType":"x","event":null}')


async def test_logging_out_advances_the_identity_without_sending_results_again(
    new_client: NewClient, settled: Settled
) -> None:
    client = await connected(new_client)
    client.modify({0: ("get", {"key": "a"})})
    await settled(lambda: bool(client.results))
    client.say("Authenticate", baseVersion=0, tokenType="None")
    client.say("Authenticate", baseVersion=1, tokenType="None")
    await settled(lambda: client.version["identity"] == 2)
    assert client.transitions[-1]["modifications"] == []


@pytest.mark.parametrize("fields", [{"tokenType": "User", "value": "x.y.z"}, {"tokenType": "Admin", "value": "key"}])
async def test_without_providers_and_keys_all_are_refused(fields: Any, new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    client.say("Authenticate", baseVersion=0, **fields)
    await settled(lambda: client.closed is not None)
    [error] = client.messages
    assert error["type"] == "AuthError"
    assert error["authUpdateAttempted"] is True
    assert error["baseVersion"] == 0
    assert client.closed is not None
    assert client.session.state.phase is Phase.CLOSED


async def test_failing_queries_and_bad_arguments_are_results(
    node: Any, new_client: NewClient, settled: Settled
) -> None:
    client = await connected(new_client)
    client.modify({0: ("bad", {}), 1: ("get", {"$bad": 1}), 2: ("get", {"key": "a"})})
    await settled(lambda: len(client.results) == 3)
    assert client.results[0]["type"] == client.results[1]["type"] == "QueryFailed"
    assert "errorData" not in client.results[0]
    assert "$bad" in client.results[1]["errorMessage"]
    node.write("a", 1)
    await settled(lambda: len(client.transitions) == 2)
    ids = [m["queryId"] for m in client.transitions[1]["modifications"]]
    assert ids == [2], "the same failure with another request id is no news"
    client.mutate(0, path="add", **{"$bad": 1})
    await settled(lambda: 0 in client.responses)
    assert client.responses[0]["success"] is False


async def test_trouble_of_ours_is_no_failed_mutation(node: Any, new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    client.mutate(0, path="crash")
    await settled(lambda: client.closed is not None)
    assert client.closed is not None
    assert client.closed[0] == 1011
    assert client.closed[1].startswith("InternalServerError")
    assert not client.messages

    async def conflict(*args: Any, **kwargs: Any) -> None:
        raise ConflictError("again and again")

    node.mutation = conflict
    client = await connected(new_client)
    client.mutate(0, path="add")
    await settled(lambda: client.closed is not None)
    assert client.closed == (1013, "OptimisticConcurrencyControlFailure")


async def test_a_slow_reader_skips_states(node: Any, new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    client.modify({0: ("get", {"key": "a"})})
    await settled(lambda: bool(client.transitions))
    client.reads = False
    for value in range(50):
        node.write("a", value)
        await settled(turns=10)
    assert len(client.outbox) <= 2
    client.reads = True
    client.take()
    await settled(lambda: client.values() == {0: 49})
    assert len(client.transitions) <= 5


async def test_the_limits_end_the_connection(node: Any, new_client: NewClient, settled: Settled) -> None:
    async def never(path: str) -> None:
        await asyncio.get_running_loop().create_future()

    node.pace = never
    limits = SessionLimits(mutations_queued_max=2, actions_in_flight_max=2, queries_max=2)
    client = await connected(new_client, limits)
    for number in range(4):
        client.say("Action", requestId=number, udfPath="f", args=[{}])
    assert client.closed == (1013, "TooManyInflightActionsForSingleClient")
    client = await connected(new_client, limits)
    for number in range(2):
        client.mutate(number, key="a", by=1)
    await settled(turns=20)
    for number in range(2, 5):
        client.mutate(number, key="a", by=1)
    assert client.closed == (1013, "TooManyConcurrentMutations")
    client = await connected(new_client, limits)
    client.modify({number: ("get", {"key": "a"}) for number in range(3)})
    assert client.closed == (1013, "TooManyQueries")


async def test_journals_travel_and_pin_a_page_again(node: Any, new_client: NewClient, settled: Settled) -> None:
    node.write("a", 1)
    client = await connected(new_client)
    client.modify({0: ("page", {})})
    await settled(lambda: bool(client.results))
    journal = client.journals[0]
    assert journal == "1"
    node.write("b", 1)
    await settled(lambda: client.values() == {0: {"pinned": 1, "now": 2}})
    client.session.disconnected()
    again = await connected(new_client)
    again.journals[0] = journal
    again.modify({0: ("page", {})}, journal=journal)
    await settled(lambda: bool(again.results))
    assert again.values() == {0: {"pinned": 1, "now": 2}}


async def test_nothing_is_left_behind(node: Any, new_client: NewClient, settled: Settled) -> None:
    client = await connected(new_client)
    client.modify({n: ("get", {"key": str(n)}) for n in range(5)})
    await settled(lambda: len(client.results) == 5)
    client.modify({9: ("bad", {})}, remove=(0,))
    client.session.disconnected()
    client.session.disconnected()
    assert all(not live.subscriptions for live in node.cache.live_queries())
