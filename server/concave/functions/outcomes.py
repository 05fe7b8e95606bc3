"""What running a function gives: success and the function's own failure alike. Transient trouble is raised instead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from concave.values.intervals import IntervalSet
from concave.values.types import Timestamp, Value


class NoData:
    """The type of `NO_DATA`: the failure carries no data, which differs from carrying null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NO_DATA"


NO_DATA: Final = NoData()


@dataclass(slots=True)
class Outcome:
    """The end of one call. With `ok`, `value` and `value_json` (Convex's encoded JSON, UTF-8) are the result; without,
    `error_message` is the text for the client, and `error_data` the data of an uncaught `ConvexError`.

    `log_lines` are what the function printed, in order, also when it failed; empty where errors are redacted.
    """

    ok: bool
    value: Value = None
    value_json: bytes = b"null"
    error_message: str = ""
    error_data: Value | NoData = NO_DATA
    log_lines: list[str] = field(default_factory=list)


@dataclass(slots=True)
class QueryOutcome(Outcome):
    """A query's end. It holds until something in `read_set` changes after `ts`, failures included.

    `journal` is where the query's page ended, for its next run. `read_identity` is true if the result may be
    different for another caller.
    """

    ts: Timestamp = Timestamp(0)
    read_set: IntervalSet = field(default_factory=IntervalSet)
    journal: str | None = None
    read_identity: bool = False


@dataclass(slots=True)
class MutationOutcome(Outcome):
    """A mutation's end. `ts` is the commit's timestamp, or the snapshot's where nothing was committed.

    `replayed` is true if the mutation had been committed before under the same request: this is what it returned then.
    """

    ts: Timestamp = Timestamp(0)
    replayed: bool = False


@dataclass(slots=True)
class ActionOutcome(Outcome):
    """An action's end."""
