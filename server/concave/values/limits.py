"""Every number that bounds a value, a transaction or a function, in one place, with upstream's defaults.

Sources: `spec/data-model.md` 1.4, 5.2, 7.4, 7.5 and `spec/function-runtime.md` 1.5, 2, 16, 17. A limit is the largest
permitted amount; going past it is the error. Names end in the unit and `_max`.

The limits of a value's shape, of names and of schemas belong to the format: `codec`, `coercion`, `sizes`, `names` and
`schema` enforce the defaults, whatever a deployment configures. All others are read from the `Limits` object that the
engine was built with.

A deployment changes them by the environment variable `CONCAVE_LIMITS`, for all its processes alike:

    CONCAVE_LIMITS="documents_read_max=64000 user_time_s_max=2.5" concave serve ...
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from math import inf
from typing import Final

from concave.values.errors import ConfigurationError

_KIB: Final = 1024
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one deployment. Times are in seconds, sizes in bytes of `sizes.size` unless stated otherwise."""

    # The shape of a value (1.4).
    array_elements_max: int = 8_192
    object_fields_max: int = 1_024
    value_nesting_max: int = 64
    value_bytes_max: int = 32 * _MIB
    document_nesting_max: int = 16
    document_bytes_max: int = _MIB

    # One call of a function.
    args_bytes_max: int = 16 * _MIB
    result_bytes_max: int = 16 * _MIB
    user_time_s_max: float = 1.0
    system_time_s_max: float = 15.0
    action_time_s_max: float = 30 * 60.0
    call_depth_max: int = 8
    log_lines_max: int = 256
    log_line_chars_max: int = 32_768

    # One transaction (7.5).
    documents_read_max: int = 32_000
    bytes_read_max: int = 16 * _MIB
    index_ranges_max: int = 4_096
    documents_written_max: int = 16_000
    bytes_written_max: int = 16 * _MIB
    scheduled_functions_max: int = 1_000
    scheduled_args_bytes_max: int = 16 * _MIB
    scheduled_args_each_bytes_warn: int = 4 * _MIB
    concurrent_operations_max: int = 1_000
    warn_fraction: float = 0.8
    """Above this share of a limit of a transaction a warning is logged."""

    # Queries.
    query_operators_max: int = 256
    page_items_max: int = 32_000
    page_items_split_recommended: int = 6_144
    page_split_recommended_fraction: float = 0.75
    scan_batch_items: int = 100
    scan_batch_items_max: int = 1_024

    # Conflicts (7.4): full jitter over min(backoff_s_max, backoff_first_s * 2**n).
    conflict_retries_max: int = 4
    conflict_backoff_first_s: float = 0.1
    conflict_backoff_s_max: float = 2.0

    # Concurrency of a node (`spec/function-runtime.md` 1.5).
    concurrent_queries_max: int = 16
    concurrent_mutations_max: int = 16
    concurrent_actions_max: int = 64
    concurrent_scheduled_max: int = 8
    permit_wait_s_max: float = 5.0
    action_permit_wait_s_max: float = 10.0

    # The schema (5.2).
    tables_max: int = 10_000
    indexes_per_table_max: int = 32
    index_columns_max: int = 16
    """With the added `_creationTime`, without the added `_id`."""
    index_filter_fields_max: int = 16
    identifier_chars_max: int = 64
    field_name_bytes_max: int = 1_024

    # HTTP.
    request_body_bytes_max: int = 16 * _MIB + 64 * _KIB
    """Of the function API: 16 MiB of arguments and some slack for what surrounds them. Bytes on the wire."""
    request_time_s_max: float = 300.0
    http_action_request_bytes_max: int = 20 * _MIB
    http_action_response_bytes_max: int = 20 * _MIB


DEFAULT_LIMITS: Final = Limits()

ENVIRONMENT: Final = "CONCAVE_LIMITS"

_OF_THE_FORMAT: Final = frozenset(
    (
        "array_elements_max",
        "object_fields_max",
        "value_nesting_max",
        "value_bytes_max",
        "document_nesting_max",
        "document_bytes_max",
        "identifier_chars_max",
        "field_name_bytes_max",
        "tables_max",
        "indexes_per_table_max",
        "index_columns_max",
        "index_filter_fields_max",
    )
)


def parse_limits(text: str) -> Limits:
    """The limits of a deployment: upstream's, but for those that `text` sets, as `NAME=VALUE` with spaces or commas
    between. Raises `ConfigurationError` for an unknown name and for what is no number of 0 or more."""
    changed: dict[str, float] = {}
    names = [field.name for field in fields(Limits) if field.name not in _OF_THE_FORMAT]
    kinds: dict[str, type[int] | type[float]] = {name: type(getattr(DEFAULT_LIMITS, name)) for name in names}
    for setting in text.replace(",", " ").split():
        name, equals, number = setting.partition("=")
        if name in _OF_THE_FORMAT:
            raise ConfigurationError(f"{ENVIRONMENT}: {name} is a limit of the format itself and cannot be changed")
        if name not in kinds:
            close = get_close_matches(name, kinds, n=1)
            hint = f"; did you mean {close[0]}?" if close else f". The limits are: {', '.join(kinds)}"
            raise ConfigurationError(f"{ENVIRONMENT}: there is no limit {name!r}{hint}")
        try:
            value = kinds[name](number)
        except ValueError:
            value = -1
        if not equals or not 0 <= value < inf:
            wanted = "a whole number" if kinds[name] is int else "a number"
            raise ConfigurationError(f"{ENVIRONMENT}: {name} must be {wanted} of 0 or more, not {number!r}")
        changed[name] = value
    return replace(DEFAULT_LIMITS, **changed)  # type: ignore[arg-type]  # the kinds are those of the fields
