"""Records `recordings/*.wire`: official clients talk to a server of this tree through a proxy that writes it all down.

    .venv/bin/python tests/golden/record.py [NAME ...]

Without names, all scenarios of `clients.mjs` and `python_clients.py`. Look at `git diff` afterwards: a recording that
has changed is a change of what clients see.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))

from processes import concave_server  # noqa: E402
from wire_log import Line, happened, normalised, said  # noqa: E402

QUIET_S = 0.08
"""So long after the last word of the server, everything that the client's words led to has been said."""


class Recorder:
    """The proxy. What a client says together is passed on together, and only when the server has fallen silent: so a
    recording has one order, whatever the speed of either side."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url.replace("http", "ws", 1)
        self.lines: list[Line] = []
        self._heard_at = 0.0
        self._turn = asyncio.Lock()
        self._sessions: list[str] = []
        self._open: set[int] = set()

    async def handle(self, client: ServerConnection) -> None:
        assert client.request is not None
        name = client.request.headers.get("Convex-Client")
        headers = {"Convex-Client": name} if name else {}
        url = self._server_url + client.request.path
        async with connect(url, additional_headers=headers, max_size=None, proxy=None) as server:
            first = json.loads(await client.recv())
            number = self._number(first["sessionId"])
            self._open.add(number)
            if any(line.client == number for line in self.lines):
                self.lines.append(happened(number, "connects"))
            back = asyncio.create_task(self._pass_back(server, client, number))
            with suppress(ConnectionClosed):
                await self._pass_on(client, server, number, [first])
            back.cancel()
            self._open.discard(number)
            if client.close_code == 1006:
                self.lines.append(happened(number, "drops"))

    def _number(self, session_id: str) -> int:
        if session_id in self._sessions:
            return self._sessions.index(session_id) + 1
        if len(self._sessions) in self._open or not self._sessions:
            self._sessions.append(session_id)
        else:  # a Python client has a new session id on each connection
            self._sessions[-1] = session_id
        return len(self._sessions)

    async def _pass_on(
        self, client: ServerConnection, server: ClientConnection, number: int, messages: list[dict[str, Any]]
    ) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    while True:
                        messages.append(json.loads(await client.recv()))
            async with self._turn:
                await self._silence()
                self.lines += [said(number, True, message) for message in messages if message["type"] != "Event"]
                for message in messages:
                    await server.send(json.dumps(message))
                self._heard_at = asyncio.get_running_loop().time()
                await self._silence()
            messages = [json.loads(await client.recv())]

    async def _pass_back(self, server: ClientConnection, client: ServerConnection, number: int) -> None:
        with suppress(ConnectionClosed):
            async for text in server:
                message = json.loads(text)
                if message["type"] != "Ping":
                    self._heard_at = asyncio.get_running_loop().time()
                    self.lines.append(said(number, False, message))
                await client.send(text)

    async def _silence(self) -> None:
        now = asyncio.get_running_loop().time
        while (left := self._heard_at + QUIET_S - now()) > 0:
            await asyncio.sleep(left)


async def record(server_url: str, name: str, command: list[str]) -> None:
    recorder = Recorder(server_url)
    async with serve(recorder.handle, "127.0.0.1", 0, max_size=None) as proxy:
        port = next(iter(proxy.sockets)).getsockname()[1]
        environment = {**os.environ, "CONVEX_URL": f"http://127.0.0.1:{port}", "HTTP_URL": server_url}
        process = await asyncio.create_subprocess_exec(
            *command, name, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0, f"{name}: {output.decode()}"
        lines = list(recorder.lines)
    title = next(line for line in output.decode().splitlines() if line.startswith("# "))
    while lines and lines[-1].text == "drops":
        lines.pop()
    (HERE / "recordings" / f"{name}.wire").write_text("\n".join([title, *map(str, normalised(lines))]) + "\n")
    print(f"{name}: {len(lines)} lines")


async def names_of(command: list[str]) -> list[str]:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    return output.decode().split()


async def record_all(server_url: str, wanted: set[str]) -> None:
    for command in (["node", str(HERE / "clients.mjs")], [sys.executable, str(HERE / "python_clients.py")]):
        for name in await names_of(command):
            if not wanted or name in wanted:
                await record(server_url, name, command)


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as directory,
        concave_server("dev", HERE.parent / "interop" / "app", directory=Path(directory)) as server,
    ):
        asyncio.run(record_all(server.url, set(sys.argv[1:])))


if __name__ == "__main__":
    main()
