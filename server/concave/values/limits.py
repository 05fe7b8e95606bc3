"""Every number that bounds a value, a transaction or a function, in one place, with upstream's defaults.

Sources: `spec/data-model.md` 1.4, 5.2, 7.4, 7.5 and `spec/function-runtime.md` 1.5, 2, 16, 17. A limit is the largest
permitted amount; going past it is the error. Names end in the unit and `_max`.

The limits of a value's shape belong to the format: `codec`, `coercion` and `sizes` enforce the defaults, whatever a
deployment configures. All others are read from the `Limits` object that the engine was built with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
