"""One process of `concave serve --workers N`, started by the supervisor as `python -m concave.cli.worker FD`.

FD is one end of a socket pair. The supervisor writes what the worker is to do, a line of JSON (not on the command line,
which everybody can read), and keeps its end open; the worker writes `ready` when it accepts connections. When the other
end is closed the supervisor is gone, and the worker stops as after SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from concave.cli.listening import bind, origins_of
from concave.cli.loading import load
from concave.cli.node import NodeOptions, started_node
from concave.cli.process import name_log_lines, run_until_stopped
from concave.storage.log_trimmer import LogRetention
from concave.storage.node_registry import node_name
from concave.values.errors import ConcaveError
from concave.values.runtime import SystemRuntime

READY: Final = b"ready\n"


@dataclass(slots=True, frozen=True)
class WorkerOptions:
    """What a worker is told. Paths are texts here, since all of it travels as JSON."""

    app_dir: str
    host: str
    port: int
    uri: str
    admin_key: str
    web_dir: str | None
    shutdown_timeout_s: float
    log_retention_s: float
    site_port: int | None
    redact_errors: bool

    def to_line(self) -> bytes:
        return json.dumps(asdict(self)).encode() + b"\n"


async def _work(control: socket.socket, options: WorkerOptions) -> None:
    runtime = SystemRuntime()
    name = node_name(runtime)
    name_log_lines(name)
    # As if the supervisor had said so with its last breath.
    asyncio.get_running_loop().add_reader(control, lambda: _on_control(control))
    app = load(Path(options.app_dir))
    with (
        bind(options.host, options.port, shared=True) as bound,
        nullcontext() if options.site_port is None else bind(options.host, options.site_port, shared=True) as site,
    ):
        node_options = NodeOptions(
            uri=options.uri,
            admin_key=options.admin_key,
            web_dir=None if options.web_dir is None else Path(options.web_dir),
            name=name,
            is_pushed=True,
            shutdown_timeout_s=options.shutdown_timeout_s,
            retention=LogRetention(writes_s=options.log_retention_s),
            redact_errors=options.redact_errors,
            origins=origins_of(bound, site),
        )
        async with started_node(app, node_options, runtime) as node:
            await node.serve(bound, lambda: control.sendall(READY), site=site)


def _on_control(control: socket.socket) -> None:
    """The supervisor says nothing after its first line: what can be read is its end."""
    asyncio.get_running_loop().remove_reader(control)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Entry point; exit status 1 where the worker cannot begin, with the reason on stderr."""
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    with control.makefile("rb") as lines:
        options = WorkerOptions(**json.loads(lines.readline()))
    try:
        sys.exit(run_until_stopped(_work(control, options)))
    except ConcaveError as error:
        print(f"error: {error.message}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
