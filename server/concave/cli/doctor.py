"""`concave doctor`: what is wrong with the database of an app."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Final

from concave.cli.loading import load
from concave.cli.progress import ProgressLine
from concave.cli.schema_commands import opened_store
from concave.schema.plan import compile_plan
from concave.storage.checkup import Report

SAMPLE: Final = 1_000
"""Documents of each table that are checked unless all are asked for."""


def doctor(app_dir: Path, *, db: str | None, data_dir: Path, all_documents: bool, as_json: bool) -> int:
    """Print the report; returns the exit status: 1 if anything is wrong. Changes nothing in the database."""
    plan = compile_plan(load(app_dir).schema)

    async def look() -> Report:
        async with opened_store(app_dir, db, data_dir) as store:
            progress = ProgressLine()
            try:
                return await store.check_up(plan, sample=None if all_documents else SAMPLE, progress=progress)
            finally:
                progress.finish()

    report = asyncio.run(look())
    if as_json:
        print(json.dumps(report.to_json(), indent=2))
    else:
        _print(report)
    return 0 if report.is_healthy else 1


def _print(report: Report) -> None:
    for finding in report.problems:
        print(f"wrong: {finding}")
    for finding in report.notes:
        print(f"note: {finding}")
    log = report.log
    if log.entries:
        print(
            f"log: {log.entries:,} entries, {log.oldest:,} to {log.newest:,}, whole from {log.whole_from:,}; "
            f"{log.bytes:,} bytes, {log.index_bytes:,} of indexes"
        )
    else:
        print("log: empty")
    print(f"documents: {sum(report.checked.values()):,} of {sum(report.documents.values()):,} checked")
    count = len(report.problems)
    print("nothing is wrong" if report.is_healthy else f"{count} {'thing is' if count == 1 else 'things are'} wrong")
