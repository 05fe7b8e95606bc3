"""`python -m concave.testing.simulation`: run many seeds, or replay one with a trace of everything that happens."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from concave.testing.simulation.run import ACTIONS, Report, simulate

PROGRESS_S = 2.0


def main() -> int:
    """Exit status 1 if an invariant was violated."""
    parser = argparse.ArgumentParser(prog="python -m concave.testing.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=500, help="how many seeds to run (500)")
    parser.add_argument("--first", type=int, default=0, help="the first of them (0)")
    parser.add_argument("--seed", type=int, help="run this one alone and print its trace")
    parser.add_argument("--actions", type=int, default=ACTIONS, help=f"things that each user does ({ACTIONS})")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, and nothing else")
    options = parser.parse_args()
    if options.seed is not None:
        return _replay(options.seed, options.actions, as_json=options.json)
    return _run(options.first, options.seeds, options.actions, as_json=options.json)


def _replay(seed: int, actions: int, *, as_json: bool) -> int:
    report = simulate(seed, actions=actions, trace=not as_json)
    if as_json:
        print(json.dumps(_summary([report], report, 0.0)))
    else:
        print("\n".join(report.lines))
        print(f"seed {seed}: {report.violation or 'no violation'}; trace {report.digest}")
    return 0 if report.violation is None else 1


def _run(first: int, seeds: int, actions: int, *, as_json: bool) -> int:
    started = shown = time.monotonic()
    reports: list[Report] = []
    failed: Report | None = None
    for seed in range(first, first + seeds):
        report = simulate(seed, actions=actions)
        reports.append(report)
        if report.violation is not None:
            failed = report
            break
        if not as_json and time.monotonic() - shown > PROGRESS_S:
            shown = time.monotonic()
            rate = len(reports) / (shown - started)
            print(f"  {len(reports)} of {seeds} seeds, {rate:.0f} a second", file=sys.stderr, flush=True)
    seconds = time.monotonic() - started
    if as_json:
        print(json.dumps(_summary(reports, failed, seconds)))
    else:
        print(
            f"{len(reports)} seeds in {seconds:.1f} s: {sum(r.commits for r in reports)} commits, "
            f"{sum(r.transitions for r in reports)} transitions, "
            f"{sum(r.virtual_s for r in reports) / 3600:.1f} hours of virtual time"
        )
        if failed is not None:
            print(f"seed {failed.seed} violates {failed.violation}\nreplay it: make simulate SEED={failed.seed}")
        else:
            print("no violation")
    return 0 if failed is None else 1


def _summary(reports: list[Report], failed: Report | None, seconds: float) -> dict[str, Any]:
    violated = failed if failed is not None and failed.violation is not None else None
    return {
        "seeds": len(reports),
        "seconds": round(seconds, 2),
        "commits": sum(report.commits for report in reports),
        "transitions": sum(report.transitions for report in reports),
        "virtual_seconds": round(sum(report.virtual_s for report in reports), 1),
        "failed_seed": None if violated is None else violated.seed,
        "violation": None if violated is None else str(violated.violation),
        "trace": reports[-1].digest if reports else None,
    }


if __name__ == "__main__":
    sys.exit(main())
