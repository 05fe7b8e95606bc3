"""Where documents live: the `Store` contract, `MongoStore`, `MemoryStore`, the committer and the change feed.

Knows nothing of functions or sockets. Start with `store.py` (the contract), then `timeline.py` and `committer.py`.
"""
