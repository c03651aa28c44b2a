"""Tools over HTTP, by OpenAI's client: what is streamed is what comes whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from openai import BadRequestError, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionMessage

from tests.handler.doubles import ScriptedEngine, serving
from tests.handler.text.chat_families import DEEPSEEK, LLAMA, QWEN

WEATHER = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOLS: Any = [{"type": "function", "function": WEATHER}]
MESSAGES: Any = [{"role": "user", "content": "hi"}]
OSLO = '{"city": "Oslo"}'
CALL = f'<tool_call>\n{{"name": "get_weather", "arguments": {OSLO}}}\n</tool_call>'
BOUNDLESS = 5_000


@contextmanager
def saying(text: str, template: str = QWEN) -> Iterator[tuple[OpenAI, ScriptedEngine]]:
    engine = ScriptedEngine(text)
    with (
        serving(engine, template, context_length=BOUNDLESS) as server,
        OpenAI(base_url=f"{server.client.base_url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client, engine


def answers(client: OpenAI, **members: Any) -> tuple[ChatCompletion, ChatCompletion]:
    """The same answer streamed and whole."""
    given: Any = {"model": "bytes", "messages": MESSAGES, **members}
    with client.chat.completions.stream(**given) as stream:
        streamed = stream.get_final_completion()
    return streamed, client.chat.completions.create(**given)


def told(message: ChatCompletionMessage) -> tuple[str | None, str | None, list[tuple[str, str]]]:
    calls = [
        (call.function.name, call.function.arguments) for call in message.tool_calls or [] if call.type == "function"
    ]
    return (message.model_extra or {}).get("reasoning_content"), message.content or None, calls


@pytest.mark.parametrize(
    ("text", "thoughts", "words", "calls"),
    [
        ("Just words.", None, "Just words.", []),
        (CALL, None, None, [("get_weather", OSLO)]),
        (f"I look.\n{CALL}\n{CALL}", None, "I look.", [("get_weather", OSLO)] * 2),
        (f"<think>\nhm\n</think>\n\nSo.\n{CALL}", "hm", "So.", [("get_weather", OSLO)]),
        ("<tool_call> is a marker", None, "<tool_call> is a marker", []),
    ],
)
def test_an_answer_streamed_is_the_same_as_whole(
    text: str, thoughts: str | None, words: str | None, calls: list[tuple[str, str]]
) -> None:
    with saying(text) as (client, _):
        for answer in answers(client, tools=TOOLS):
            choice = answer.choices[0]
            assert told(choice.message) == (thoughts, words, calls)
            assert choice.finish_reason == ("tool_calls" if calls else "stop")
            assert all(call.id.startswith("call_") for call in choice.message.tool_calls or [])


def test_content_is_null_where_there_are_only_calls() -> None:
    with saying(CALL) as (client, _):
        assert answers(client, tools=TOOLS)[1].choices[0].message.content is None


def test_arguments_come_in_pieces() -> None:
    with saying(CALL) as (client, _):
        stream = client.chat.completions.create(model="bytes", messages=MESSAGES, tools=TOOLS, stream=True)
        deltas = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls or []]
    first, *rest = deltas
    assert first.function is not None
    assert (first.index, first.type, first.function.name, first.function.arguments) == (
        0,
        "function",
        "get_weather",
        "",
    )
    assert first.id
    assert all((call.index, call.id, call.type) == (0, None, None) for call in rest)
    pieces = [call.function.arguments for call in rest if call.function]
    assert len(pieces) > 3
    assert "".join(piece or "" for piece in pieces) == OSLO


def test_a_bare_call_that_may_be_none_comes_whole() -> None:
    with saying('{"name": "get_weather", "parameters": {"city": "Oslo"}}', LLAMA) as (client, _):
        for answer in answers(client, tools=TOOLS):
            assert told(answer.choices[0].message)[2] == [("get_weather", OSLO)]


def test_the_older_form_is_answered_in_the_older_form() -> None:
    with saying(CALL) as (client, _):
        given: Any = {"model": "bytes", "messages": MESSAGES, "functions": [WEATHER]}
        whole = client.chat.completions.create(**given).choices[0]
        chunks = list(client.chat.completions.create(**given, stream=True))
    assert whole.finish_reason == chunks[-1].choices[0].finish_reason == "function_call"
    assert whole.message.function_call is not None
    assert (whole.message.function_call.name, whole.message.function_call.arguments) == ("get_weather", OSLO)
    assert whole.message.tool_calls is None
    parts = [call for chunk in chunks if (call := chunk.choices[0].delta.function_call)]
    assert parts[0].name == "get_weather"
    assert "".join(part.arguments or "" for part in parts) == OSLO


def test_the_prompt_has_the_tools_and_what_they_gave() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": OSLO}}
    messages = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    ]
    with saying("It rains.") as (client, engine):
        answers(client, messages=messages, tools=TOOLS)
    prompt = bytes(id for id in engine.calls[0] if id < 256).decode()
    assert json.dumps(WEATHER["parameters"]) in prompt
    assert CALL in prompt
    assert "<|im_start|>tool\nrain" in prompt


def test_without_tools_calls_are_words() -> None:
    with saying(CALL) as (client, _):
        for members in ({}, {"tools": TOOLS, "tool_choice": "none"}):
            for answer in answers(client, **members):
                assert told(answer.choices[0].message) == (None, CALL, [])


def test_thoughts_may_begin_in_the_prompt() -> None:
    with saying("hm</think>\n\nSo.", DEEPSEEK) as (client, _):
        for answer in answers(client):
            assert told(answer.choices[0].message) == ("hm", "So.", [])


def test_thinking_may_be_turned_off() -> None:
    off = {"chat_template_kwargs": {"enable_thinking": False}}
    with saying("So.</think>") as (client, _):
        for answer in answers(client, extra_body=off):
            assert told(answer.choices[0].message) == (None, "So.</think>", [])


def test_a_strict_schema_that_cannot_be_followed_is_refused_by_its_place() -> None:
    schema = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}}
    given: Any = [{"type": "function", "function": {"name": "f", "strict": True, "parameters": schema}}]
    with saying("x") as (client, _), pytest.raises(BadRequestError) as caught:
        client.chat.completions.create(model="bytes", messages=MESSAGES, tools=given)
    assert (caught.value.param, caught.value.code) == ("tools[0].function.parameters", "grammar_refused")
