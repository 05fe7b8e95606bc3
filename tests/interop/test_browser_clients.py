"""The official npm clients in Chromium, in a page of a foreign origin."""

from __future__ import annotations

import functools
import subprocess
import threading
import urllib.parse
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright, expect

HERE = Path(__file__).resolve().parent
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
SOON_MS = 10_000

pytestmark = pytest.mark.slow

OpenPage = Callable[[str], Awaitable[Page]]


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `browser/page.mjs` is served, in one piece with the packages that it imports: not by the server itself."""
    assert CHROMIUM.is_file(), "install Chromium (Debian: `apt-get install chromium`)"
    directory = tmp_path_factory.mktemp("page")
    subprocess.run(
        ["node_modules/.bin/esbuild", "browser/page.mjs", "--bundle", f"--outfile={directory / 'page.js'}"],
        cwd=HERE,
        check=True,
        capture_output=True,
    )
    (directory / "index.html").write_text('<!doctype html><title>App</title><body><script src="page.js"></script>')
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(directory))) as pages:
        thread = threading.Thread(target=pages.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{pages.server_port}/index.html"
        pages.shutdown()
        thread.join()


@pytest.fixture
async def open_page(server: Any, page_url: str) -> AsyncIterator[OpenPage]:
    """Opens the page, for a channel, in a browser context of its own; fails afterwards if a page had an error."""
    errors: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_FLAGS)

        async def open_for(channel: str) -> Page:
            page = await (await browser.new_context()).new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            await page.goto(f"{page_url}?{urllib.parse.urlencode({'url': server.url, 'channel': channel})}")
            return page

        try:
            yield open_for
        finally:
            await browser.close()
    assert errors == []


async def _shows(page: Page, label: str, text: str) -> None:
    await expect(page.get_by_label(label)).to_have_text(text, timeout=SOON_MS)


async def _lists(page: Page, label: str, *bodies: str) -> None:
    await expect(page.get_by_label(label).get_by_role("listitem")).to_have_text(list(bodies), timeout=SOON_MS)


async def test_hooks_and_plain_clients(open_page: OpenPage) -> None:
    channel = f"channel {uuid.uuid4()}"
    ana, ben = await open_page(channel), await open_page(channel)
    await _shows(ben, "count", "0")
    await _shows(ana, "status", "Exhausted")

    await ana.get_by_role("button", name="send", exact=True).click()
    for page in (ana, ben):
        await _lists(page, "list", "message 0")
        await _shows(page, "count", "1")
    await ben.get_by_role("button", name="send two").click()
    await _shows(ben, "outcome", "3")
    await _lists(ana, "list", "message 0", "one", "two")
    await _lists(ana, "pages", "message 0", "one", "two")

    await ana.get_by_role("button", name="refuse").click()
    await _shows(ana, "outcome", 'failed: {"code":"full"}')
    await ana.get_by_role("button", name="count by http").click()
    await _shows(ana, "outcome", "3")

    late = await open_page(channel)
    await _lists(late, "pages", "message 0", "one")
    await _shows(late, "status", "CanLoadMore")
    await late.get_by_role("button", name="more").click()
    await _lists(late, "pages", "message 0", "one", "two")
    await _shows(late, "status", "Exhausted")
