"""Fixtures of the whole test tree: a real MongoDB, started once per test process."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Iterator

import pymongo
import pytest
from pymongo.uri_parser import parse_uri

from concave.storage.mongod import EmbeddedMongod


@pytest.fixture(scope="session")
def mongo_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a one-node replica set: `CONCAVE_TEST_MONGO_URI` if set, else an embedded one in a temporary directory.

    Each xdist worker has its own, so a test that stops or slows the database disturbs no other worker.
    """
    if uri := os.environ.get("CONCAVE_TEST_MONGO_URI"):
        yield uri
        return
    mongod = EmbeddedMongod(tmp_path_factory.mktemp("mongod"))
    asyncio.run(mongod.start())
    try:
        yield mongod.uri
    finally:
        asyncio.run(mongod.stop())


@pytest.fixture
def database_uri(mongo_uri: str) -> Iterator[str]:
    """URI naming a database that no other test uses; dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    servers, _, options = mongo_uri.removeprefix("mongodb://").partition("/")
    query = options.partition("?")[2]
    uri = f"mongodb://{servers}/{name}?{query}"
    assert parse_uri(uri)["database"] == name
    yield uri
    with pymongo.MongoClient[dict[str, object]](uri) as client:
        client.drop_database(name)
