"""The scenarios that `record.py` records with the PyPI client. Without an argument: prints their names."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

from convex import ConvexClient, ConvexError


def python_mutation(client: ConvexClient, channel: str) -> None:
    client.mutation("messages:send", {"channel": channel, "body": "first"})


def python_query(client: ConvexClient, channel: str) -> None:
    client.query("messages:list", {"channel": channel})


def python_subscription(client: ConvexClient, channel: str) -> None:
    results = iter(client.subscribe("messages:count", {"channel": channel}))
    next(results)
    client.mutation("messages:send", {"channel": channel, "body": "first"})
    next(results)


def python_errors(client: ConvexClient, channel: str) -> None:
    with contextlib.suppress(ConvexError):
        client.mutation("messages:refuse", {"data": {"code": "no"}})
    with contextlib.suppress(Exception):
        client.query("messages:nowhere", {})


SCENARIOS: dict[str, tuple[str, Callable[[ConvexClient, str], None]]] = {
    "python_query": ("The Python client asks once", python_query),
    "python_mutation": ("The Python client without a query: no query set is sent at all", python_mutation),
    "python_subscription": ("The Python client follows a query", python_subscription),
    "python_errors": ("The Python client and calls that fail", python_errors),
}

if len(sys.argv) == 1:
    print("\n".join(SCENARIOS))
else:
    title, play = SCENARIOS[sys.argv[1]]
    print(f"# {title}.", flush=True)
    play(ConvexClient(os.environ["CONVEX_URL"]), sys.argv[1])
