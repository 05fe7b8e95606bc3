"""`concave data`: what is in the database, as tables for people or JSON for machines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from concave.cli.database_access import database
from concave.storage.inspection import Inspection, TableSummary
from concave.values.codec import to_format
from concave.values.errors import ConfigurationError
from concave.values.runtime import SystemRuntime
from concave.values.types import Document

_SYSTEM_FIELDS: Final = ("_id", "_creationTime")
_CELL_CHARS_MAX: Final = 60


def print_tables(app_dir: Path, *, db: str | None, data_dir: Path, as_json: bool) -> None:
    """All tables with their numbers of documents."""

    async def read() -> list[TableSummary]:
        async with database(app_dir, db, data_dir, SystemRuntime()) as uri, Inspection(uri) as inspection:
            return await inspection.tables()

    tables = asyncio.run(read())
    if as_json:
        print(json.dumps([{"table": table.name, "documents": table.documents} for table in tables], indent=2))
    elif tables:
        _print_grid(["table", "documents"], [[table.name, f"{table.documents:,}"] for table in tables])
    else:
        print("There are no tables in this database.")


def print_documents(
    table: str,
    app_dir: Path,
    *,
    db: str | None,
    data_dir: Path,
    limit: int,
    order: Literal["asc", "desc"],
    as_json: bool,
) -> None:
    """Documents of one table by creation time. In JSON: one array, values as in exports."""

    async def read() -> tuple[list[str], list[Document]]:
        async with database(app_dir, db, data_dir, SystemRuntime()) as uri, Inspection(uri) as inspection:
            names = [summary.name for summary in await inspection.tables()]
            if table not in names:
                return names, []
            return names, await inspection.documents(table, limit=limit, order=order)

    names, documents = asyncio.run(read())
    if table not in names:
        known = f"its tables are {', '.join(names)}" if names else "it has no tables"
        raise ConfigurationError(f"there is no table {table!r} in the database; {known}")
    rows = [to_format(document, "export_json") for document in documents]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    elif not rows:
        print(f"The table {table} is empty.")
    else:
        columns = [*_SYSTEM_FIELDS, *sorted({name for row in rows for name in row} - set(_SYSTEM_FIELDS))]
        _print_grid(columns, [[_cell(row, name) for name in columns] for row in rows])
        if len(rows) == limit:
            print(f"Only {limit} documents are shown; --limit shows more.")


def _cell(row: dict[str, Any], name: str) -> str:
    if name not in row:
        return ""
    value = row[name]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _CELL_CHARS_MAX else text[: _CELL_CHARS_MAX - 1] + "…"


def _print_grid(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    Console().print(grid)
