"""Values, their wire form, order, keys, intervals, ids, sizes, timestamps, errors, runtime and limits.

Knows nothing of Mongo or functions. Start with `types.py`, then `keys.py`.
"""
