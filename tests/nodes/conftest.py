"""Two `concave serve` processes on one database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import pytest

from processes import ConcaveServer, concave_server, database_in

APP = Path(__file__).parent / "app"


@dataclass(frozen=True)
class Nodes:
    """Two nodes and their database."""

    first: ConcaveServer
    second: ConcaveServer
    uri: str


@pytest.fixture(scope="module")
def nodes(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    uri = database_in(mongo_uri, "nodes")
    with ExitStack() as stack:
        servers = []
        for name in ("first", "second"):
            directory = tmp_path_factory.mktemp(name)
            servers.append(stack.enter_context(concave_server("serve", APP, "--db", uri, directory=directory)))
        yield Nodes(servers[0], servers[1], uri)


@pytest.fixture
def start_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ConcaveServer]]:
    """Starts a node on a database, with further options; ended after the test."""
    with ExitStack() as stack:

        def start(uri: str, *options: object) -> ConcaveServer:
            directory = tmp_path_factory.mktemp("node")
            return stack.enter_context(concave_server("serve", APP, "--db", uri, *options, directory=directory))

        yield start


@pytest.fixture
def collection(nodes: Nodes) -> Iterator[Callable[[str], Any]]:
    """Collections of the nodes' database."""
    with pymongo.MongoClient[dict[str, Any]](nodes.uri) as client:
        yield lambda name: client.get_default_database()[name]
