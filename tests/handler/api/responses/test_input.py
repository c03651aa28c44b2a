from __future__ import annotations

from typing import Any

import pytest

from handler.api.responses.input import parse_input
from handler.errors import ApiError

CALL = {"type": "function_call", "call_id": "c1", "name": "add", "arguments": '{"a": 1}'}
CALLED = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}


def test_a_text_is_what_the_user_says() -> None:
    assert parse_input("hi", None) == ({"role": "user", "content": "hi"},)


def test_instructions_come_first() -> None:
    assert parse_input("hi", "Be brief.")[0] == {"role": "system", "content": "Be brief."}


def test_instructions_and_a_system_message_at_the_beginning_are_one() -> None:
    items = [{"role": "developer", "content": "In French."}, {"role": "user", "content": "hi"}]
    assert parse_input(items, "Be brief.") == (
        {"role": "system", "content": "Be brief.\n\nIn French."},
        {"role": "user", "content": "hi"},
    )


def test_messages_have_texts_or_parts() -> None:
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "c", "annotations": []}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]
    assert [message["content"] for message in parse_input(items, None)] == ["a\nb", "c", "no"]


def test_a_turn_of_the_model_is_one_message() -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "assistant", "content": "Wait."},
        CALL,
        CALL | {"call_id": "c2"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "2"}]},
    ]
    assert parse_input(items, None)[1:] == (
        {
            "role": "assistant",
            "content": "Wait.",
            "reasoning_content": "hm",
            "tool_calls": [CALLED, CALLED | {"id": "c2"}],
        },
        {"role": "tool", "tool_call_id": "c1", "name": "add", "content": "1"},
        {"role": "tool", "tool_call_id": "c2", "name": "add", "content": "2"},
    )


def test_thoughts_begin_a_turn_that_only_calls() -> None:
    items = [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}, CALL]
    assert parse_input(items, None) == (
        {"role": "assistant", "content": "", "reasoning_content": "hm", "tool_calls": [CALLED]},
    )


def test_thoughts_that_lead_to_nothing_are_dropped() -> None:
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"role": "user", "content": "a"},
    ]
    assert parse_input([*items, {"role": "assistant", "content": "b"}], None)[-1] == {
        "role": "assistant",
        "content": "b",
    }


@pytest.mark.parametrize(
    ("value", "param"),
    [
        (None, "input"),
        (1, "input"),
        ([], "input"),
        (["hi"], "input[0]"),
        ([{}], "input[0].type"),
        ([{"role": "robot", "content": "a"}], "input[0].role"),
        ([{"role": "user"}], "input[0].content"),
        ([{"role": "user", "content": [{"type": "input_image"}]}], "input[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "input_text"}]}], "input[0].content[0].text"),
        ([{"type": "item_reference", "id": "msg_1"}], "input[0].type"),
        ([{"type": "web_search_call"}], "input[0].type"),
        ([CALL | {"name": None}], "input[0].name"),
        ([CALL | {"arguments": "[]"}], "input[0].arguments"),
        ([{"type": "function_call_output", "call_id": "c1", "output": "1"}], "input[0].call_id"),
        ([CALL, {"type": "function_call_output", "call_id": "c1"}], "input[1].output"),
        ([{"type": "reasoning", "content": [{"type": "text"}]}], "input[0].content[0].type"),
        (
            [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}], "summary": [{}]}],
            "input[0].summary[0].type",
        ),
    ],
)
def test_bad_input_is_refused_by_its_place(value: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_input(value, None)
    assert (caught.value.status, caught.value.param) == (400, param)
