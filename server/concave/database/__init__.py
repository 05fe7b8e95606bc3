"""Transactions over a snapshot: read sets, the query builder, pagination and writers.

Knows nothing of sockets. Reading order: `transaction.py` (with `own_writes.py` and `usage.py`), `rows.py`, `query.py`
(with `ranges.py`, `filters.py`, `pagination.py`, `cursors.py`), then `reader.py` and `writer.py`, which are `ctx.db`,
and `calls.py`, which keeps a forgotten `await` from losing a write.
"""
