"""Live queries: queries whose results follow the database, executed once however many clients watch.

Owns the query cache, the invalidation index and the refresh rounds. Knows nothing of HTTP or of the sync protocol:
a session is a `Subscriber` to it. Read `live_query.py` first, then `refresh.py`; `engine.py` puts the parts together.
"""
