"""HTTP requests that are no calls at all: an error with code and message, and nothing else happens."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.slow

AS_JSON = {"content-type": "application/json"}


def _refusal(server: Any, status: int, method: str, route: str, **request: Any) -> tuple[str, str]:
    """Code and message of the error that a request must get; afterwards the server still answers."""
    with server.unchanged():
        response = server.request(method, route, **request)
        assert server.value("query", "shop:count", {"label": "none"}) == 0.0
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()
    assert set(error) == {"code", "message"}
    return error["code"], error["message"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"path": "shop:list", ', "unexpected end of data: line 1 column 23"),
        (b"", "Input is a zero-length"),
        (b"hello", "line 1 column 1"),
        (b'{"path":"shop:echo","args":{"value":NaN}}', "line 1 column 37"),
        (b'{"path":"shop:echo","args":{"value":1e999}}', "line 1 column 37"),
        (b'{"path":"shop:echo","args":{"value":"\\ud800"}}', "surrogate"),
        (b'{"path":"shop:echo","args":{"value":"\xff"}}', "UTF-8"),
        (b'{"path":"shop:echo","args":{"value":1,}}', "line 1 column"),
        (b'{"path":"shop:echo","args":{"value":' + b"[" * 5000 + b"]" * 5000 + b"}}", "depth limit exceeded"),
    ],
)
@pytest.mark.parametrize("route", ["/api/query", "/api/mutation"])
def test_a_body_that_is_no_json(server: Any, route: str, body: bytes, where: str) -> None:
    code, message = _refusal(server, 400, "POST", route, content=body, headers=AS_JSON)
    assert code == "BadJsonBody"
    assert message.startswith("The request body is not valid JSON: ")
    assert where in message


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([1], "The request body must be a JSON object."),
        ({}, "`path` must be a string such as `dir/module:function`."),
        ({"path": 3, "args": {}}, "`path` must be a string such as `dir/module:function`."),
        ({"path": "shop:list"}, "`args` is missing: an object with the function's arguments."),
        ({"path": "shop:list", "args": 3}, "`args` must be an object, or an array with one object."),
        ({"path": "shop:list", "args": [{}, {}]}, "`args` must be an object, or an array with one object."),
    ],
)
def test_a_body_that_is_no_call(server: Any, body: Any, says: str) -> None:
    assert _refusal(server, 400, "POST", "/api/mutation", json=body) == ("BadJsonBody", says)


def test_a_body_of_another_type(server: Any) -> None:
    code, message = _refusal(server, 400, "POST", "/api/query", content=b"a=1", headers={"content-type": "text/plain"})
    assert code == "BadJsonBody"
    assert "`Content-Type: application/json`" in message


def test_a_path_that_cannot_be_one(server: Any) -> None:
    code, message = _refusal(server, 400, "POST", "/api/query", json={"path": "shop list", "args": {}})
    assert code == "BadConvexFunctionIdentifier"
    assert "'shop list' is not a path to a function: expected `dir/module:function`" in message


def test_a_format_that_does_not_exist(server: Any) -> None:
    body = {"path": "shop:count", "args": {"label": ""}, "format": "xml"}
    code, message = _refusal(server, 400, "POST", "/api/query", json=body)
    assert code == "BadFormat"
    assert "'xml': use `json`" in message


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "code", "says"),
    [
        ({"a": [1, {"$money": 1}]}, "InvalidFieldName", "Arguments at path .value.a[1]: field name '$money' starts"),
        ({"a": {"$money": 1, "b": 2}}, "InvalidFieldName", "Arguments at path .value.a: field name '$money' starts"),
        ({"größe": 1}, "InvalidFieldName", "Arguments at path .value: field name 'größe' has characters"),
        ({"a": {"$integer": "zz"}}, "InvalidValue", "Arguments at path .value.a: `$integer` holds no valid base64"),
        ({"$integer": "AQ=="}, "InvalidValue", "Arguments at path .value: `$integer` holds 1 bytes, it must be 8."),
        ([0] * 8193, "ArrayTooLong", "Arguments at path .value: the array has 8193 elements, the most is 8192."),
        (dict.fromkeys(map(str, range(1025)), 0), "TooManyFieldsError", "Arguments at path .value: the object has"),
        (_nested(64), "TooNestedError", "nested more than 64 levels deep. Flatten the value."),
    ],
)
def test_arguments_that_are_no_value(server: Any, value: Any, code: str, says: str) -> None:
    found, message = _refusal(server, 400, "POST", "/api/query", json={"path": "shop:echo", "args": {"value": value}})
    assert found == code
    assert says in message


def test_a_body_that_is_too_large(server: Any) -> None:
    body = {"path": "shop:echo", "args": {"value": "x" * (17 << 20)}}
    code, message = _refusal(server, 400, "POST", "/api/query", json=body)
    assert code == "BadJsonBody"
    assert "The request body is larger than 16842752 bytes: send it in parts" in message


@pytest.mark.parametrize(
    ("status", "method", "route", "code", "says"),
    [
        (405, "GET", "/api/mutation", "MethodNotAllowed", "/api/mutation takes POST, not GET."),
        (400, "GET", "/api/nothing", "UnsupportedRoute", "/api/nothing is not served by this deployment."),
        (400, "POST", "/api/run/shop", "MissingIdentifier", "Expected /api/run/<module>/<function>"),
        (400, "GET", "/api/query?args={}", "BadQueryArgs", "The query string must hold `path`."),
        (400, "GET", "/api/query?path=shop:list&args={", "BadQueryArgs", "`args` in the query string is not valid"),
    ],
)
def test_routes_that_are_not_there(server: Any, status: int, method: str, route: str, code: str, says: str) -> None:
    found, message = _refusal(server, status, method, route)
    assert found == code
    assert says in message


@pytest.mark.parametrize(
    ("status", "header", "code", "says"),
    [
        (403, None, "BadDeployKey", "needs the deployment's admin key: `Authorization: Convex <key>`"),
        (401, "Convex wrong|key", "BadAdminKey", "The provided admin key is invalid for this deployment."),
        (401, "Bearer nonsense", "InvalidAuthHeader", "Could not parse the token as a JWT."),
        (400, "Basic dXNlcg==", "InvalidAdminKey", "must begin with `Convex` (admin key) or `Bearer`"),
        (400, "x", "InvalidHeaderFailure", "The Authorization header is too short"),
    ],
)
def test_callers_who_may_not(server: Any, status: int, header: str | None, code: str, says: str) -> None:
    headers = {} if header is None else {"authorization": header}
    body = {"path": "shop:hidden", "args": {}}
    found, message = _refusal(server, status, "POST", "/api/function", json=body, headers=headers)
    assert found == code
    assert says in message


def test_one_bad_query_in_a_batch(server: Any) -> None:
    good = {"path": "shop:count", "args": {"label": "a"}}
    code, message = _refusal(server, 400, "POST", "/api/query_batch", json={"queries": [good, {"path": "shop:count"}]})
    assert (code, message) == ("BadJsonBody", "queries[1]: `args` is missing: an object with the function's arguments.")
    code, message = _refusal(server, 400, "POST", "/api/query_batch", json={"queries": {"path": "shop:count"}})
    assert (code, message) == ("BadJsonBody", "`queries` must be an array of {path, args, format?}.")
    # A query that fails for its own reasons fails alone.
    with server.unchanged():
        response = server.post("/api/query_batch", json={"queries": [good, {"path": "shop:none", "args": {}}]})
    assert [result["status"] for result in response.json()["results"]] == ["success", "error"]


@pytest.mark.parametrize("ts", [None, 3, "zz", "AAAAAAAAAAA", "////////f38="])
def test_a_timestamp_that_is_none(server: Any, ts: Any) -> None:
    body = {"path": "shop:count", "args": {"label": "a"}, "ts": ts}
    code, message = _refusal(server, 400, "POST", "/api/query_at_ts", json=body)
    assert code in ("InvalidTimestamp", "BadJsonBody")
    assert "`ts`" in message
    assert "/api/query_ts" in message
