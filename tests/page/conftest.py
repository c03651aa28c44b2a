"""A real Chromium in front of real servers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.page.chat import Chat
from tests.server import Server

NAMES = ("chromium", "chromium-browser", "google-chrome")
KEY = "a-key-of-our-own"
PATIENCE_MS = 60_000  # A busy machine is no failure.


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; without one, these tests are skipped."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"no browser here ({', '.join(NAMES)}); `make page-tools` installs one")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        # Its sandbox wants a user who isn't root; what is shown here is our own.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(demo_artefact: Path) -> Iterator[Server]:
    """The demo model, for everybody."""
    server = Server(demo_artefact)
    yield server
    assert server.end() == (0, "")


@pytest.fixture(scope="package")
def locked_server(demo_artefact: Path) -> Iterator[Server]:
    """The demo model, for those who have the key."""
    server = Server(demo_artefact, FIREBRICK_API_KEY=KEY)
    yield server
    assert server.end() == (0, "")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window without a history, whose scripts may not fail and which no policy had to stop."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text) if "Security Policy" in message.text else None)
    page.on("console", lambda message: wrong.append(message.text) if "TrustedHTML" in message.text else None)
    yield page
    context.close()
    assert wrong == []


@pytest.fixture
def chat(page: Page, server: Server) -> Chat:
    """The demo's page, opened."""
    return Chat(page, server.url)
