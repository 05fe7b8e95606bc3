"""`python -m chaos`: exit status 0 if all invariants held, 1 if not."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console

from chaos.faults import KINDS
from chaos.run import Options, run


def main(
    minutes: Annotated[float, typer.Option(help="How long faults are injected.")] = 5.0,
    seed: Annotated[int | None, typer.Option(help="The plan's seed; without it, one by chance.")] = None,
    short: Annotated[
        bool, typer.Option("--short", help="A fixed plan of about 20 s in place of a random one.")
    ] = False,
    clients: Annotated[int, typer.Option(min=2, help="Official clients, in two processes.")] = 8,
    pause_ms: Annotated[float, typer.Option(help="Between two mutations of a client.")] = 100.0,
    kinds: Annotated[str | None, typer.Option(help=f"Only these, by comma: {', '.join(KINDS)}.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the logs of a good run, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Break a cluster of three mongods and three servers on purpose while official clients work on it."""
    chosen = random.SystemRandom().randrange(10**6) if seed is None else seed
    wanted = kinds.split(",") if kinds else list(KINDS)
    if unknown := set(wanted) - set(KINDS):
        raise typer.BadParameter(f"no such faults: {', '.join(sorted(unknown))}")
    notes = Console(stderr=True, highlight=False)
    directory = Path(tempfile.mkdtemp(prefix="concave-chaos-"))
    options = Options(chosen, None if short else minutes * 60, clients, pause_ms, wanted)
    notes.print(f"seed {chosen}, logs in {directory}")
    is_good = False
    try:
        report = uvloop.run(run(options, directory, lambda text: notes.print(text, markup=False)))
        is_good = not report.broken
    finally:
        if is_good and not keep:
            shutil.rmtree(directory, ignore_errors=True)
        elif not is_good:
            for data in directory.glob("mongod-*-data"):
                shutil.rmtree(data, ignore_errors=True)
            notes.print(f"The logs are in {directory}.", style="bold red")
    if as_json:
        print(report.to_json())
    else:
        report.print(Console(width=None if sys.stdout.isatty() else 120))
    raise typer.Exit(0 if is_good else 1)


if __name__ == "__main__":
    typer.run(main)
