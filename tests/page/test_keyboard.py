"""The page without a mouse, and on a small screen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.chat import Chat
from tests.page.conftest import PATIENCE_MS
from tests.server import Server

FOCUSED = "document.activeElement.id || document.activeElement.textContent.trim()"
OUTLINED = "getComputedStyle(document.activeElement).outlineStyle !== 'none' || document.activeElement.id === 'message'"
NAMELESS = """[...document.querySelectorAll("button, input, select, textarea, a, dialog")]
  .filter((e) => !(e.textContent.trim() || e.labels?.length || e.getAttribute("aria-label"))).map((e) => e.outerHTML)"""


def tabs(page: Page, most: int = 40) -> list[str]:
    """What the focus goes through until it is back where it was; each must be seen to have it."""
    found: list[str] = []
    while len(found) < most and (not found or found[-1] != "message"):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement !== document.body"):  # which has it between the end and the beginning
            found.append(page.evaluate(FOCUSED))
            assert page.evaluate(OUTLINED), found[-1]
    return found


def test_one_can_chat_without_a_mouse(chat: Chat, page: Page) -> None:
    expect(chat.message).to_be_focused()
    page.keyboard.type("What is")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("347 + 285?")
    expect(chat.message).to_have_value("What is\n347 + 285?")
    page.keyboard.press("Enter")
    chat.answer()
    expect(page.locator(".user .bubble")).to_have_text("What is\n347 + 285?", use_inner_text=True)
    expect(chat.message).to_be_focused()
    expect(page.locator("#status")).to_contain_text("Answer: ")


def test_the_focus_goes_through_everything_in_the_order_of_the_page(chat: Chat, page: Page) -> None:
    chat.ask("What is 347 + 285?")
    chat.answer()
    way = tabs(page)
    wanted = [
        "Skip to the message",
        "Close",
        "history-toggle",
        "new-chat",
        "settings-toggle",
        "Edit",
        "Again",
        "message",
    ]
    assert [stop for stop in way if stop in wanted] == wanted


def test_settings_are_reached_and_left_by_keys(chat: Chat, page: Page) -> None:
    page.get_by_role("button", name="Settings").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Settings")).to_be_visible()
    expect(page.locator("#settings-toggle")).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Settings")).not_to_be_visible()


def test_every_control_has_a_name(chat: Chat, page: Page) -> None:
    chat.settings()
    chat.ask("What is 347 + 285?")
    chat.answer()
    assert page.evaluate(NAMELESS) == []


@pytest.fixture
def phone(browser: Browser, server: Server) -> Iterator[Chat]:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    context.set_default_timeout(PATIENCE_MS)
    yield Chat(context.new_page(), server.url)
    context.close()


def test_a_phone_shows_one_thing_at_a_time_and_nothing_is_cut_off(phone: Chat) -> None:
    page = phone.page
    phone.message.fill("What is 347 + 285? " + "x" * 300)
    page.get_by_role("button", name="Send").tap()
    phone.answer()
    for name in ("Settings", "Conversations"):
        page.get_by_role("button", name=name).tap()
        panel = page.get_by_role("dialog", name=name)
        expect(panel).to_be_visible()
        assert panel.evaluate("(panel) => panel.matches(':modal') && panel.scrollWidth <= panel.clientWidth")
        page.keyboard.press("Escape")
        expect(panel).not_to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate(
        "document.querySelector('#scroller').scrollWidth <= document.querySelector('#scroller').clientWidth"
    )


def test_buttons_are_large_enough_for_fingers(phone: Chat) -> None:
    sizes = phone.page.evaluate(
        "[...document.querySelectorAll('button')].map((e) => e.getBoundingClientRect())"
        ".filter((box) => box.width).map((box) => Math.min(box.width, box.height))"
    )
    assert min(sizes) >= 36
