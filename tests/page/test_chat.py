"""Chatting with the demo model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from tests.page.chat import PRESS, WATCH, Chat
from tests.server import Server

ADDITION = "What is 347 + 285?"


def test_an_answer_with_its_figures(chat: Chat) -> None:
    chat.ask(ADDITION)
    assert "632" in chat.answer()
    figures = chat.answers().first.locator(".figures li")
    told = [figure.inner_text() for figure in figures.all()]
    for pattern in (
        r"[\d,.]+ tokens/s",
        r"first token [\d.]+ ms",
        r"\d+ tokens",
        r"\d+ in the prompt",
        r"\d+ cached",
        r"\$0\.\d+",
    ):
        assert [text for text in told if re.fullmatch(pattern, text)], (pattern, told)


def test_the_cost_is_what_the_server_says(page: Page, demo_artefact: Path) -> None:
    server = Server(demo_artefact, AWS_LAMBDA_FUNCTION_MEMORY_SIZE="1769", AWS_REGION="us-east-1")
    chat = Chat(page, server.url)
    chat.ask(ADDITION)
    chat.answer()
    cost = chat.answers().first.locator("[data-figure=cost]")
    assert re.fullmatch(r"\$0\.\d+", cost.inner_text())
    # The first answer of this process has its start in it.
    title = cost.get_attribute("title") or ""
    assert re.fullmatch(r".+ are billed, .+ of them for the cold start, as the server says", title)
    assert server.end() == (0, "")


def test_the_second_turn_finds_the_first_in_the_cache(chat: Chat) -> None:
    chat.ask("What is a cold start?")
    chat.answer()
    chat.ask("What is Firebrick?")
    chat.answer(1)
    cached = chat.answers().nth(1).locator("[data-figure=cached]").inner_text()
    assert int(cached.split()[0]) >= 16


def test_the_text_grows_before_its_end(chat: Chat, demo_artefact: Path) -> None:
    chat.slow_down(demo_artefact)
    chat.page.get_by_label("Most tokens").fill("300")
    chat.page.evaluate(WATCH)
    chat.ask("Tell me a story.")
    chat.answer()
    assert chat.page.evaluate("globalThis.lengths.size") > 3
    expect(chat.answers().first).to_contain_text("Cut off: the limit of tokens was reached.")


def test_escape_ends_the_work_on_the_server(chat: Chat, server: Server, demo_artefact: Path) -> None:
    chat.slow_down(demo_artefact)
    chat.page.evaluate(PRESS.replace("KEY", "Escape"))
    chat.ask("Tell me a long story, please.")
    assert chat.answer() != ""
    expect(chat.answers().first).to_contain_text("Stopped.")
    line = server.wait_for(lambda line: line.get("error") == "client_gone")
    assert 0 < line["completion_tokens"] < 1000
    chat.page.get_by_role("button", name="Back to defaults").click()
    chat.ask(ADDITION)
    assert "632" in chat.answer(1)


def test_a_system_prompt_and_sampling_parameters_are_sent(chat: Chat, page: Page) -> None:
    settings = chat.settings()
    settings.get_by_label("System prompt").fill("Be brief.")
    settings.get_by_label("Temperature").fill("0.7")
    settings.get_by_label("Most tokens").fill("5")
    with page.expect_request("**/v1/chat/completions") as sent:
        chat.ask("Hello")
    body: Any = sent.value.post_data_json
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert (body["temperature"], body["max_tokens"]) == (0.7, 5)
    assert "top_p" not in body
    chat.answer()


def test_a_message_is_written_anew(chat: Chat) -> None:
    chat.ask("What is 100 + 200?")
    chat.answer()
    chat.page.locator(".user").hover()
    chat.page.get_by_role("button", name="Edit").click()
    expect(chat.message).to_have_value("What is 100 + 200?")
    chat.ask(ADDITION)
    expect(chat.page.locator(".user")).to_have_count(1)
    assert "632" in chat.answer()


def test_the_history_survives_a_reload_and_can_be_deleted(chat: Chat, page: Page) -> None:
    chat.ask(ADDITION)
    said = chat.answer()
    page.get_by_role("button", name="New chat").click()
    expect(page.locator(".message")).to_have_count(0)
    chat.ask("What is Firebrick?")
    chat.answer()
    page.reload()
    expect(page.locator(".user")).to_contain_text("What is Firebrick?")
    history = page.get_by_role("dialog", name="Conversations")
    history.get_by_role("button", name=ADDITION, exact=True).click()
    assert chat.answer() == said
    history.get_by_role("button", name=f'Delete "{ADDITION}"').click()
    expect(history.get_by_role("listitem")).to_have_count(1)
    page.get_by_role("button", name="Undo").click()
    expect(history.get_by_role("listitem")).to_have_count(2)


def test_it_works_behind_a_path(page: Page, server: Server) -> None:
    prefix = "http://gateway.example/stage/"
    page.route(
        f"{prefix}**",
        lambda route: route.fulfill(response=route.fetch(url=route.request.url.replace(prefix, f"{server.url}/"))),
    )
    chat = Chat(page, prefix)
    chat.ask(ADDITION)
    assert "632" in chat.answer()
