"""Live queries: the query cache, the invalidation index and refresh rounds.

Knows nothing of HTTP. Start with `engine.py`.
"""
