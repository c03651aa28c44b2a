"""A server that wants an API key."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.page.chat import Chat
from tests.page.conftest import KEY
from tests.server import Server


def test_a_401_asks_for_the_key_and_goes_on(page: Page, locked_server: Server) -> None:
    chat = Chat(page, locked_server.url)
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_contain_text("This server wants an API key.")
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("The server refused this key.")
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    expect(dialog).not_to_be_visible()
    chat.ask("What is 347 + 285?")
    assert "632" in chat.answer()


def test_the_key_is_kept_for_the_session_and_nowhere_else(page: Page, locked_server: Server) -> None:
    Chat(page, locked_server.url)
    expect(page.get_by_role("dialog", name="API key")).to_be_visible()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    page.locator("#model:visible").wait_for()
    page.reload()
    page.locator("#model:visible").wait_for()
    assert KEY in page.evaluate("Object.values(sessionStorage)")
    assert KEY not in str(page.evaluate("Object.entries(localStorage)")) + page.url + page.content()
    assert KEY not in str(locked_server.lines)


def test_who_gives_no_key_is_told_and_may_try_again(page: Page, locked_server: Server) -> None:
    chat = Chat(page, locked_server.url)
    dialog = page.get_by_role("dialog", name="API key")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    chat.ask("What is 347 + 285?")
    expect(dialog).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".failure")).to_contain_text("incorrect or missing API key")
    page.get_by_role("button", name="Try again").click()
    expect(dialog).to_be_visible()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    assert "632" in chat.answer()
