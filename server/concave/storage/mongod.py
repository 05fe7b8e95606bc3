"""A real `mongod` as a child process: the database of `concave dev`, with no server to install.

Invariants:

* One process at a time owns a data directory (`DirectoryLock`); what runs there besides it is a leftover of a crash.
* Data outlives the process. A `mongod` that was killed recovers by WiredTiger's journal on the next start.
* The child never outlives us: on Linux the kernel tells it to shut down when its parent dies; elsewhere, and
  as a second line, the next start finds it by its pid and ends it.
* The port is remembered, so the URI stays the same from start to start as long as nobody else takes the port.

It is a one-node replica set, since snapshot reads, transactions and change streams exist in replica sets only.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError

from concave.storage.directory_lock import DirectoryLock
from concave.values.errors import ConfigurationError
from concave.values.runtime import Runtime, SystemRuntime

BINARY_ENVIRONMENT = "CONCAVE_MONGOD"
REPLICA_SET = "rs0"
HOST = "127.0.0.1"

START_TIMEOUT_S = 60.0  # recovery of a large journal after a crash is part of a start
STOP_TIMEOUT_S = 20.0
_POLL_S = 0.02
_LOG_TAIL_LINES = 5

_NOT_YET_INITIALIZED = 94
_INVALID_REPLICA_SET_CONFIG = 93
_PR_SET_PDEATHSIG = 1


class EmbeddedMongod:
    """Runs one `mongod` on `data_dir`, from `start` to `stop`; afterwards it can be started again.

    Files in `data_dir`: `mongo/` (the database), `mongod.log` and that of the start before, `mongod.json` (port and
    pid), `lock`.
    `database` is the name in `uri`; `cache_gb` is the size of WiredTiger's cache; `preferred_port` is taken by a
    first start if it is free. Not safe for concurrent calls.
    """

    def __init__(
        self,
        data_dir: str | Path,
        *,
        runtime: Runtime | None = None,
        database: str = "concave",
        cache_gb: float = 0.25,
        preferred_port: int | None = None,
        binary: str | Path | None = None,
    ) -> None:
        self._data_dir = Path(data_dir).resolve()
        self._runtime: Runtime = runtime or SystemRuntime()
        self._database = database
        self._cache_gb = cache_gb
        self._preferred_port = preferred_port
        self._binary = binary
        self._lock = DirectoryLock(self._data_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def uri(self) -> str:
        """Connection string of the running database; fit for the driver, mongosh and `directConnection`."""
        assert self._port, "start() has not been called"
        return f"mongodb://{HOST}:{self._port}/{self._database}?replicaSet={REPLICA_SET}"

    @property
    def pid(self) -> int | None:
        """Process id of the running `mongod`, or None."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start and wait until reads and writes are accepted; about a second, more after a crash.

        Must be called on a thread that lives as long as the database is wanted (the kernel ties a child's life to
        the thread that forked it); in practice the main thread. Raises `ConfigurationError` when there is no
        binary, the directory is taken, or `mongod` gives up.
        """
        assert self._process is None, "already started"
        binary = Path(self._binary) if self._binary else find_mongod()
        self._lock.acquire()
        try:
            await self._end_leftover()
            (self._data_dir / "mongo").mkdir(exist_ok=True)
            self._port = _usable_port(self._remembered().get("port"), self._preferred_port)
            self._process = self._spawn(binary)
            self._remember()
            await self._wait_until_primary()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Shut down cleanly within `STOP_TIMEOUT_S`, by force after that. No-op when not running."""
        process, self._process = self._process, None
        try:
            if process is not None and process.poll() is None:
                process.terminate()
                if not await self._wait_for(lambda: process.poll() is not None, STOP_TIMEOUT_S):
                    process.kill()
                    process.wait()
        finally:
            self._lock.release()

    # Starting

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        log = self._data_dir / "mongod.log"
        with contextlib.suppress(FileNotFoundError):
            # mongod would keep the logs of all starts.
            log.replace(log.with_name("mongod.previous.log"))
        command = [
            str(binary),
            *("--dbpath", str(self._data_dir / "mongo")),
            *("--port", str(self._port)),
            *("--bind_ip", HOST),
            "--nounixsocket",
            *("--replSet", REPLICA_SET),
            *("--wiredTigerCacheSizeGB", str(self._cache_gb)),
            *("--logpath", str(log)),
            "--quiet",
            # Statistics for MongoDB's support engineers: they cost CPU every second and grow in the data directory.
            *("--setParameter", "diagnosticDataCollectionEnabled=false"),
            # How long a stopping primary waits for clients to move on to another node; here there is no other.
            *("--setParameter", "shutdownTimeoutMillisForSignaledShutdown=0"),
        ]
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                process_group=0,  # a Ctrl-C in the terminal is ours to handle, in our order
                preexec_fn=_die_with_parent(os.getpid()),
            )
        except OSError as exc:
            raise ConfigurationError(f"cannot run {binary}: {exc.strerror}") from exc

    async def _wait_until_primary(self) -> None:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            HOST, self._port, directConnection=True, serverSelectionTimeoutMS=200, connectTimeoutMS=1000
        )
        deadline = self._runtime.monotonic() + START_TIMEOUT_S
        try:
            while True:
                assert self._process is not None
                if (status := self._process.poll()) is not None:
                    raise ConfigurationError(self._exit_message(status))
                # Not listening yet, or busy with its start: the deadline ends this.
                with contextlib.suppress(PyMongoError):
                    if await self._became_primary(client):
                        return
                if self._runtime.monotonic() > deadline:
                    raise ConfigurationError(
                        f"mongod was not ready after {START_TIMEOUT_S:.0f} s; see {self._data_dir / 'mongod.log'}"
                    )
                await self._runtime.sleep(_POLL_S)
        finally:
            await client.close()

    async def _became_primary(self, client: AsyncMongoClient[dict[str, Any]]) -> bool:
        """One step towards a writable primary: initiate the set, or move it to this port, or look whether it is one."""
        hello = await client.admin.command("hello")
        if hello.get("isWritablePrimary"):
            return True
        member = {"_id": 0, "host": f"{HOST}:{self._port}"}
        try:
            config = (await client.admin.command("replSetGetConfig"))["config"]
        except OperationFailure as exc:
            if exc.code == _NOT_YET_INITIALIZED:
                await client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [member]})
            elif exc.code != _INVALID_REPLICA_SET_CONFIG:
                raise
            return False
        if config["members"][0]["host"] != member["host"]:
            # The set remembers the address of an earlier start, whose port was taken this time. Before it gets here
            # mongod has asked whoever is there now whether that is itself: 30 s if that one accepts and is silent.
            config["members"][0]["host"] = member["host"]
            config["version"] += 1
            await client.admin.command("replSetReconfig", config, force=True)
        return False

    def _exit_message(self, status: int) -> str:
        log = self._data_dir / "mongod.log"
        tail: list[str] = []
        with contextlib.suppress(OSError):
            tail = log.read_text(errors="replace").splitlines()[-200:]
        telling = [_readable(line) for line in tail if '"s":"E"' in line or '"s":"F"' in line][-_LOG_TAIL_LINES:]
        return "\n".join([f"mongod ended with status {status} while starting; its log is {log}", *telling])

    # What earlier starts left behind

    def _remembered(self) -> dict[str, int]:
        try:
            state = json.loads((self._data_dir / "mongod.json").read_text())
        except (OSError, ValueError):
            return {}
        return {name: value for name, value in state.items() if isinstance(value, int)} if type(state) is dict else {}

    def _remember(self) -> None:
        assert self._process is not None
        state = {"port": self._port, "pid": self._process.pid}
        (self._data_dir / "mongod.json").write_text(json.dumps(state))

    async def _end_leftover(self) -> None:
        """End a `mongod` that still runs on our files; we hold the lock, so its owner is gone."""
        database = self._data_dir / "mongo"
        if (pid := self._remembered().get("pid")) and is_mongod_on(pid, database):
            for signal_number, patience_s in ((signal.SIGTERM, STOP_TIMEOUT_S), (signal.SIGKILL, STOP_TIMEOUT_S)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal_number)
                if await self._wait_for(lambda: not is_mongod_on(pid, database), patience_s):
                    return
            raise ConfigurationError(f"a mongod of an earlier run (process {pid}) cannot be stopped; end it by hand")
        with contextlib.suppress(OSError, ValueError):
            stranger = int((database / "mongod.lock").read_text() or "0")
            if stranger and is_mongod_on(stranger, database):
                raise ConfigurationError(
                    f"{database} is in use by a mongod that concave did not start (process {stranger}): stop it first"
                )

    async def _wait_for(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = self._runtime.monotonic() + timeout_s
        while not condition():
            if self._runtime.monotonic() > deadline:
                return False
            await self._runtime.sleep(_POLL_S)
        return True


def find_mongod() -> Path:
    """The `mongod` to run: `CONCAVE_MONGOD`, then `PATH`, then the wheel of the extra `mongod`."""
    if named := os.environ.get(BINARY_ENVIRONMENT):
        if os.access(named, os.X_OK) and os.path.isfile(named):
            return Path(named)
        raise ConfigurationError(f"{BINARY_ENVIRONMENT} names {named}, which is not an executable file")
    if found := shutil.which("mongod"):
        return Path(found)
    if (wheel := _wheel_binary()) is not None:
        return wheel
    raise ConfigurationError(
        "no mongod found. Install one with: pip install 'concavedb[mongod]' (Linux x86-64), "
        f"or install MongoDB 6.0 or later and put mongod on PATH or its path in {BINARY_ENVIRONMENT}, "
        "or name a running replica set with --db mongodb://..."
    )


def _wheel_binary() -> Path | None:
    package = importlib.util.find_spec("fiftyone")
    for location in (package.submodule_search_locations or ()) if package else ():
        binary = Path(location) / "db" / "bin" / "mongod"
        if binary.is_file():
            return binary
    return None


def is_mongod_on(pid: int, database: Path) -> bool:
    """Whether process `pid` is a `mongod` whose `--dbpath` is `database`. Pids are reused, hence the check."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        if sys.platform == "linux":
            return False
        answer = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
        return "mongod" in answer.stdout and f"--dbpath {database} " in answer.stdout
    if "mongod" not in Path(arguments[0]).name or "--dbpath" not in arguments:
        return False
    return arguments[arguments.index("--dbpath") + 1 :][:1] == [str(database)]


def _usable_port(*wanted: int | None) -> int:
    """The first wanted port that is free, else one that the system picks. Not reserved: the caller binds it soon."""
    for port in (*wanted, 0):
        if port is None or not 0 <= port < 65536:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            return int(probe.getsockname()[1])
    raise ConfigurationError(f"no free TCP port on {HOST}")


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """For the child, between fork and exec: ask the kernel for SIGTERM at the parent's death. Linux only."""
    if sys.platform != "linux":
        return None
    # Looked up before the fork: only async-signal-safe work is sound in the child of a threaded process.
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def arrange() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return arrange


def _readable(log_line: str) -> str:
    """Message and error text of one of mongod's JSON log lines."""
    try:
        entry = json.loads(log_line)
    except ValueError:
        return log_line
    attributes = entry.get("attr", {})
    detail = attributes.get("error") or attributes.get("reason") or attributes
    return f"  {entry.get('msg', log_line)}: {detail}" if detail else f"  {entry.get('msg', log_line)}"
