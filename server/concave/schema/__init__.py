"""The schema DSL (`v`, `define_table`), validation, and the compiler to a Mongo plan.

Knows nothing of Mongo connections. Reading order: `kinds.py` and `validators.py` (what a value may be), `checking.py`
and `explaining.py` (testing a value, and saying what is wrong with it), `definition.py` (what an app writes),
`schema.py` with `rules.py` and `validator_rules.py` (a whole schema and what is wrong with it), `plan.py` with
`natural.py` and `json_schema.py` (what the database needs for it), `diff.py` (what the database lacks), `catalog.py`
with `system_tables.py` (what the engine asks at run time).
"""
