"""Tools' calls and JSON. The model's answers are written here, as OpenAI's API would stream them."""

from __future__ import annotations

import json
from typing import Any

from playwright.sync_api import expect

from tests.page.chat import Chat, answering, delta, stream

COMPLETIONS = "**/v1/chat/completions"
WEATHER = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
CALL = [
    delta(role="assistant", content=""),
    delta(
        tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}]
    ),
    delta(tool_calls=[{"index": 0, "function": {"arguments": '{"city": "Tes'}}]),
    delta(tool_calls=[{"index": 0, "function": {"arguments": 'sin"}'}}]),
    delta("tool_calls"),
]
SECOND = {"index": 1, "id": "c2", "type": "function", "function": {"name": "get_time", "arguments": "{}"}}


def told(text: str) -> str:
    return stream(delta(content=text), delta("stop"))


def test_a_tools_call_is_shown_and_its_result_is_sent(chat: Chat) -> None:
    asked: list[Any] = []
    chat.page.route(COMPLETIONS, answering(stream(*CALL), told("Sunny."), asked=asked))
    chat.settings().get_by_label("Definitions, as JSON").fill(json.dumps(WEATHER))
    chat.ask("The weather?")
    call = chat.page.get_by_role("region", name="Call of get_weather")
    expect(call.locator("pre")).to_have_text('{\n  "city": "Tessin"\n}')
    result = chat.page.get_by_label("Result of get_weather")
    expect(result).to_be_focused()
    result.fill('{"sky":"clear"}')
    result.press("Enter")
    assert chat.answer(1) == "Sunny."
    expect(call.locator("pre").nth(1)).to_have_text('{\n  "sky": "clear"\n}')
    assert asked[0]["tools"] == [{"type": "function", "function": WEATHER}]
    assert asked[0]["tool_choice"] == "auto"
    _, said, given = asked[1]["messages"]
    assert said["tool_calls"] == [
        {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Tessin"}'}}
    ]
    assert given == {"role": "tool", "tool_call_id": "c1", "content": '{"sky":"clear"}'}


def test_two_calls_want_two_results_before_anything_else(chat: Chat) -> None:
    asked: list[Any] = []
    both = stream(*CALL[:-1], delta(tool_calls=[SECOND]), CALL[-1])
    chat.page.route(COMPLETIONS, answering(both, told("Noon, and sunny."), asked=asked))
    chat.ask("Time and weather?")
    expect(chat.page.get_by_label("Result of get_time")).to_be_visible()
    chat.ask("Well?")
    expect(chat.page.get_by_label("Result of get_weather")).to_be_focused()
    assert len(asked) == 1
    chat.page.get_by_label("Result of get_weather").fill("sunny")
    chat.page.get_by_label("Result of get_time").fill("noon")
    chat.page.get_by_role("button", name="Send results").click()
    assert chat.answer(1) == "Noon, and sunny."
    assert [message["content"] for message in asked[1]["messages"][-2:]] == ["sunny", "noon"]


def test_a_tool_can_be_asked_for_by_its_name(chat: Chat) -> None:
    asked: list[Any] = []
    chat.page.route(COMPLETIONS, answering(told("ok"), asked=asked))
    settings = chat.settings()
    settings.get_by_label("Definitions, as JSON").fill(json.dumps([WEATHER]))
    settings.get_by_label("Choice").select_option("Call get_weather")
    chat.ask("The weather?")
    chat.answer()
    assert asked[0]["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}


def test_a_schema_is_sent_and_the_object_is_laid_out(chat: Chat) -> None:
    asked: list[Any] = []
    chat.page.route(COMPLETIONS, answering(told('{"name":"Mara","pieces":3}'), asked=asked))
    settings = chat.settings()
    settings.get_by_label("Format").select_option("JSON by a schema")
    settings.get_by_label("JSON schema").fill('{"type": "object"}')
    chat.ask("Extract.")
    assert '{\n  "name": "Mara",\n  "pieces": 3\n}' in chat.answer()
    format = asked[0]["response_format"]
    assert (format["type"], format["json_schema"]["schema"]) == ("json_schema", {"type": "object"})


def test_thoughts_are_folded_away_and_never_sent_back(chat: Chat) -> None:
    asked: list[Any] = []
    thinking = stream(
        delta(reasoning_content="Hm, "), delta(reasoning_content="yes."), delta(content="Yes."), delta("stop")
    )
    chat.page.route(COMPLETIONS, answering(thinking, told("Again yes."), asked=asked))
    chat.ask("Sure?")
    assert chat.answer() == "Yes."
    chat.page.get_by_text("Thinking").click()
    expect(chat.page.locator(".thinking .prose")).to_have_text("Hm, yes.")
    chat.ask("Really?")
    chat.answer(1)
    assert asked[1]["messages"][1] == {"role": "assistant", "content": "Yes."}
