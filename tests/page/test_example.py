"""The example of a page of one's own, beside the API."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.conftest import ROOT
from tests.page.conftest import KEY
from tests.server import Server


def test_the_example_for_browsers_streams(page: Page, locked_server: Server) -> None:
    page.route("**/browser.html", lambda route: route.fulfill(path=ROOT / "examples" / "browser.html"))
    page.goto(f"{locked_server.url}/browser.html")
    page.get_by_placeholder("API key").fill(KEY)
    page.locator("[name=question]").fill("What is 347 + 285?")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("pre")).to_contain_text("632")


def test_the_example_for_browsers_says_what_is_wrong(page: Page, locked_server: Server) -> None:
    page.route("**/browser.html", lambda route: route.fulfill(path=ROOT / "examples" / "browser.html"))
    page.goto(f"{locked_server.url}/browser.html")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("pre")).to_contain_text("API key")
