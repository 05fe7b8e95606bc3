"""User functions: decorators, registry, loader, contexts, argument and return validation, and the runner.

Knows nothing of sockets. Start with `decorators.py`, then `runner.py`.
"""
