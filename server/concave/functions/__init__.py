"""User functions: decorators, registry, loader, contexts, argument and return validation, and the runner.

Knows nothing of sockets. Two ways in:

* how a directory becomes an app: `decorators.py` (what users write), `specs.py` with `annotations.py` and `calling.py`
  (what a definition means), `loader.py` with `modules.py` and `load_report.py`, `registry.py`, `watch.py`;
* how a function runs: `runner.py` (the way in), `queries.py`, `mutations.py`, `actions.py`, one attempt in
  `attempts.py` and `execution.py`, its state in `frames.py`, what it sees in `contexts.py`, what it prints in
  `logs.py`, how it ends in `outcomes.py` and `failures.py`.
"""
