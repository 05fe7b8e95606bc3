"""One server for all of these tests, ways to do it wrong, and a check that nothing came of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pymongo
import pytest
from bson import encode
from websockets.sync.client import ClientConnection, connect

from processes import ConcaveServer, concave_server, database_in

HERE = Path(__file__).resolve().parent
TIMEOUT_S = 30.0
OF_THE_NODES = frozenset(("_nodes", "_leases"))
"""What nodes say of themselves, all the time and whatever is asked of them."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    status: int
    out: str
    err: str


def concave(*arguments: object) -> Finished:
    """Run the command to its end."""
    completed = subprocess.run(
        [sys.executable, "-m", "concave.cli.main", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "500"},  # wide, so that no message is broken into lines
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return Finished(completed.returncode, completed.stdout, completed.stderr)


class Server:
    """`concave dev` on an app and a database of its own."""

    def __init__(self, running: ConcaveServer, app: Path, database_uri: str, data_dir: Path) -> None:
        self._running = running
        self.url = running.url
        self.app = app
        self.database_uri = database_uri
        self.data_dir = data_dir
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT_S)
        self._mongo: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(database_uri)

    @property
    def log(self) -> str:
        """What the server has printed so far."""
        return self._running.log

    def close(self) -> None:
        """Drop the database, and let go of what the tests held. The server must have ended."""
        self._mongo.drop_database(self._mongo.get_default_database().name)
        self._mongo.close()
        self._http.close()

    # Calls over HTTP

    def post(self, route: str, **request: Any) -> httpx.Response:
        return self._http.post(route, **request)

    def request(self, method: str, route: str, **request: Any) -> httpx.Response:
        return self._http.request(method, route, **request)

    def call(self, kind: str, path: str, args: Any) -> dict[str, Any]:
        response = self.post(f"/api/{kind}", json={"path": path, "args": args, "format": "convex_encoded_json"})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def value(self, kind: str, path: str, args: Any) -> Any:
        """The result of a call that must succeed."""
        answer = self.call(kind, path, args)
        assert answer["status"] == "success", answer
        return answer["value"]

    def failure(self, kind: str, path: str, args: Any) -> str:
        """What a call says that must fail in its function, and change nothing; without the request id's line."""
        with self.unchanged():
            answer = self.call(kind, path, args)
        assert answer["status"] == "error", answer
        assert "errorData" not in answer
        head, _, message = answer["errorMessage"].partition("\n")
        assert re.fullmatch(r"\[Request ID: [0-9a-f]{16}\] Server Error", head)
        assert message
        return message

    # The database

    def contents(self) -> dict[str, list[bytes]]:
        """All documents of all collections, the engine's own included, and the indexes and validators."""
        database = self._mongo.get_default_database()
        found: dict[str, list[bytes]] = {}
        for listed in database.list_collections():
            name = listed["name"]
            if name in OF_THE_NODES:
                continue
            options = [encode({"options": listed["options"]}), encode(database[name].index_information())]
            found[name] = options + [encode(document) for document in database[name].find().sort("_id", 1)]
        return found

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """What happens within changes nothing in the database, and the server goes on answering."""
        before = self.contents()
        yield
        assert self.contents() == before, "the database has changed"
        assert self._running.process.poll() is None, "the server has ended"

    @property
    def collection(self) -> Callable[[str], Any]:
        database = self._mongo.get_default_database()
        return lambda name: database[name]


class RawClient:
    """A client of the sync protocol that says exactly what it is told to."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    def send(self, message: Any) -> None:
        """Text and bytes as they are, everything else as JSON."""
        self._socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def connect(self) -> None:
        self.send(
            {
                "type": "Connect",
                "sessionId": str(uuid.uuid4()),
                "connectionCount": 0,
                "lastCloseReason": "InitialConnect",
                "clientTs": 0,
            }
        )

    def next(self) -> dict[str, Any]:
        """The next message that is no Ping; `ConnectionClosed` is raised at the end."""
        while True:
            message: dict[str, Any] = json.loads(self._socket.recv(timeout=TIMEOUT_S))
            if message["type"] != "Ping":
                return message


@pytest.fixture(scope="session")
def start_server(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Server]]:
    """Starts a server on an app; all are stopped at the end, and their databases dropped."""
    with ExitStack() as stack:

        def start(app: Path) -> Server:
            directory = tmp_path_factory.mktemp("server")
            data_dir, uri = directory / "data", database_in(mongo_uri, "bad_input")
            # Callbacks run in reverse: the server ends before its database is dropped.
            closing = stack.enter_context(ExitStack())
            running = stack.enter_context(
                concave_server("dev", app, "--data-dir", data_dir, "--db", uri, directory=directory)
            )
            server = Server(running, app, uri, data_dir)
            closing.callback(server.close)
            return server

        yield start


@pytest.fixture(scope="session")
def server(start_server: Callable[[Path], Server]) -> Server:
    return start_server(HERE / "app")


@pytest.fixture(name="concave", scope="session")
def _concave() -> Callable[..., Finished]:
    """Runs the command to its end."""
    return concave


@pytest.fixture
def open_client(server: Server) -> Iterator[Callable[[], RawClient]]:
    """Opens raw clients of the sync protocol, which are closed at the end."""
    address = server.url.replace("http", "ws", 1) + "/api/1.48.0/sync"
    with ExitStack() as sockets:
        yield lambda: RawClient(sockets.enter_context(connect(address, compression=None, proxy=None)))
