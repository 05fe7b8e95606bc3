"""The figures of a run, as a table for people or JSON for machines."""

from __future__ import annotations

import itertools
import json
from bisect import bisect_left, bisect_right
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from chaos.faults import KINDS, Injected
from chaos.invariants import Broken
from chaos.workload import Acknowledged

OPS_SHOWN: Final = 20
LONGEST_SHOWN: Final = 5
LONG_S: Final = 5.0


@dataclass(slots=True, frozen=True)
class Unavailability:
    """Seconds during one fault: the longest time in which no mutation was acknowledged to anybody, and the longest that
    any one took which was under way meanwhile; the official client's own pauses before it connects again are part of
    that. A fault counts until the first acknowledgement after it was healed. Overlapping faults have a share in each
    other's figures."""

    kind: str
    target: str
    at_s: float
    """From the first fault's beginning."""
    nobody_s: float
    slowest_s: float


def unavailability(fault: Injected, acknowledged: list[Acknowledged], began_s: float) -> Unavailability:
    """`acknowledged` must be in order of `to_s`; the run began at `began_s`."""
    times = [ack.to_s for ack in acknowledged]
    first, last = bisect_right(times, fault.began_s), bisect_left(times, fault.healed_s)
    moments = [fault.began_s, *times[first : last + 1]]
    nobody_s = max((later - earlier for earlier, later in itertools.pairwise(moments)), default=0.0)
    slowest_s = max(
        (ack.to_s - max(ack.from_s, fault.began_s) for ack in acknowledged[first:] if ack.from_s < fault.healed_s),
        default=0.0,
    )
    return Unavailability(fault.kind, fault.target, round(fault.began_s - began_s, 1), nobody_s, slowest_s)


@dataclass(slots=True, frozen=True)
class Report:
    seed: int
    seconds: float
    clients: int
    acknowledged: int
    refused: int
    latency_p50_ms: float
    recovery_s: float
    """From the end of the last fault until every client had ended its last operation."""
    faults: list[Unavailability]
    failed_starts: int
    not_injected: list[str]
    broken: list[Broken]

    def to_json(self) -> str:
        return json.dumps({**asdict(self), "kinds": self.by_kind()})

    def by_kind(self) -> dict[str, dict[str, Any]]:
        """Count, and p50 and max of both measures, of each kind that was injected."""
        found: dict[str, dict[str, Any]] = {}
        for kind in KINDS:
            these = [fault for fault in self.faults if fault.kind == kind]
            if these:
                found[kind] = {"count": len(these)}
                for measure in ("nobody_s", "slowest_s"):
                    values = [getattr(fault, measure) for fault in these]
                    found[kind][measure] = {"p50": round(median(values), 2), "max": round(max(values), 2)}
        return found

    def print(self, console: Console) -> None:
        title = (
            f"{len(self.faults)} faults in {self.seconds:.0f} s, {self.acknowledged} mutations of {self.clients} "
            f"clients acknowledged, {self.refused} refused by the bank; seed {self.seed}"
        )
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("fault")
        table.add_column("times", justify="right")
        for name in ("nobody served\np50 s", "\nmax s", "slowest mutation\np50 s", "\nmax s"):
            table.add_column(name, justify="right")
        for kind, row in self.by_kind().items():
            figures = [row[measure][which] for measure in ("nobody_s", "slowest_s") for which in ("p50", "max")]
            table.add_row(KINDS[kind].text, str(row["count"]), *(f"{figure:.1f}" for figure in figures))
        console.print(table)
        console.print(
            f"Latency p50 {self.latency_p50_ms:.0f} ms over the whole run; all clients done {self.recovery_s:.1f} s "
            f"after the last fault; {self.failed_starts} starts of a server found no database and were repeated."
        )
        for fault in sorted(self.faults, key=lambda fault: fault.nobody_s, reverse=True)[:LONGEST_SHOWN]:
            if fault.nobody_s >= LONG_S:
                text = KINDS[fault.kind].text
                console.print(
                    f"Nobody served for {fault.nobody_s:.1f} s: {text} ({fault.target}) at {fault.at_s:.1f} s"
                )
        for what in self.not_injected:
            console.print(f"Not injected: {what}")
        if not self.broken:
            console.print("Invariants: all held.", style="green")
        for broken in self.broken:
            console.print(f"BROKEN {broken.invariant}: {broken.what}", style="bold red", markup=False)
            if broken.ops:
                more = f" and {len(broken.ops) - OPS_SHOWN} more" if len(broken.ops) > OPS_SHOWN else ""
                console.print(f"  operations: {', '.join(broken.ops[:OPS_SHOWN])}{more}", markup=False)
