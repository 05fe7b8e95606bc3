"""How long to look for trouble, and how to see it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

SECONDS = float(os.environ.get("FUZZ_SECONDS", "18"))
TARGETS = 3
ROUND_EXAMPLES = 40


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent.name == "fuzz":
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(SECONDS + 120))


@pytest.fixture
def keep_trying() -> Callable[[Callable[[], None]], int]:
    """Runs rounds of examples until this target's share of the time is over; returns how many rounds there were.

    A round is a function that defines and calls a hypothesis test with the settings below.
    """

    def keep_trying(play_round: Callable[[], None]) -> int:
        deadline = time.monotonic() + SECONDS / TARGETS
        rounds = 0
        while rounds < 1 or time.monotonic() < deadline:
            play_round()
            rounds += 1
        return rounds

    return keep_trying


@pytest.fixture(scope="session")
def round_settings() -> settings:
    return settings(
        max_examples=ROUND_EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


@pytest.fixture
def errors_logged() -> Iterator[list[str]]:
    """What this process has logged as an error."""
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(self.format(record))

    handler = Keep(logging.ERROR)
    logging.getLogger().addHandler(handler)
    yield found
    logging.getLogger().removeHandler(handler)
