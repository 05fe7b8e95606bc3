"""The schema DSL (`v`, `define_table`), validation, and the compiler to a Mongo plan.

Knows nothing of Mongo connections. Start with `validators.py`, then `plan.py`.
"""
