"""Every error the engine raises, and the one place where errors turn into HTTP statuses and close codes.

Whose fault it is decides what happens next; the families are never mixed.

| class, family | what happens | HTTP | close |
|---|---|---|---|
| `ConcaveError` | base, never raised itself | | |
| `├ DeveloperError`, developer | the function fails, its result says so; never retried | a result, else 400 | 1011 |
| `│ └ ConvexError`, developer | raised by user code; `data` reaches the client | a result, else 400 | 1011 |
| `├ ClientError`, client | the request is refused; sending it again is pointless | 400, 401, 403, 404 ... | 1011 |
| `├ ConflictError`, conflict | the transaction runs again; when retries are used up, the client's turn | 503 | 1013 |
| `├ OverloadError`, overload | the client backs off and sends again | 503, 429 | 1013 |
| `├ EngineError`, engine | our bug or a broken part: details to the log, an apology to the client | 500 | 1011 |
| `└ ConfigurationError`, configuration | no start, no push: printed plainly, exit status 1 | 500 | 1011 |

A `DeveloperError` inside a function is no HTTP error: it is a result with `status: "error"`. Only where there is no
function to blame (a path that cannot be one, say) does it reach HTTP, as 400.

`code` is a stable CamelCase tag, upstream's where upstream has one (`spec/data-model.md`, `spec/http-and-admin.md` 1.5,
`spec/sync-protocol.md` 1.5); clients choose their back-off by it. Tests and metrics compare codes, never texts.
Any exception that is no `ConcaveError` is the developer's if it came out of a function, and ours otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import ClassVar, Final

from concave.values import encoding
from concave.values.faults import ValueFaultError
from concave.values.types import Value

MESSAGE_BYTES_MAX: Final = 64 * 1024
"""Longest error text a client is sent, in UTF-8 bytes (`spec/sync-protocol.md` 6)."""


class Family(Enum):
    """Whose fault an error is."""

    DEVELOPER = "developer"
    CLIENT = "client"
    CONFLICT = "conflict"
    OVERLOAD = "overload"
    ENGINE = "engine"
    CONFIGURATION = "configuration"


class ConcaveError(Exception):
    """Base of all errors of the engine. `code` is the stable tag, `message` a sentence for people."""

    family: ClassVar[Family] = Family.ENGINE

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.code!r}, {self.message!r})"

    @property
    def http_status(self) -> int:
        """The HTTP status that a response carries when this error ends the request."""
        return _STATUS_BY_CODE.get(self.code, _STATUS_BY_FAMILY[self.family])

    @property
    def close_code(self) -> int:
        """The websocket close code that this error ends a connection with."""
        return _CLOSE_CODE_BY_FAMILY[self.family]

    @property
    def close_reason(self) -> str:
        """The close frame's reason: the code, which clients choose their back-off by. Only `InternalServerError` is
        said of faults that are none of the client's business."""
        return self.code if self.close_code == _TRY_AGAIN_LATER else INTERNAL_SERVER_ERROR

    @property
    def is_retriable(self) -> bool:
        """Whether the same call may succeed if it is simply made again."""
        return self.family in (Family.CONFLICT, Family.OVERLOAD)

    @property
    def client_message(self) -> str:
        """What a client may read. The text of an engine error goes to the server's log only."""
        return _APOLOGY if self.family is Family.ENGINE else self.message


class DeveloperError(ConcaveError):
    """A function did something it may not: the function fails, its caller is told, nothing is retried.

    User code may catch it, as it may catch its own exceptions.
    """

    family = Family.DEVELOPER


class ConvexError(DeveloperError):
    """Raised by user code to fail a function and hand `data`, any Convex value, to the client. Never redacted."""

    def __init__(self, data: Value = None) -> None:
        super().__init__("ConvexError", "")
        self.data = data

    def __str__(self) -> str:
        # Computed when asked for: the data may be large, and most readers only want `data`.
        if isinstance(self.data, str):
            return self.data
        try:
            return encoding.encode_json(self.data).decode()
        except ValueFaultError:
            return repr(self.data)

    def __repr__(self) -> str:
        return f"ConvexError({self.data!r})"


class ClientError(ConcaveError):
    """A request or message that the server refuses. The HTTP status follows from `code`, or from `status` if given."""

    family = Family.CLIENT

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(code, message)
        self._status = status

    @property
    def http_status(self) -> int:
        return self._status if self._status is not None else super().http_status


class ConflictError(ConcaveError):
    """The transaction read something that has changed since.

    `table` is where, `changed` the sentence that says who changed which document; both empty if that is not known.
    `is_own` is true if what got in the way was a mutation on this very node.
    """

    family = Family.CONFLICT

    def __init__(self, message: str, table: str | None = None, *, changed: str = "", is_own: bool = False) -> None:
        super().__init__(OCC_FAILURE, message)
        self.table = table
        self.changed = changed
        self.is_own = is_own


def conflict(table: str | None, changed: str = "", *, is_own: bool = False, lastly: bool = False) -> ConflictError:
    """The conflict in upstream's words (data-model.md 7.4). `lastly` is for a mutation that met one in every run."""
    where = f'the "{table}" table' if table else "some table"
    again = " and on every subsequent retry" if lastly else ""
    link = f" See {OCC_LINK}" if lastly else ""
    return ConflictError(
        f"Documents read from or written to {where} changed while this mutation was being run{again}."
        f"{' ' + changed if changed else ''}{link}",
        table or None,
        changed=changed,
        is_own=is_own,
    )


class OverloadError(ConcaveError):
    """The server has too much to do, or a part it needs is away for a moment."""

    family = Family.OVERLOAD


class EngineError(ConcaveError):
    """Our fault. `message` is for the server's log; a client reads only an apology."""

    family = Family.ENGINE

    def __init__(self, message: str, code: str = "InternalServerError") -> None:
        super().__init__(code, message)


class ConfigurationError(ConcaveError):
    """The server or a push cannot begin because of how it is set up; `message` says how to mend it."""

    family = Family.CONFIGURATION

    def __init__(self, message: str, code: str = "ConfigurationError") -> None:
        super().__init__(code, message)


def error_at(fault: ValueFaultError, where: str) -> DeveloperError:
    """The error for a fault that a walk found. `where` names the whole value, such as `Arguments` or `Result`."""
    place = f"{where} at path {fault.path}" if fault.path else where
    return DeveloperError(fault.code, f"{place}: {fault.text}")


def argument_validation_error(text: str) -> DeveloperError:
    """The arguments do not match the function's validator. `text` is that of `spec/data-model.md` 4.4."""
    return DeveloperError("ArgumentValidationError", text)


def returns_validation_error(text: str) -> DeveloperError:
    """The result does not match the function's `returns` validator."""
    return DeveloperError("ReturnsValidationError", text)


def schema_enforcement_error(table: str, text: str) -> DeveloperError:
    """A write would leave a document that the table's validator refuses."""
    return DeveloperError(
        "SchemaEnforcementError",
        f'Failed to insert or update a document in table "{table}" because it does not match the schema: {text}',
    )


def function_not_found(path: str, *, public: bool = True, hint: str = "") -> DeveloperError:
    """No such function, or an internal one that the caller may not see. The official CLI matches the sentence."""
    function = "public function" if public else "function"
    return DeveloperError("FunctionNotFound", f"Could not find {function} for '{path}'.{' ' + hint if hint else ''}")


def wrong_function_type(path: str, *, is_a: str, called_as: str) -> DeveloperError:
    """The function exists, but was called as something it is not: both are query, mutation or action."""
    return DeveloperError(
        "WrongFunctionType", f"Trying to execute '{path}' as a {called_as}, but it is defined as a {is_a}."
    )


def invalid_argument(parameter: str, call: str, text: str) -> DeveloperError:
    """A database, storage or scheduler call got a bad parameter: `call` is what the user wrote, such as `db.get`."""
    return DeveloperError("InvalidArgument", f"Invalid argument `{parameter}` for `{call}`: {text}")


def unauthenticated(code: str, message: str) -> ClientError:
    """Who is calling cannot be told: 401."""
    return ClientError(code, message, 401)


def forbidden(code: str, message: str) -> ClientError:
    """The caller is known and may not: 403."""
    return ClientError(code, message, 403)


def not_found(code: str, message: str) -> ClientError:
    """The thing asked for does not exist: 404. Never for routes, which the official CLI would retry for 36 s."""
    return ClientError(code, message, 404)


def is_function_failure(exception: BaseException) -> bool:
    """Whether an exception that came out of user code becomes the function's result, rather than being raised on.

    Every exception that is no `ConcaveError` counts as the function's own: what a driver or the network raises beneath
    a database call must have been turned into an `OverloadError` or `EngineError` before it gets here.
    """
    if isinstance(exception, ConcaveError):
        return exception.family is Family.DEVELOPER
    return isinstance(exception, Exception)


def function_error_text(exception: BaseException, *, traceback_lines: Iterable[str] = ()) -> str:
    """What a client is told about a function that failed (`spec/sync-protocol.md` 6), without the request id.

    * what the engine found before or after the function ran, unprefixed: `ArgumentValidationError: ...`
    * `raise ConvexError(data)`: `Uncaught ConvexError: ` and the data, bare if it is a string, else its JSON
    * other engine errors inside the function: `Uncaught Error: ...`
    * any other exception: `Uncaught <Class>: ...`

    `traceback_lines` are appended one a line. The whole is cut at `MESSAGE_BYTES_MAX`; lone surrogates, which JSON
    cannot carry, become question marks.
    """
    lines = [_headline(exception), *(line.rstrip("\n") for line in traceback_lines)]
    text = "\n".join(lines)
    return text.encode("utf-8", "replace")[:MESSAGE_BYTES_MAX].decode("utf-8", "ignore")


def _headline(exception: BaseException) -> str:
    if isinstance(exception, ConvexError):
        return f"Uncaught ConvexError: {exception}"
    if isinstance(exception, ConcaveError):
        prefix = _UNCAUGHT_PREFIX.get(exception.code, "Uncaught Error: ")
        return prefix + exception.client_message
    name = type(exception).__name__
    try:
        text = str(exception)
    except Exception as failure:
        # A user's `__str__` must not turn the function's failure into one of ours.
        text = f"(its text cannot be had: {type(failure).__name__} in __str__)"
    return f"Uncaught {name}: {text}" if text else f"Uncaught {name}"


OCC_FAILURE: Final = "OptimisticConcurrencyControlFailure"
OCC_LINK: Final = "https://docs.convex.dev/error#1"
INTERNAL_SERVER_ERROR: Final = "InternalServerError"

_APOLOGY: Final = "Your request couldn't be completed. Try again later."
_INTERNAL_ERROR: Final = 1011
_TRY_AGAIN_LATER: Final = 1013

# Errors that the runner finds outside the function's own code, and what their text begins with.
_UNCAUGHT_PREFIX: Final = {
    "ArgumentValidationError": "ArgumentValidationError: ",
    "ReturnsValidationError": "ReturnsValidationError: ",
    "FunctionNotFound": "",
    "WrongFunctionType": "",
    "InvalidArguments": "",
    "InvalidReturnValue": "",
    "FunctionTimedOut": "",
    "UnawaitedCall": "",
}

_STATUS_BY_FAMILY: Final = {
    Family.DEVELOPER: 400,
    Family.CLIENT: 400,
    Family.CONFLICT: 503,
    Family.OVERLOAD: 503,
    Family.ENGINE: 500,
    Family.CONFIGURATION: 500,
}

# Codes whose status differs from that of their family.
_STATUS_BY_CODE: Final = {
    "Unauthenticated": 401,
    "AuthUpdateFailed": 401,
    "BadAdminKey": 401,
    "InvalidAuthHeader": 401,
    "NoAuthProvider": 401,
    "StorageTokenInvalid": 401,
    "StorageTokenExpired": 401,
    "BadDeployKey": 403,
    "OperationNotPermitted": 403,
    "FileNotFound": 404,
    "ExportNotFound": 404,
    "RequestTimeout": 408,
    "PayloadTooLarge": 413,
    "RangeNotSatisfiable": 416,
    "RateLimited": 429,
}

_CLOSE_CODE_BY_FAMILY: Final = {
    Family.DEVELOPER: _INTERNAL_ERROR,
    Family.CLIENT: _INTERNAL_ERROR,
    Family.CONFLICT: _TRY_AGAIN_LATER,
    Family.OVERLOAD: _TRY_AGAIN_LATER,
    Family.ENGINE: _INTERNAL_ERROR,
    Family.CONFIGURATION: _INTERNAL_ERROR,
}
