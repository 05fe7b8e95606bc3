"""What the users of a simulation do: random calls on few documents, so that they meet."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any, Final

from concave.testing.simulation.client import SimulatedClient

NAMES: Final = ("a", "b", "c")
COLUMNS: Final = ("todo", "doing", "done")
OWNERS: Final = ("ann", "bob", "cid")
TEAMS: Final = ("red", "blue")
TOPICS: Final = ("news", "rumours")
BALANCE: Final = 100.0

SET_UP: Final[dict[str, Any]] = {
    "owners": list(OWNERS),
    "balance": BALANCE,
    "teams": list(TEAMS),
    "people": list(OWNERS),
}

_MUTATIONS: Final = {
    "put": 2,
    "increment": 5,
    "swap_if": 2,
    "append": 4,
    "add_card": 5,
    "move_card": 4,
    "rank_card": 3,
    "drop_card": 1,
    "tally": 3,
    "transfer": 4,
    "leave_shift": 4,
    "join_shift": 2,
    "audit": 1,
    "doomed": 1,
    "careful": 1,
    "post": 1,
}
"""Function -> how often, in parts."""

_QUERIES: Final = (
    "register",
    "odd",
    "all_registers",
    "log",
    "column",
    "ranks",
    "top",
    "first_card",
    "richest",
    "total",
    "on_call",
    "notices_of",
)


class User:
    """Drives one client. `numbers` are shared by all users, so that each value written is another one."""

    def __init__(self, client: SimulatedClient, random: Random, numbers: itertools.count[int]) -> None:
        self._client = client
        self._random = random
        self._numbers = numbers

    def begin(self) -> None:
        for _ in range(self._random.randint(1, 4)):
            self._subscribe()

    def act(self) -> None:
        """One thing that users do."""
        choice = self._random.random()
        if choice < 0.08:
            self._subscribe()
        elif choice < 0.12:
            self._client.unsubscribe()
        else:
            function = self._random.choices(list(_MUTATIONS), list(_MUTATIONS.values()))[0]
            self._client.mutate(function, self._arguments(function))

    def _subscribe(self) -> None:
        function = self._random.choice(_QUERIES)
        self._client.subscribe(function, self._arguments(function))

    def _arguments(self, function: str) -> dict[str, Any]:
        random = self._random
        match function:
            case "put":
                return {"name": random.choice(NAMES), "value": float(next(self._numbers))}
            case "swap_if":
                return {
                    "name": random.choice(NAMES),
                    "expected": float(random.randint(1, 4)),
                    "value": float(random.randint(1, 4)),
                }
            case "append":
                return {"name": random.choice(NAMES), "entry": float(next(self._numbers))}
            case "increment" | "doomed" | "careful" | "register" | "odd" | "log":
                return {"name": random.choice(NAMES)}
            case "add_card":
                label = f"card {next(self._numbers)}"
                return {"column": random.choice(COLUMNS), "rank": float(random.randint(0, 9)), "label": label}
            case "move_card":
                source, target = random.sample(COLUMNS, 2)
                return {"source": source, "target": target}
            case "rank_card":
                return {"column": random.choice(COLUMNS), "rank": float(random.randint(0, 9))}
            case "drop_card" | "tally" | "column" | "first_card":
                return {"column": random.choice(COLUMNS)}
            case "ranks":
                low = float(random.randint(0, 7))
                return {"column": random.choice(COLUMNS), "low": low, "high": low + random.randint(1, 4)}
            case "top":
                return {"column": random.choice(COLUMNS), "count": float(random.randint(1, 3))}
            case "richest":
                return {"count": float(random.randint(1, 2))}
            case "transfer":
                source, target = random.sample(OWNERS, 2)
                return {"source": source, "target": target, "amount": float(random.randint(1, 90))}
            case "leave_shift" | "join_shift":
                return {"team": random.choice(TEAMS), "person": random.choice(OWNERS)}
            case "on_call":
                return {"team": random.choice(TEAMS)}
            case "post":
                return {"topic": random.choice(TOPICS), "text": f"notice {next(self._numbers)}"}
            case "notices_of":
                return {"topic": random.choice(TOPICS)}
            case _:
                return {}
