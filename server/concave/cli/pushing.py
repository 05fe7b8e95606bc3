"""Bringing a schema to the database, with a person waiting for it."""

from __future__ import annotations

from concave.schema.catalog import Catalog
from concave.schema.plan import Plan
from concave.storage.mongo import MongoStore
from concave.storage.store import PushProgress, PushRefused, StoreError
from concave.values.errors import ConfigurationError


async def push_schema(store: MongoStore, plan: Plan, progress: PushProgress | None, *, repair: bool = False) -> Catalog:
    """The catalog to serve by. Raises `ConfigurationError` if the data in the database breaks the schema."""
    try:
        return await store.push(plan, progress=progress, repair=repair)
    except PushRefused as exc:
        raise ConfigurationError(f"{exc}\nChange these documents, or the schema; nothing was pushed.") from None
    except StoreError as exc:
        raise ConfigurationError(f"the schema could not be pushed: {exc}") from exc
