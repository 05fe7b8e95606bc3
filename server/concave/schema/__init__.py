"""The schema DSL (`v`, `define_table`), validation, and the compiler to a Mongo plan.

Knows nothing of Mongo connections. Reading order: `validators.py` (what a value may be), `checking.py` (testing a
value), `definition.py` (what an app writes), `schema.py` and `rules.py` (a whole schema and what is wrong with it),
`plan.py` with `natural.py` and `json_schema.py` (what the database needs for it), `diff.py` (what the database
lacks), `catalog.py` (what the engine asks at run time).
"""
