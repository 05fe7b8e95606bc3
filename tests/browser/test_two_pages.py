"""Two people in two browsers see each other's doings at once, whatever happens to the server meanwhile (I4, I5, I7).

Everything is real: Chromium, the built page on the official npm client, `concave dev`, its MongoDB.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from convex import ConvexClient
from playwright.async_api import Browser, Locator, Page, async_playwright, expect
from pymongo import AsyncMongoClient

from concave.values.ids import decode_id, new_id
from concave.values.runtime import SystemRuntime

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
BUILT_PAGE = ROOT / "clients" / "web" / "dist" / "index.html"
CHROMIUM = Path("/usr/bin/chromium")
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
START_TIMEOUT_S = 90.0
SOON_MS = 10_000
# After a kill: noticing it, recovering the database, and the client's own back-off, which grows to half a minute.
AFTER_RESTART_MS = 60_000


class Server:
    """`concave dev --app schema` on one port and one data directory, startable and killable any number of times."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None
        self._output: asyncio.Task[None] | None = None
        self.lines: list[str] = []
        """What the server has printed, all starts together."""

    @property
    def database_uri(self) -> str:
        """The running server's MongoDB, with the name of its database."""
        uri: str = json.loads((self.data_dir / "deployment.json").read_text())["db"]
        return uri

    async def start(self) -> None:
        """Start and wait for the line that begins `concave ready`."""
        command = Path(sys.executable).with_name("concave")
        self._process = await asyncio.create_subprocess_exec(
            str(command),
            *("dev", "--app", "schema", "--web", "clients/web/dist"),
            *("--data-dir", str(self.data_dir), "--port", str(self.port)),
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        ready = asyncio.Event()
        self._output = asyncio.create_task(self._read_output(self._process, ready), name="server output")
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await ready.wait()
        except TimeoutError:
            pytest.fail(f"the server was not ready within {START_TIMEOUT_S:.0f} s:\n" + "\n".join(self.lines[-40:]))
        if self._process.returncode is not None:
            pytest.fail(f"the server ended with {self._process.returncode}:\n" + "\n".join(self.lines[-40:]))

    async def kill(self) -> None:
        """SIGKILL: no clean-up, no farewell to clients."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            async with asyncio.timeout(30):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if self._output is not None:
            await self._output

    async def _read_output(self, process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        """Until the process ends; sets `ready` then, too, so that nobody waits for a server that is gone."""
        assert process.stdout is not None
        try:
            async for line in process.stdout:
                self.lines.append(line.decode(errors="replace").rstrip())
                if self.lines[-1].startswith("concave ready"):
                    ready.set()
            await process.wait()
        finally:
            ready.set()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    _need(BUILT_PAGE, "build the web page: `npm ci && npm run build` in clients/web")
    server = Server(tmp_path / "data")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    _need(CHROMIUM, "install Chromium (Debian: `apt-get install chromium`)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


def _need(file: Path, remedy: str) -> None:
    """A machine that cannot run these tests fails them: a skip would look like a pass."""
    if not file.is_file():
        pytest.fail(f"{file} does not exist: {remedy}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_two_people_see_each_other(server: Server, browser: Browser) -> None:
    ana = await _sign_in(browser, server.url, "Ana Lima")
    ben = await _sign_in(browser, server.url, "Ben Ode")

    # Typing shows, and ends with the message.
    await _composer(ana).press_sequentially("Hello from Ana")
    await expect(_typing(ben)).to_have_text("Ana Lima is typing…", timeout=SOON_MS)
    await expect(_typing(ana)).to_have_text("")
    await _composer(ana).press("Enter")
    for page in (ana, ben):
        await expect(_message(page, "Hello from Ana")).to_have_count(1, timeout=SOON_MS)
    await expect(_typing(ben)).to_have_text("", timeout=SOON_MS)
    await expect(_composer(ana)).to_have_value("")

    # A reaction shows, and goes.
    message = _message(ben, "Hello from Ana")
    await message.hover()
    await message.get_by_role("button", name="React with 🎉").click()
    await expect(_message(ana, "Hello from Ana").get_by_label("🎉 1: Ben Ode")).to_be_visible(timeout=SOON_MS)
    await message.get_by_label("🎉 1: you").click()
    await expect(_message(ana, "Hello from Ana").get_by_label("🎉")).to_have_count(1, timeout=SOON_MS)  # the toolbar's

    # An edit shows with its mark; only the author can make it.
    await expect(message.get_by_role("button", name="Edit message")).to_have_count(0)
    await _composer(ana).press("ArrowUp")
    await ana.get_by_label("Edit message").fill("Hello again from Ana")
    await ana.get_by_label("Edit message").press("Enter")
    await expect(_message(ben, "Hello again from Ana")).to_contain_text("(edited)", timeout=SOON_MS)

    # A deletion shows.
    own = _message(ana, "Hello again from Ana")
    await own.hover()
    await own.get_by_role("button", name="Delete message").click()
    await ana.get_by_role("button", name="Delete", exact=True).click()
    await expect(_message(ben, "Hello again from Ana")).to_have_count(0, timeout=SOON_MS)


async def test_channels_are_shared_and_refusals_are_shown(server: Server, browser: Browser) -> None:
    ana = await _sign_in(browser, server.url, "Ana Lima")
    ben = await _sign_in(browser, server.url, "Ben Ode")

    await _create_channel(ana, "Release notes")
    await expect(ana.get_by_role("heading", name="release-notes")).to_be_visible(timeout=SOON_MS)
    await ben.get_by_role("button", name="release-notes, not joined").click(timeout=SOON_MS)
    await ben.get_by_role("button", name="Join channel").click()
    await _composer(ben).fill("I am in")
    await _composer(ben).press("Enter")
    await expect(_message(ana, "I am in")).to_be_visible(timeout=SOON_MS)

    await _create_channel(ben, "release-notes")
    await expect(ben.get_by_role("dialog")).to_contain_text("There is a channel #release-notes already.")


async def test_a_killed_server_and_a_foreign_write(server: Server, browser: Browser) -> None:
    ana = await _sign_in(browser, server.url, "Ana Lima")
    ben = await _sign_in(browser, server.url, "Ben Ode")
    await _composer(ana).fill("Before the crash")
    await _composer(ana).press("Enter")
    await expect(_message(ben, "Before the crash")).to_be_visible(timeout=SOON_MS)

    await server.kill()
    for page in (ana, ben):
        await expect(_badge(page)).to_contain_text("Reconnecting", timeout=SOON_MS)
    # Sent while there is no server: shown faintly, kept by the client, applied once when there is one again.
    await _composer(ben).fill("Into the void")
    await _composer(ben).press("Enter")
    await expect(_message(ben, "Into the void")).to_have_attribute("aria-busy", "true")

    await server.start()
    message_id = await asyncio.to_thread(_send_from_a_script, server.url, "From a script")
    for page in (ana, ben):
        for body in ("Before the crash", "Into the void", "From a script"):
            await expect(_message(page, body)).to_have_count(1, timeout=AFTER_RESTART_MS)
            await expect(_message(page, body)).to_have_attribute("aria-busy", "false", timeout=SOON_MS)
        await expect(_badge(page)).to_contain_text("Live", timeout=SOON_MS)

    await _insert_with_plain_pymongo(server, message_id, "From the Mongo shell")
    for page in (ana, ben):
        await expect(_message(page, "From the Mongo shell")).to_be_visible(timeout=SOON_MS)


def _send_from_a_script(url: str, body: str) -> str:
    """Says something in the only channel with the official Python client; returns the message's id."""
    client = ConvexClient(url)
    login = client.mutation("auth/users:join", {"displayName": "Script"})
    channels = client.query("messaging/channels:list", {"workspaceId": login["workspaceId"]})
    author = {"channelId": channels[0]["_id"], "userId": login["userId"]}
    message_id: str = client.mutation("messaging/messages:send", {**author, "body": body})
    return message_id


async def _insert_with_plain_pymongo(server: Server, like_id: str, body: str) -> None:
    """Writes a copy of a message with another body, past the server: as a script of somebody's would."""
    runtime = SystemRuntime()
    async with AsyncMongoClient[dict[str, object]](server.database_uri) as client:
        messages = client.get_default_database()["messages"]
        document = await messages.find_one({"_id": like_id})
        assert document is not None
        now = runtime.now_ms()
        table_number, _ = decode_id(like_id)
        document |= {"_id": new_id(table_number, runtime), "_creationTime": now, "createdAt": now, "body": body}
        await messages.insert_one(document)


async def _sign_in(browser: Browser, url: str, name: str) -> Page:
    """A page of its own browser context, as this person, in #general."""
    context = await browser.new_context(locale="en-GB", viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto(url)
    await page.get_by_label("Display name").fill(name)
    await page.get_by_role("button", name="Join").click()
    await expect(_composer(page)).to_be_visible(timeout=SOON_MS)
    await expect(_badge(page)).to_contain_text("Live", timeout=SOON_MS)
    return page


async def _create_channel(page: Page, name: str) -> None:
    await page.get_by_role("button", name="Create a channel").click()
    await page.get_by_role("dialog").get_by_label("Name").fill(name)
    await page.get_by_role("dialog").get_by_role("button", name="Create").click()


def _composer(page: Page) -> Locator:
    return page.get_by_role("textbox", name="Message ", exact=False)


def _message(page: Page, body: str) -> Locator:
    return page.get_by_role("article").filter(has_text=body)


def _typing(page: Page) -> Locator:
    return page.get_by_role("status", name="Typing")


def _badge(page: Page) -> Locator:
    return page.get_by_role("status", name="Connection")
