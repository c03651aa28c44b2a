"""Tools with the real process and the demo model: a call that must come is valid, whatever the model would say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import openai
import pytest

from tests.server import Server

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "unit": {"enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
FUNCTION: Any = {"name": "get_weather", "description": "The weather of a city.", "parameters": SCHEMA, "strict": True}
NOW: Any = {"name": "now", "parameters": {"type": "object", "properties": {}}}
TOOLS: Any = [{"type": "function", "function": FUNCTION}, {"type": "function", "function": NOW}]
_NUMBER = {"type": "integer"}
_SUMMANDS = {"type": "object", "properties": {"a": _NUMBER, "b": _NUMBER}, "required": ["a", "b"]}
ADDING: Any = [
    {"type": "function", "function": {"name": "add", "description": "Add two numbers", "parameters": _SUMMANDS}}
]
MESSAGES: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]


@pytest.fixture(scope="module")
def client(demo_artefact: Path) -> Iterator[openai.OpenAI]:
    server = Server(demo_artefact)
    yield server.client()
    assert server.end() == (0, "")


@pytest.mark.parametrize("temperature", [0.0, 1.5])
def test_a_named_tool_is_called_with_valid_arguments(client: openai.OpenAI, temperature: float) -> None:
    named: Any = {"type": "function", "function": {"name": "get_weather"}}
    for seed in range(3):
        answer = client.chat.completions.create(
            model="firebrick-demo",
            messages=MESSAGES,
            tools=TOOLS,
            tool_choice=named,
            parallel_tool_calls=False,
            temperature=temperature,
            seed=seed,
        )
        (choice,) = answer.choices
        assert choice.message.content is None
        assert choice.message.tool_calls is not None
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        assert (call.function.name, choice.finish_reason) == ("get_weather", "tool_calls")
        jsonschema.validate(json.loads(call.function.arguments), SCHEMA)


def test_a_function_without_parameters_takes_nothing(client: openai.OpenAI) -> None:
    bare: Any = [{"type": "function", "function": {"name": "now"}}]
    for tools in (bare, TOOLS[1:]):
        answer = client.chat.completions.create(
            model="firebrick-demo", messages=MESSAGES, tools=tools, tool_choice="required"
        )
        calls = answer.choices[0].message.tool_calls
        assert calls is not None
        assert {call.function.arguments for call in calls if call.type == "function"} == {"{}"}


def test_the_model_calls_what_helps_and_answers_by_the_result(client: openai.OpenAI) -> None:
    given: Any = {"model": "firebrick-demo", "tools": ADDING, "temperature": 0, "max_tokens": 100}
    messages: list[Any] = [{"role": "user", "content": "Add 31 and 11."}]
    with client.chat.completions.stream(messages=messages, **given) as stream:
        message = stream.get_final_completion().choices[0].message
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("add", {"a": 31, "b": 11})
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "42"}]
    answer = client.chat.completions.create(messages=messages, **given)
    assert "42" in (answer.choices[0].message.content or "")
    assert answer.usage is not None
    assert answer.usage.prompt_tokens_details is not None
    # What was generated is what the template writes of it, so it is still in the cache.
    assert (answer.usage.prompt_tokens_details.cached_tokens or 0) > answer.usage.prompt_tokens * 0.7


def test_where_no_tool_helps_there_are_words(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "What is a cold start?"}]
    answer = client.chat.completions.create(model="firebrick-demo", messages=messages, tools=ADDING, temperature=0)
    assert answer.choices[0].message.tool_calls is None
    assert "Lambda" in (answer.choices[0].message.content or "")


def test_required_calls_stream_as_they_are_whole(client: openai.OpenAI) -> None:
    given: Any = {
        "model": "firebrick-demo",
        "messages": MESSAGES,
        "tools": TOOLS,
        "tool_choice": "required",
        "max_tokens": 120,
        "temperature": 0,
    }
    whole = client.chat.completions.create(**given).choices[0]
    with client.chat.completions.stream(**given) as stream:
        streamed = stream.get_final_completion().choices[0]
    told = [
        [(call.function.name, call.function.arguments) for call in choice.message.tool_calls or []]
        for choice in (whole, streamed)
    ]
    assert told[0]
    assert told[0] == told[1]
    assert whole.finish_reason == streamed.finish_reason


def test_half_a_call_is_no_text(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="firebrick-demo", messages=MESSAGES, tools=TOOLS, tool_choice="required", max_tokens=4
    )
    (choice,) = answer.choices
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == ("", None, "length")


def test_a_call_that_a_stop_string_cuts_off_is_not_told_as_whole(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="firebrick-demo", messages=MESSAGES, tools=TOOLS[:1], tool_choice="required", stop="unit"
    )
    (choice,) = answer.choices
    assert choice.message.tool_calls
    assert choice.finish_reason == "stop"


def test_a_tools_result_is_answered(client: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
    ]
    answer = client.chat.completions.create(model="firebrick-demo", messages=messages, tools=TOOLS, max_tokens=40)
    assert answer.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_the_older_form_works_too(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="firebrick-demo", messages=MESSAGES, functions=[FUNCTION], function_call={"name": "get_weather"}
    )
    called = answer.choices[0].message.function_call
    assert called is not None
    jsonschema.validate(json.loads(called.arguments), SCHEMA)
    assert answer.choices[0].finish_reason == "function_call"
