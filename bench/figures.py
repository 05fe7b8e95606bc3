"""What a benchmark prints: one table of figures, each beside its limit, and the same as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `better` tells on which side of `limit` the value must lie."""

    name: str
    concave: float
    reference: float | None
    reference_name: str
    unit: str
    value: float
    limit: float
    better: str

    @property
    def kept(self) -> bool:
        return self.value <= self.limit if self.better == "lower" else self.value >= self.limit


def ratio(
    name: str, concave: float, reference: float, reference_name: str, unit: str, limit: float, *, better: str = "lower"
) -> Figure:
    """A figure whose value is how `concave` compares with `reference`, measured in the same run."""
    return Figure(name, concave, reference, reference_name, unit, concave / reference, limit, better)


def amount(name: str, value: float, unit: str, limit: float, *, better: str = "lower") -> Figure:
    """A figure that is compared with nothing but its limit."""
    return Figure(name, value, None, "", unit, value, limit, better)


def show(title: str, figures: list[Figure], console: Console) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("what", "concave", "reference", "ratio", "limit", ""):
        table.add_column(heading, justify="left" if heading in ("what", "") else "right")
    for figure in figures:
        reference = "" if figure.reference is None else f"{figure.reference_name} {figure.reference:,.2f} {figure.unit}"
        sign = "at most" if figure.better == "lower" else "at least"
        table.add_row(
            figure.name,
            f"{figure.concave:,.2f} {figure.unit}",
            reference,
            f"{figure.value:.2f}" if figure.reference is not None else "",
            f"{sign} {figure.limit:g}",
            "[green]kept[/]" if figure.kept else "[red]broken[/]",
        )
    console.print(table)


def conclude(title: str, figures: list[Figure], console: Console, json_file: Path | None) -> int:
    """Print the table and the JSON; the exit status: 1 if a limit is broken."""
    show(title, figures, console)
    document = json.dumps([asdict(figure) | {"kept": figure.kept} for figure in figures], indent=2)
    if json_file:
        json_file.write_text(document + "\n")
    console.print_json(document)
    return 0 if all(figure.kept for figure in figures) else 1
