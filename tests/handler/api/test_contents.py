from __future__ import annotations

from typing import Any

import pytest

from handler.api.contents import parse_message, parse_prompts
from handler.errors import ApiError

IMAGE = [{"type": "image_url", "image_url": {"url": "x"}}]


def calling(arguments: Any, **others: Any) -> dict[str, Any]:
    """A message with one call."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    return {"role": "assistant", "tool_calls": [call], **others}


@pytest.mark.parametrize(
    ("arguments", "read"), [('{"a": [1]}', {"a": [1]}), ("", {}), (None, {}), ("{}", {}), ({"a": 1}, {"a": 1})]
)
def test_the_arguments_of_calls_become_objects(arguments: Any, read: Any) -> None:
    message = parse_message(calling(arguments, content=None), "m")
    function = {"name": "f", "arguments": read}
    assert message == {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }


def test_what_was_thought_comes_with_what_was_said() -> None:
    message = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    assert parse_message(message, "m") == message


def test_a_refusal_is_what_was_said() -> None:
    said = {"role": "assistant", "content": "No."}
    assert parse_message({"role": "assistant", "content": None, "refusal": "No."}, "m") == said
    assert parse_message({"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}, "m") == said
    assert parse_message(said | {"refusal": None}, "m") == said


def test_thoughts_may_have_no_words_behind_them() -> None:
    thought = {"role": "assistant", "content": None, "reasoning_content": "hm"}
    assert parse_message(thought, "m") == thought | {"content": ""}


def test_a_tools_result_is_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    given = {"role": "tool", "tool_call_id": "c1", "content": parts}
    assert parse_message(given, "m") == {"role": "tool", "tool_call_id": "c1", "content": "a\nb"}


def test_the_older_form_of_calls_becomes_the_newer_one() -> None:
    call = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    (called,) = parse_message(call, "m")["tool_calls"]
    result = parse_message({"role": "function", "name": "f", "content": "5"}, "m")
    assert called == {"id": "call_f", "type": "function", "function": {"name": "f", "arguments": {}}}
    assert result == {"role": "tool", "tool_call_id": "call_f", "name": "f", "content": "5"}


def test_developer_is_system() -> None:
    assert parse_message({"role": "developer", "content": "x"}, "m")["role"] == "system"


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert parse_message({"role": "user", "content": parts}, "m")["content"] == "a\nb"


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("hi", "m"),
        ({"content": "hi"}, "m.role"),
        ({"role": "robot", "content": "hi"}, "m.role"),
        ({"role": "tool", "content": "hi"}, "m.tool_call_id"),
        ({"role": "tool", "content": None, "tool_call_id": "c"}, "m.content"),
        ({"role": "function", "content": "hi"}, "m.name"),
        ({"role": "assistant", "tool_calls": []}, "m.content"),
        ({"role": "assistant", "tool_calls": [5]}, "m.tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{"type": "custom"}]}, "m.tool_calls[0].type"),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}, "m.tool_calls[0].id"),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "m.tool_calls[0].function"),
        ({"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}, "m.tool_calls[0].function.name"),
        (calling("{"), "m.tool_calls[0].function.arguments"),
        (calling("[1]"), "m.tool_calls[0].function.arguments"),
        (calling('{"a": NaN}'), "m.tool_calls[0].function.arguments"),
        (calling(5), "m.tool_calls[0].function.arguments"),
        ({"role": "assistant", "function_call": {}}, "m.function_call.name"),
        ({"role": "assistant", "content": "x", "reasoning_content": 5}, "m.reasoning_content"),
        ({"role": "user"}, "m.content"),
        ({"role": "user", "content": 5}, "m.content"),
        ({"role": "user", "content": []}, "m.content"),
        ({"role": "user", "content": "\udc00"}, "m.content"),
        ({"role": "user", "content": "x", "tool_calls": [{}]}, "m.tool_calls"),
        ({"role": "user", "content": IMAGE}, "m.content[0].type"),
    ],
)
def test_a_bad_message_is_refused_by_its_path(message: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_message(message, "m")
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", ("a",)),
        (["a"], ("a",)),
        ([1, 2], ((1, 2),)),
        ([[1, 2]], ((1, 2),)),
        ([1.0], ((1,),)),
        (["a", "b", "a"], ("a", "b", "a")),
        ([[1], "b", [2, 3]], ((1,), "b", (2, 3))),
    ],
)
def test_prompts_are_texts_or_ids(prompt: Any, expected: Any) -> None:
    assert parse_prompts(prompt, 100) == expected


@pytest.mark.parametrize(
    ("prompt", "param"),
    [
        (None, "prompt"),
        ({}, "prompt"),
        ([], "prompt"),
        ([[]], "prompt[0]"),
        (["a"] * 129, "prompt"),
        (["a", 1], "prompt[1]"),
        ([[1], [2, 100]], "prompt[1][1]"),
        ([[1], []], "prompt[1]"),
        ([1, "a"], "prompt[1]"),
        ([True], "prompt[0]"),
        ([100], "prompt[0]"),
        ([-1], "prompt[0]"),
        ("\ud800", "prompt"),
    ],
)
def test_a_bad_prompt_is_refused_by_its_path(prompt: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_prompts(prompt, 100)
    assert (caught.value.status, caught.value.param) == (400, param)
