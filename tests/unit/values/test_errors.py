"""The taxonomy, its mapping outward, the texts that clients read (sync-protocol.md 1.5, 6; http-and-admin.md 1.5)."""

import pytest

from concave.values import errors
from concave.values.errors import (
    ClientError,
    ConfigurationError,
    ConflictError,
    ConvexError,
    DeveloperError,
    EngineError,
    Family,
    OverloadError,
    function_error_text,
    is_function_failure,
)
from concave.values.types import Int64


@pytest.mark.parametrize(
    ("error", "family", "status", "close_code", "reason", "retriable"),
    [
        (DeveloperError("TooManyReads", "m"), Family.DEVELOPER, 400, 1011, "InternalServerError", False),
        (ConvexError("m"), Family.DEVELOPER, 400, 1011, "InternalServerError", False),
        (ClientError("BadJsonBody", "m"), Family.CLIENT, 400, 1011, "InternalServerError", False),
        (ClientError("BadAdminKey", "m"), Family.CLIENT, 401, 1011, "InternalServerError", False),
        (ClientError("BadDeployKey", "m"), Family.CLIENT, 403, 1011, "InternalServerError", False),
        (ClientError("Whatever", "m", 404), Family.CLIENT, 404, 1011, "InternalServerError", False),
        (errors.unauthenticated("X", "m"), Family.CLIENT, 401, 1011, "InternalServerError", False),
        (errors.forbidden("X", "m"), Family.CLIENT, 403, 1011, "InternalServerError", False),
        (errors.not_found("X", "m"), Family.CLIENT, 404, 1011, "InternalServerError", False),
        (ConflictError("m", "users"), Family.CONFLICT, 503, 1013, "OptimisticConcurrencyControlFailure", True),
        (OverloadError("CommitterFullError", "m"), Family.OVERLOAD, 503, 1013, "CommitterFullError", True),
        (OverloadError("RateLimited", "m"), Family.OVERLOAD, 429, 1013, "RateLimited", True),
        (EngineError("m"), Family.ENGINE, 500, 1011, "InternalServerError", False),
        (ConfigurationError("m"), Family.CONFIGURATION, 500, 1011, "InternalServerError", False),
    ],
)
def test_mapping(error, family, status, close_code, reason, retriable):
    assert error.family is family
    assert error.http_status == status
    assert (error.close_code, error.close_reason) == (close_code, reason)
    assert error.is_retriable is retriable
    assert str(error) == "m"


def test_details_of_our_own_faults_stay_on_the_server():
    error = EngineError("the feed lost its resume token at /srv/data")
    assert error.code == "InternalServerError"
    assert "resume token" not in error.client_message
    assert "resume token" not in function_error_text(error)


def test_user_data_in_a_convex_error():
    error = ConvexError({"code": Int64(7), "why": "no"})
    assert error.data == {"code": Int64(7), "why": "no"}
    assert str(error) == '{"code":{"$integer":"BwAAAAAAAAA="},"why":"no"}'
    assert function_error_text(error) == f"Uncaught ConvexError: {error}"
    assert function_error_text(ConvexError("plain text")) == "Uncaught ConvexError: plain text"
    assert str(ConvexError()) == "null"
    assert repr(ConvexError(None)) == "ConvexError(None)"
    assert str(ConvexError({1})) == "{1}"


class OutOfStock(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OutOfStock("no more"), "Uncaught OutOfStock: no more"),
        (OutOfStock(), "Uncaught OutOfStock"),
        (KeyError("name"), "Uncaught KeyError: 'name'"),
        (
            DeveloperError("TooManyReads", "Too many reads (limit: 4096)."),
            "Uncaught Error: Too many reads (limit: 4096).",
        ),
        (errors.argument_validation_error("Object is missing"), "ArgumentValidationError: Object is missing"),
        (errors.returns_validation_error("Value does not match"), "ReturnsValidationError: Value does not match"),
        (errors.function_not_found("a:b"), "Could not find public function for 'a:b'."),
        (
            errors.function_not_found("a:b", public=False, hint="Did you mean `a:c`?"),
            "Could not find function for 'a:b'. Did you mean `a:c`?",
        ),
        (
            errors.wrong_function_type("a:b", is_a="query", called_as="mutation"),
            "Trying to execute 'a:b' as a mutation, but it is defined as a query.",
        ),
        (
            errors.invalid_argument("id", "db.get", "'x' is no id."),
            "Uncaught Error: Invalid argument `id` for `db.get`: 'x' is no id.",
        ),
    ],
)
def test_what_clients_read_about_a_failed_function(error, text):
    assert function_error_text(error) == text


def test_the_traceback_follows_the_headline():
    lines = ["    at list (messages.py:7:3)\n", "    at main (app.py:1)"]
    assert (
        function_error_text(OutOfStock("x"), traceback_lines=lines)
        == "Uncaught OutOfStock: x\n    at list (messages.py:7:3)\n    at main (app.py:1)"
    )


def test_error_texts_are_cut_at_64_kib_between_characters():
    text = function_error_text(OutOfStock("é" * 100_000))
    assert len(text.encode()) <= 64 * 1024
    assert text.endswith("é")


class Silent(Exception):
    def __str__(self):
        raise LookupError


def test_no_exception_is_too_odd_to_be_told():
    assert function_error_text(OutOfStock("x\ud800")) == "Uncaught OutOfStock: x?"
    assert function_error_text(Silent()) == "Uncaught Silent: (its text cannot be had: LookupError in __str__)"


def test_schema_enforcement_names_the_table():
    error = errors.schema_enforcement_error("users", "Value does not match validator.")
    assert error.code == "SchemaEnforcementError"
    assert 'table "users"' in str(error)


def test_what_becomes_a_result_and_what_is_raised_on():
    assert is_function_failure(OutOfStock())
    assert is_function_failure(ConvexError("x"))
    assert is_function_failure(DeveloperError("X", "x"))
    assert not is_function_failure(ConflictError("x"))
    assert not is_function_failure(EngineError("x"))
    assert not is_function_failure(KeyboardInterrupt())
