"""The official npm client in Node: each scenario is a script that asserts for itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

SCENARIOS = sorted(path.name for path in (Path(__file__).parent / "scenarios").glob("[a-z]*.mjs"))

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(run_scenario: Callable[[str], str], name: str) -> None:
    assert run_scenario(name).rstrip().endswith("ok")
