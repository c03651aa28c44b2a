from __future__ import annotations

from typing import Any

import pytest

from handler.api.messages.content import parse_messages
from handler.errors import ApiError

HI = {"role": "user", "content": "hi"}
USE = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}}
CALLED = {"id": "toolu_1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
USED = {"role": "assistant", "content": [USE]}


def result(**members: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": "toolu_1"} | members


def test_messages_have_texts_or_blocks() -> None:
    blocks = [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}]
    messages = [{"role": "user", "content": blocks}, {"role": "assistant", "content": "c"}]
    assert parse_messages(messages, None) == (
        {"role": "user", "content": "a\nb"},
        {"role": "assistant", "content": "c"},
    )


def test_the_system_prompt_comes_first() -> None:
    system = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "In French."}]
    assert parse_messages([HI], system)[0] == {"role": "system", "content": "Be brief.\nIn French."}
    assert parse_messages([{"role": "system", "content": "b"}, HI], "a")[0]["content"] == "a\n\nb"


def test_messages_of_one_role_behind_each_other_are_one() -> None:
    messages = [HI, HI, {"role": "assistant", "content": "a"}, USED]
    assert parse_messages(messages, None) == (
        {"role": "user", "content": "hi\nhi"},
        {"role": "assistant", "content": "a", "tool_calls": [CALLED]},
    )


def test_results_are_messages_of_tools_before_what_the_user_says() -> None:
    content = [
        {"type": "text", "text": "And now?"},
        result(content="1"),
        result(content=[{"type": "text", "text": "no"}], is_error=True),
        result(),
    ]
    tool = {"role": "tool", "tool_call_id": "toolu_1", "name": "add"}
    assert parse_messages([HI, USED, {"role": "user", "content": content}], None)[2:] == (
        tool | {"content": "1"},
        tool | {"content": "Error: no"},
        tool | {"content": ""},
        {"role": "user", "content": "And now?"},
    )


def test_thoughts_stay_with_their_turn_and_hidden_ones_are_dropped() -> None:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "a"},
    ]
    [_, message] = parse_messages([HI, {"role": "assistant", "content": content}], None)
    assert message == {"role": "assistant", "content": "a", "reasoning_content": "hm"}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ([], "messages"),
        ("hi", "messages"),
        (["hi"], "messages[0]"),
        ([{"content": "a"}], "messages[0].role"),
        ([{"role": "tool", "content": "a"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": 1}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [USE]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [result()]}], "messages[0].content[0].tool_use_id"),
        ([{"role": "assistant", "content": [USE | {"input": None}]}], "messages[0].content[0].input"),
        (
            [USED, {"role": "user", "content": [result(content=[{"type": "image"}])]}],
            "messages[1].content[0].content[0].type",
        ),
    ],
)
def test_bad_messages_are_refused_by_their_place(messages: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse_messages(messages, None)
    assert (caught.value.status, caught.value.param) == (400, param)
