"""The HTTP API on a real database, by the official Python client and by plain requests; numbers are those of
spec/http-and-admin.md section 10."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from convex import ConvexError, ConvexInt64
from convex.http_client import ConvexHttpClient

pytestmark = pytest.mark.slow


@pytest.fixture
def channel() -> str:
    return f"channel {uuid.uuid4()}"


@pytest.fixture
def http(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url) as client:
        yield client


def post(http: httpx.Client, route: str, **body: Any) -> Any:
    response = http.post(f"/api/{route}", json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("kind", ["query", "mutation", "action"])
def test_1_values(server: Any, kind: str) -> None:
    path = {"query": "messages:echo", "mutation": "messages:echo_mutation", "action": "messages:echo_action"}[kind]
    value = {"int64": ConvexInt64(-(2**63)), "bytes": b"\x00\xff", "text": "ü🙂\x00", "nested": [{"a.b": [None, True]}]}
    call = getattr(ConvexHttpClient(server.url), kind)
    assert call(path, {"value": value}) == value
    assert math.copysign(1, call(path, {"value": -0.0})) == -1
    assert math.isnan(call(path, {"value": math.nan}))


def test_2_failures(server: Any) -> None:
    client = ConvexHttpClient(server.url)
    with pytest.raises(ConvexError) as raised:
        client.mutation("messages:refuse", {"data": {"code": "full"}})
    assert raised.value.data == {"code": "full"}
    with pytest.raises(Exception, match="Uncaught ValueError: something broke"):
        client.mutation("messages:crash", {})


def test_7_a_pinned_read_shows_the_old_state(http: httpx.Client, channel: str) -> None:
    send = {"path": "messages:send", "args": {"channel": channel, "body": "x"}}
    count = {"path": "messages:count", "args": {"channel": channel}}
    post(http, "mutation", **send)
    ts = http.post("/api/query_ts").json()["ts"]
    post(http, "mutation", **send)
    assert post(http, "query_at_ts", **count, ts=ts)["value"] == 1
    assert post(http, "query", **count)["value"] == 2


def test_7_a_batch_is_consistent_while_others_write(server: Any, http: httpx.Client, channel: str) -> None:
    queries = [{"path": f"messages:{name}", "args": {"channel": channel}} for name in ("list", "count", "list")]
    over = threading.Event()

    def write() -> None:
        client = ConvexHttpClient(server.url)
        while not over.is_set():
            client.mutation("messages:send", {"channel": channel, "body": "x"})

    writer = threading.Thread(target=write)
    writer.start()
    try:
        seen = set()
        while len(seen) < 10:
            listed, count, again = (one["value"] for one in post(http, "query_batch", queries=queries)["results"])
            assert len(listed) == count == len(again)
            seen.add(count)
    finally:
        over.set()
        writer.join()


def test_9_what_is_missing_looks_like_what_is_internal(server: Any, http: httpx.Client) -> None:
    for path in ("messages:nowhere", "messages:hidden", "nowhere:list"):
        message = post(http, "query", path=path, args={})["errorMessage"]
        assert f"Could not find public function for '{path}'" in message
    with_key = {"authorization": f"Convex {server.admin_key}"}
    response = http.post("/api/function", json={"path": "messages:nowhere", "args": {}}, headers=with_key)
    assert "Could not find function" in response.json()["errorMessage"]
    response = http.post("/api/function", json={"path": "messages:hidden", "args": {}}, headers=with_key)
    assert response.json()["value"] == "internal"
