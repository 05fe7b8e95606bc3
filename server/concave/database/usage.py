"""What a transaction has used of its limits (data-model.md 7.5, function-runtime.md 17).

Exceeding a limit raises a `DeveloperError` inside the function, which it may catch; the failing operation is counted.
The sentences are upstream's, because tools match on them. Counters never go back, not even when a nested mutation is
rolled back. System tables do not count; callers leave them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from concave.values.errors import DeveloperError
from concave.values.limits import Limits
from concave.values.sizes import size
from concave.values.types import Document

READ_HELP = (
    "Consider using smaller limits in your queries, paginating your queries, or using indexed queries with a "
    "selective index range expressions."
)
WRITE_HELP = "Split the work over several mutations, for example by scheduling the next part."


@dataclass(slots=True, frozen=True)
class Metric:
    """One limited quantity: its name in `getTransactionMetrics`, its error code, and the words of the messages."""

    name: str
    code: str
    noun: str
    unit: str
    help: str


BYTES_READ = Metric("bytesRead", "TooManyBytesRead", "bytes read", " bytes", READ_HELP)
DOCUMENTS_READ = Metric("documentsRead", "TooManyDocumentsRead", "documents read", "", READ_HELP)
DATABASE_QUERIES = Metric("databaseQueries", "TooManyReads", "reads", "", READ_HELP)
BYTES_WRITTEN = Metric("bytesWritten", "TooManyBytesWritten", "bytes written", " bytes", WRITE_HELP)
DOCUMENTS_WRITTEN = Metric("documentsWritten", "TooManyWrites", "writes", "", WRITE_HELP)
FUNCTIONS_SCHEDULED = Metric(
    "functionsScheduled",
    "TooManyFunctionsScheduled",
    "functions scheduled",
    "",
    "Schedule fewer functions that do more.",
)
SCHEDULED_ARGS_BYTES = Metric(
    "scheduledFunctionArgsBytes",
    "ScheduledFunctionsArgumentsTooLarge",
    "bytes in the arguments of scheduled functions",
    " bytes",
    "Store large values in documents and pass their ids.",
)


@dataclass(slots=True, frozen=True)
class UsageWarning:
    """A limit that is nearly used up: a system log line of level WARN (function-runtime.md 16.2)."""

    code: str
    text: str


class Usage:
    """Counters of one transaction and the ceilings they may reach.

    Bytes read are worked out late: a bound from the documents' JSON is far cheaper than their size, and as long as the
    bound is below the ceiling nobody needs to know the size. They are exact but for NaN and infinities, which are null
    in JSON and so count 1 instead of 9.
    """

    __slots__ = (
        "_bytes_read",
        "_bytes_read_ceiling",
        "_ceilings",
        "_extremes",
        "_limits",
        "_unsized",
        "_unsized_bytes_max",
        "_warn_fraction",
        "bytes_written",
        "database_queries",
        "documents_read",
        "documents_read_ceiling",
        "documents_written",
        "functions_scheduled",
        "scheduled_args_bytes",
    )

    def __init__(self, limits: Limits) -> None:
        self.documents_read = 0
        self.database_queries = 0
        self.documents_written = 0
        self.bytes_written = 0
        self.functions_scheduled = 0
        self.scheduled_args_bytes = 0
        self._bytes_read = 0
        self._unsized: list[bytes] = []
        self._unsized_bytes_max = 0
        self._limits = limits
        self._warn_fraction = limits.warn_fraction
        self._extremes: dict[str, tuple[int, str, int, str]] = {}
        """By code: the amount, the words, the limit and the unit of what single documents come near."""
        self._set_ceilings(
            {
                "bytesRead": limits.bytes_read_max,
                "documentsRead": limits.documents_read_max,
                "databaseQueries": limits.index_ranges_max,
                "bytesWritten": limits.bytes_written_max,
                "documentsWritten": limits.documents_written_max,
                "functionsScheduled": limits.scheduled_functions_max,
                "scheduledFunctionArgsBytes": limits.scheduled_args_bytes_max,
            }
        )

    @property
    def bytes_read(self) -> int:
        """Bytes of all documents read, by data-model.md 1.6."""
        if self._unsized:
            self._bytes_read += sum(size(document) for text in self._unsized for document in orjson.loads(text))
            self._unsized.clear()
            self._unsized_bytes_max = 0
        return self._bytes_read

    @property
    def bytes_read_left(self) -> int:
        return self._bytes_read_ceiling - self.bytes_read

    @property
    def documents_read_left(self) -> int:
        return self.documents_read_ceiling - self.documents_read

    def count_read(self, documents: list[Document]) -> None:
        """Count documents as read. Raises `TooManyDocumentsRead` or `TooManyBytesRead`."""
        self.documents_read += len(documents)
        self._add_bytes_read(documents)
        if self.documents_read > self.documents_read_ceiling:
            raise self._too_many(DOCUMENTS_READ)
        if (
            self._bytes_read + self._unsized_bytes_max > self._bytes_read_ceiling
            and self.bytes_read > self._bytes_read_ceiling
        ):
            raise self._too_many(BYTES_READ)

    def count_queries(self, intervals: int) -> None:
        """Tell how many intervals a read has added to the read set, after merging: fewer than none if it joined some.

        Raises `TooManyReads`.
        """
        self.database_queries += intervals
        if self.database_queries > self._ceilings["databaseQueries"]:
            raise self._too_many(DATABASE_QUERIES)

    def count_write(self, size_bytes: int, document: Document | None = None) -> None:
        """Count one write of a document of this size; 0 for a delete. Raises `TooManyWrites`, `TooManyBytesWritten`."""
        if document is not None:
            self._note_extremes(size_bytes, document)
        self.documents_written += 1
        self.bytes_written += size_bytes
        if self.documents_written > self._ceilings["documentsWritten"]:
            raise self._too_many(DOCUMENTS_WRITTEN)
        if self.bytes_written > self._ceilings["bytesWritten"]:
            raise self._too_many(BYTES_WRITTEN)

    def count_scheduled(self, args_bytes: int) -> None:
        """Count one scheduled function. Raises `TooManyFunctionsScheduled`, `ScheduledFunctionsArgumentsTooLarge`."""
        self.functions_scheduled += 1
        self.scheduled_args_bytes += args_bytes
        if self.functions_scheduled > self._ceilings["functionsScheduled"]:
            raise self._too_many(FUNCTIONS_SCHEDULED)
        if self.scheduled_args_bytes > self._ceilings["scheduledFunctionArgsBytes"]:
            raise self._too_many(SCHEDULED_ARGS_BYTES)

    def metrics(self) -> dict[str, dict[str, float]]:
        """What `ctx.meta.getTransactionMetrics()` returns: `{name: {"used": n, "remaining": n}}`."""
        return {
            name: {"used": float(used), "remaining": float(max(0, self._ceilings[name] - used))}
            for name, used in self._used(self.bytes_read).items()
        }

    def lower(self, allowances: Mapping[str, float]) -> dict[str, int]:
        """Give a nested call allowances on top of what has been used, by the names of `metrics`.

        Never raises a ceiling. Returns the previous ceilings, for `restore` when the call has returned.
        Raises `DeveloperError` for an unknown name or a number below 0.
        """
        used = self._used(self.bytes_read)
        previous = self._ceilings
        ceilings = dict(previous)
        for name, allowance in allowances.items():
            if name not in used:
                raise DeveloperError(
                    "InvalidArgument", f"unknown transaction limit {name!r}: the limits are {', '.join(used)}"
                )
            if not allowance >= 0:
                raise DeveloperError("InvalidArgument", f"the transaction limit {name} must be 0 or more")
            ceilings[name] = int(min(used[name] + allowance, ceilings[name]))
        self._set_ceilings(ceilings)
        return previous

    def restore(self, ceilings: dict[str, int]) -> None:
        """End what `lower` began."""
        self._set_ceilings(ceilings)

    def warnings(self) -> list[UsageWarning]:
        """One warning for each limit of which more than the warning share (80 %) is used."""
        # Asked at the end of every run: bytes that are surely far from their limit need not be worked out for it.
        bytes_read_max = self._bytes_read + self._unsized_bytes_max
        is_near = bytes_read_max > self._bytes_read_ceiling * self._warn_fraction
        used = self._used(self.bytes_read if is_near else bytes_read_max)
        return [
            UsageWarning(
                f"warning:{metric.code}",
                f"Many {metric.noun} in a single function execution "
                f"(actual: {used[metric.name]}{metric.unit}, limit: {self._ceilings[metric.name]}{metric.unit}). "
                f"{metric.help}",
            )
            for metric in _METRICS
            if used[metric.name] > self._ceilings[metric.name] * self._warn_fraction
        ] + [
            UsageWarning(f"warning:{code}", f"{text} (actual: {actual}{unit}, limit: {limit}{unit}).")
            for code, (actual, text, limit, unit) in self._extremes.items()
        ]

    def _note_extremes(self, size_bytes: int, document: Document) -> None:
        """Remember the largest and the most deeply nested document, if there is something to warn of."""
        limits, share = self._limits, self._warn_fraction
        if size_bytes > limits.document_bytes_max * share and size_bytes > self._extremes.get("ValueTooLarge", (0,))[0]:
            text = f'Large document written with ID "{document["_id"]}"'
            self._extremes["ValueTooLarge"] = (size_bytes, text, limits.document_bytes_max, " bytes")
        levels = _levels(document)
        if levels > limits.document_nesting_max * share and levels > self._extremes.get("TooNested", (0,))[0]:
            text = f'Deeply nested document written with ID "{document["_id"]}"'
            self._extremes["TooNested"] = (levels, text, limits.document_nesting_max, " levels")

    def _used(self, bytes_read: int) -> dict[str, int]:
        return {
            "bytesRead": bytes_read,
            "documentsRead": self.documents_read,
            "databaseQueries": self.database_queries,
            "bytesWritten": self.bytes_written,
            "documentsWritten": self.documents_written,
            "functionsScheduled": self.functions_scheduled,
            "scheduledFunctionArgsBytes": self.scheduled_args_bytes,
        }

    def _set_ceilings(self, ceilings: dict[str, int]) -> None:
        self._ceilings = ceilings
        self.documents_read_ceiling = ceilings["documentsRead"]
        self._bytes_read_ceiling = ceilings["bytesRead"]

    def _add_bytes_read(self, documents: list[Document]) -> None:
        text = orjson.dumps(documents, default=_stand_in)
        self._unsized.append(text)
        self._unsized_bytes_max += len(text) * _SIZE_PER_JSON_BYTE_MAX

    def _too_many(self, metric: Metric) -> DeveloperError:
        return DeveloperError(
            metric.code,
            f"Too many {metric.noun} in a single function execution "
            f"(limit: {self._ceilings[metric.name]}{metric.unit}). {metric.help}",
        )


_METRICS = (
    DOCUMENTS_READ,
    DATABASE_QUERIES,
    BYTES_READ,
    DOCUMENTS_WRITTEN,
    BYTES_WRITTEN,
    FUNCTIONS_SCHEDULED,
    SCHEDULED_ARGS_BYTES,
)

_SIZE_PER_JSON_BYTE_MAX = 5
"""A number takes 9 bytes of size and, with its comma, at least 2 of JSON; everything else takes more of JSON."""


def _levels(document: Document) -> int:
    """How deep a document is nested; 1 if it holds no arrays and objects."""
    levels = 0
    containers: list[Any] = [document]
    while containers:
        levels += 1
        containers = [
            inner
            for outer in containers
            for inner in (outer.values() if type(outer) is dict else outer)
            if type(inner) is dict or type(inner) is list
        ]
    return levels


def size_bound(documents: list[Document]) -> int:
    """At least the size of the documents, at a small part of the price."""
    return len(orjson.dumps(documents, default=_stand_in)) * _SIZE_PER_JSON_BYTE_MAX


def _stand_in(value: bytes) -> str:
    """What JSON holds for bytes: a string of the same size. (An Int64 is a plain int there, and still counts 9.)"""
    return "0" * len(value)
