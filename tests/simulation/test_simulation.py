"""The simulator: some seeds find nothing, and a seed is a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from concave.testing.simulation import checking
from concave.testing.simulation.history import Shown, Violation
from concave.testing.simulation.run import simulate

SEEDS = 200
PARTS = 8


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_no_seed_violates_an_invariant(part: int) -> None:
    size = SEEDS // PARTS
    for seed in range(part * size, (part + 1) * size):
        report = simulate(seed)
        assert report.violation is None, f"{report.violation}\nreplay it: make simulate SEED={seed}"


def test_a_seed_replays_exactly() -> None:
    for seed in (3, 4):
        first, second = simulate(seed, trace=True), simulate(seed)
        assert first.events == len(first.lines) > 50
        assert (first.digest, first.commits) == (second.digest, second.commits)
    assert simulate(3).digest != simulate(4).digest


def test_a_seed_is_the_same_run_in_every_process() -> None:
    digests = [_run_command("--seed", "5", "--json", hash_seed=hash_seed)["trace"] for hash_seed in ("1", "2")]
    assert digests == [simulate(5).digest] * 2


def test_a_violation_is_reported_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing_is_true(self: Any, number: int, path: str, args: str) -> Shown:
        return Shown(False, "nothing")

    monkeypatch.setattr(checking.Checks, "_evaluate", nothing_is_true)
    report = simulate(3)
    assert isinstance(report.violation, Violation)
    assert report.violation.invariant in ("I2", "I7")
    assert "client" in str(report.violation)


def test_the_command_tells_how_much_it_did() -> None:
    summary = _run_command("--seeds", "3", "--json")
    assert summary["seeds"] == 3
    assert summary["commits"] > 10
    assert summary["failed_seed"] is None


def _run_command(*arguments: str, hash_seed: str = "0") -> Any:
    completed = subprocess.run(
        [sys.executable, "-m", "concave.testing.simulation", *arguments],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    return json.loads(completed.stdout)
