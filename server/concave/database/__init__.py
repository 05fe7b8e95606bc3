"""Transactions over a snapshot: read sets, the query builder, pagination and writers.

Knows nothing of sockets. Start with `transaction.py`.
"""
