"""`concave schema plan`, `push` and `stats`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from concave.cli.database_access import database
from concave.cli.loading import load
from concave.cli.progress import ProgressLine
from concave.cli.pushing import push_schema
from concave.schema.diff import PlanDiff, diff
from concave.schema.plan import Plan, compile_plan
from concave.storage.mongo import MongoStore
from concave.values.errors import ConfigurationError
from concave.values.runtime import SystemRuntime


def show_plan(app_dir: Path, *, db: str | None, data_dir: Path, as_json: bool) -> None:
    """Print what a push would do; changes nothing."""
    plan = compile_plan(load(app_dir).schema)

    async def compare() -> PlanDiff:
        async with opened_store(app_dir, db, data_dir) as store:
            return diff(plan, await store.database_state())

    _print_diff(asyncio.run(compare()), as_json=as_json)


def push(app_dir: Path, *, db: str | None, data_dir: Path, repair: bool, as_json: bool) -> None:
    """Bring the schema to the database and print what was done. Raises `ConfigurationError` if its data breaks it."""
    plan = compile_plan(load(app_dir).schema)

    async def bring() -> PlanDiff:
        async with opened_store(app_dir, db, data_dir) as store:
            return await _push(store, plan, repair=repair)

    _print_diff(asyncio.run(bring()), as_json=as_json)


def show_stats(app_dir: Path, *, db: str | None, data_dir: Path, as_json: bool) -> None:
    """Print documents, bytes and index bytes of each table of the schema."""
    plan = compile_plan(load(app_dir).schema)

    async def measure() -> list[dict[str, Any]]:
        async with opened_store(app_dir, db, data_dir) as store:
            if not diff(plan, await store.database_state()).is_empty:
                raise ConfigurationError("the database does not have this schema yet: run `concave schema push` first")
            await _push(store, plan)
            return [
                {
                    "table": table.table,
                    "documents": table.documents,
                    "bytes": table.bytes,
                    "indexBytes": dict(sorted(table.index_bytes.items())),
                }
                for table in await store.stats()
            ]

    rows = asyncio.run(measure())
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        _print_stats(rows)


async def _push(store: MongoStore, plan: Plan, *, repair: bool = False) -> PlanDiff:
    difference = diff(plan, await store.database_state())
    progress = ProgressLine()
    try:
        await push_schema(store, plan, progress, repair=repair)
    finally:
        progress.finish()
    return difference


@asynccontextmanager
async def opened_store(app_dir: Path, db: str | None, data_dir: Path) -> AsyncIterator[MongoStore]:
    """The store of the database that a command works on; nothing is pushed to it."""
    runtime = SystemRuntime()
    async with database(app_dir, db, data_dir, runtime) as uri:
        store = MongoStore(uri, runtime=runtime, node="schema command")
        await store.start()
        try:
            yield store
        finally:
            await runtime.close()
            await store.close()


def _print_diff(difference: PlanDiff, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(difference.to_json(), indent=2))
    else:
        print(difference)


def _print_stats(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        print("The schema has no tables.")
        return
    lines = [("table", "documents", "bytes", "index bytes", "indexes")]
    for row in rows:
        sizes: dict[str, int] = row["indexBytes"]
        cells = (f"{row['documents']:,}", f"{row['bytes']:,}", f"{sum(sizes.values()):,}", str(len(sizes)))
        lines.append((row["table"], *cells))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for name, *figures in lines:
        print(
            "  ".join([f"{name:<{widths[0]}}", *(f"{each:>{w}}" for each, w in zip(figures, widths[1:], strict=True))])
        )
