"""Which database a command works on: the one named with --db, else the running server's, else the embedded one."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from concave.cli.deployment import running
from concave.storage.mongod import EmbeddedMongod
from concave.values.runtime import Runtime

# Low enough to be outside the range from which systems hand out ports, and so nearly always free.
EMBEDDED_PORT: Final = 27027
_NAME_LENGTH_MAX: Final = 38


def database_name(app_dir: Path) -> str:
    """The embedded database of an app: named after its directory, so that several apps can share a data directory."""
    return re.sub(r"\W", "_", app_dir.resolve().name, flags=re.ASCII)[:_NAME_LENGTH_MAX] or "concave"


def embedded(app_dir: Path, data_dir: Path, runtime: Runtime) -> EmbeddedMongod:
    return EmbeddedMongod(data_dir, runtime=runtime, database=database_name(app_dir), preferred_port=EMBEDDED_PORT)


@asynccontextmanager
async def database(app_dir: Path, db: str | None, data_dir: Path, runtime: Runtime) -> AsyncIterator[str]:
    """URI of the database to work on; the embedded one is started for as long as it is needed."""
    if db is not None:
        yield db
        return
    if (server := running(data_dir)) is not None:
        yield server.db
        return
    mongod = embedded(app_dir, data_dir, runtime)
    await mongod.start()
    try:
        yield mongod.uri
    finally:
        await mongod.stop()
