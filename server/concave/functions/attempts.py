"""One attempt at a query or mutation: a transaction, a handler run in it within its time, and how that ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from concave.database.transaction import Transaction, copy_document
from concave.database.user_clock import timed_out as timed_out
from concave.functions.blame import blamed_document
from concave.functions.contexts import policies_of
from concave.functions.execution import SnapshotReads, Snapshots, call_nested, execute
from concave.functions.frames import Frame, Identity, Run
from concave.functions.logs import LogLines, current_log
from concave.functions.served_app import CompiledFunction, ServedApp
from concave.storage.store import SnapshotTooOld, Store
from concave.values.codec import encode_json
from concave.values.errors import ConcaveError, DeveloperError, EngineError, Family, is_function_failure
from concave.values.limits import Limits
from concave.values.runtime import Runtime
from concave.values.sizes import size
from concave.values.types import Timestamp, Value

logger = logging.getLogger(__name__)

_SIZE_PER_JSON_BYTE_MAX: Final = 9
"""How much of a size (data-model.md 1.6) one byte of JSON may stand for: a number counts 9 and may be written `0`."""


@dataclass(slots=True, frozen=True)
class RunnerOptions:
    """How functions are run. `redact_errors` hides messages, traces and log lines from clients, never errorData.

    `development` adds hints for the developer. `env` is what `ctx.env` shows. `cursor_key` seals page cursors: a
    secret of the deployment, the same on all its nodes.
    """

    redact_errors: bool = False
    development: bool = True
    env: Mapping[str, str] = field(default_factory=dict)
    cursor_key: bytes = b""


@dataclass(slots=True)
class Attempt:
    """How a handler's run ended: with a value and its encoded JSON, or with the function's own failure."""

    run: Run
    value: Value
    value_json: bytes
    failure: BaseException | None


class Attempts:
    """Makes attempts against one store."""

    __slots__ = ("_limits", "_options", "_runtime", "_store")

    def __init__(self, store: Store, runtime: Runtime, limits: Limits, options: RunnerOptions) -> None:
        self._store = store
        self._runtime = runtime
        self._limits = limits
        self._options = options

    async def make(
        self,
        served: ServedApp,
        function: CompiledFunction,
        args: dict[str, Value],
        *,
        identity: Identity | None,
        ts: Timestamp,
        log: LogLines,
        journal: str | None = None,
        store: Snapshots | None = None,
    ) -> Attempt:
        """Run a query or mutation at `ts`; what it prints goes to `log`. `args` are checked and stay as they are.

        It reads from `store`, if one is given, instead of the database.

        Raises `SnapshotTooOld`, and `OverloadError` or `EngineError` for failures that are not the function's.
        """
        kind = function.spec.kind
        reads = SnapshotReads(self._store if store is None else store)
        tx = Transaction(
            cast(Store, reads),  # a transaction only reads
            served.catalog,
            ts,
            self._runtime,
            self._limits,
            writable=kind == "mutation",
            cursor_key=self._options.cursor_key,
            journal=journal,
            require_index=served.app.options.require_index,
        )
        run = Run(served, tx, identity, self._options.env, self._runtime, call_nested)
        run.policies = policies_of(run)
        failure: BaseException | None = None
        value: Value = None
        value_json = b"null"
        deadline = asyncio.timeout(self._limits.system_time_s_max)
        token = current_log.set(log)
        try:
            async with deadline:
                value = await execute(Frame(run, kind), function, copy_document(args))
            value_json = encode_json(value)
            self._check_size(value, value_json, function, log)
        except (Exception, SystemExit) as error:
            failure = error
        except asyncio.CancelledError as error:
            if _is_being_cancelled():
                raise
            failure = error  # of a task that the function itself had cancelled
        finally:
            current_log.reset(token)
        if reads.failure is not None:
            _raise_database_failure(reads.failure)
        if deadline.expired():
            failure = timed_out(self._limits.system_time_s_max)
        elif run.clock.is_over:  # whatever the function made of it
            failure = timed_out(run.clock.limit_s)
        elif isinstance(failure, ConcaveError) and not is_function_failure(failure):
            raise failure
        elif failure is not None:
            failure = await blamed_document(tx, self._store, failure) or failure
        args_bytes, args_bytes_max = size(args), self._limits.args_bytes_max
        if args_bytes > args_bytes_max * self._limits.warn_fraction:
            log.add(
                "WARN",
                f"Large size of the function arguments (actual: {args_bytes} bytes, limit: {args_bytes_max} bytes).",
            )
        for warning in tx.warnings():
            log.add("WARN", warning.text)
        used_s, limit_s = run.clock.used_s, run.clock.limit_s
        if limit_s * self._limits.warn_fraction < used_s <= limit_s:
            log.add("WARN", f"Function execution took a long time (actual: {used_s:.2f}s, limit: {limit_s:g}s).")
        return Attempt(run, value, value_json, failure)

    def _check_size(self, value: Value, value_json: bytes, function: CompiledFunction, log: LogLines) -> None:
        bytes_max = self._limits.result_bytes_max
        bytes_warn = bytes_max * self._limits.warn_fraction
        if len(value_json) * _SIZE_PER_JSON_BYTE_MAX <= bytes_warn or (actual := size(value)) <= bytes_warn:
            return
        if actual <= bytes_max:
            log.add(
                "WARN", f"Large size of the function return value (actual: {actual} bytes, limit: {bytes_max} bytes)."
            )
        else:
            raise DeveloperError(
                "InvalidReturnValue",
                f"Function {function.spec.path} return value is too large "
                f"(actual: {actual} bytes, limit: {bytes_max} bytes)",
            )


def _is_being_cancelled() -> bool:
    """Whether somebody wants this task to end, rather than user code having raised `CancelledError`."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _raise_database_failure(error: Exception) -> None:
    """Raise what a failed read means to the caller of the function; a read may also fail by the function's fault."""
    if isinstance(error, SnapshotTooOld):
        raise error
    if isinstance(error, ConcaveError):
        if error.family is not Family.DEVELOPER:
            raise error
        return
    logger.warning("a read failed: %s: %s", type(error).__name__, error)
    raise EngineError(f"the database did not answer a read: {error}") from error
