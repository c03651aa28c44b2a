"""What goes wrong is said in words; servers that fail on purpose."""

from __future__ import annotations

import json

from playwright.sync_api import Page, Route, expect

from tests.handler.doubles import ScriptedEngine, Serving, serving
from tests.page.chat import Chat, answering, delta, stream
from tests.server import Server

QUESTION = "hi"


def url_of(server: Serving) -> str:
    return str(server.client.base_url)


def test_an_error_of_the_server_is_readable(chat: Chat) -> None:
    settings = chat.settings()
    settings.get_by_label("Temperature").fill("9")
    chat.ask(QUESTION)
    failure = chat.page.get_by_role("alert").filter(has_text="No answer")
    expect(failure).to_contain_text("temperature")
    expect(failure).to_contain_text("400 invalid_value")
    settings.get_by_label("Temperature").fill("")
    failure.get_by_role("button", name="Try again").click()
    assert chat.answer() != ""


def test_a_failure_in_mid_stream_keeps_the_text_that_had_come(page: Page) -> None:
    with serving(ScriptedEngine("hello world", fail_after=5)) as server:
        chat = Chat(page, url_of(server))
        chat.ask(QUESTION)
        failure = page.locator(".failure")
        expect(failure).to_contain_text("generation_failed")
        assert chat.answer() == "hello"
        server.engine.fail_after = None
        failure.get_by_role("button", name="Try again").click()
        expect(failure).to_have_count(0)
        assert chat.answer() == "hello world"


def test_a_full_queue_says_when_to_come_back(page: Page) -> None:
    held = ScriptedEngine("hello world", hold_after=1)
    with serving(held, queue=0) as server:
        first, second = Chat(page.context.new_page(), url_of(server)), Chat(page, url_of(server))
        first.ask(QUESTION)
        expect(first.page.locator("[aria-busy] > .prose")).to_have_text("h")
        second.ask(QUESTION)
        again = page.get_by_role("button", name="Try again in")
        expect(again).to_be_disabled()
        first.page.keyboard.press("Escape")
        held.hold_after = None
        page.get_by_role("button", name="Try again", exact=True).click()
        assert second.answer() == "hello world"
        assert held.closed == 2


def test_a_connection_that_breaks_is_told_from_a_server_that_is_not_there(chat: Chat) -> None:
    chat.page.route("**/v1/chat/completions", answering(stream(delta(content="half of i"), done=False)))
    chat.ask(QUESTION)
    expect(chat.page.locator(".failure")).to_contain_text("The connection broke before the answer was complete.")
    assert chat.answer() == "half of i"
    chat.page.route("**/v1/chat/completions", lambda route: route.abort("connectionrefused"))
    chat.page.get_by_role("button", name="Try again").click()
    expect(chat.page.locator(".failure")).to_contain_text("The server can't be reached.")


def test_what_stands_in_front_of_the_server_may_speak_too(chat: Chat) -> None:
    def refuse(status: int, body: str) -> None:
        chat.page.route("**/v1/chat/completions", lambda route: route.fulfill(status=status, body=body))

    refuse(403, json.dumps({"Message": "Forbidden by the function URL."}))
    chat.ask(QUESTION)
    expect(chat.page.locator(".failure")).to_contain_text("Forbidden by the function URL.")
    refuse(502, "<html>Bad Gateway</html>")
    chat.page.get_by_role("button", name="Try again").click()
    expect(chat.page.locator(".failure")).to_contain_text("Something in front of the server answered with status 502.")


def test_a_page_that_cannot_list_the_models_says_so(page: Page, server: Server) -> None:
    calls: list[Route] = []

    def once(route: Route) -> None:
        calls.append(route)
        if len(calls) == 1:
            route.abort("connectionrefused")
        else:
            route.continue_()

    page.route("**/v1/models", once)
    chat = Chat(page, server.url)
    expect(page.locator("#notice")).to_contain_text("The server can't be reached.")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#model")).to_have_value("firebrick-demo")
    chat.ask("What is 347 + 285?")
    assert "632" in chat.answer()


def test_settings_that_cannot_be_sent_are_shown_beside_their_field(chat: Chat) -> None:
    settings = chat.settings()
    settings.get_by_label("Definitions, as JSON").fill("[{")
    chat.ask(QUESTION)
    expect(settings.get_by_role("alert")).to_contain_text("This is no JSON")
    expect(settings.get_by_label("Definitions, as JSON")).to_be_focused()
    expect(chat.message).to_have_value(QUESTION)
