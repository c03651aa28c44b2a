from __future__ import annotations

from typing import Any

import pytest

from handler.api.contents import parse_message, parse_prompts
from handler.errors import ApiError

IMAGE = [{"type": "image_url", "image_url": {"url": "x"}}]


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
        ({"role": "tool", "content": "hi"}, "m.role"),
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
