from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.api.messages.errors import told_error
from handler.api.messages.request import MessageRequest, parse_message
from handler.errors import ApiError
from tests.handler.api.bodies import ANY_JSON
from tests.handler.api.requests import MESSAGES, SERVED, refusal
from tests.handler.doubles import BOS, TEMPLATE, byte_prompts

USE = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {}}
ADD = {"name": "add", "input_schema": {"type": "object"}}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def message(**members: Any) -> MessageRequest:
    return parse_message({"model": "name", "max_tokens": 9, "messages": MESSAGES} | members, SERVED)


def test_null_and_what_is_ignored_are_not_given() -> None:
    nothing: dict[str, Any] = dict.fromkeys(["system", "tools", "tool_choice", "thinking", "stop_sequences"])
    assert message(**nothing) == message()
    assert message(metadata={"user_id": "me"}, service_tier="auto", cache_control={"type": "ephemeral"}) == message()


def test_the_prompt_is_the_rendered_template() -> None:
    [task] = message(system="Be brief.").tasks(byte_prompts(TEMPLATE))
    assert (task.prompt_ids, task.max_tokens) == ([BOS, *b"system: Be brief.\nuser: hi\nassistant:"], 9)


def test_an_answer_that_the_client_has_begun_goes_on() -> None:
    messages = [*MESSAGES, {"role": "assistant", "content": "Well,"}]
    [task] = message(messages=messages).tasks(byte_prompts(TEMPLATE))
    assert bytes(task.prompt_ids[1:]).endswith(b"assistant: Well,")


def test_many_stop_sequences_are_taken() -> None:
    assert message(stop_sequences=list("abcdef")).options.stop == tuple("abcdef")


def test_a_tools_name_may_be_as_long_as_anthropics() -> None:
    longest = "a" * 128
    tools = message(tools=[ADD | {"name": longest}]).conversation.tools
    assert tools is not None
    assert tools.offered[0].name == longest
    assert refusal(message, tools=[ADD | {"name": longest + "a"}]).param == "tools[0].name"


@pytest.mark.parametrize("thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}])
def test_threads_are_refused_so_that_the_client_goes_on_without(thread: Any) -> None:
    error = refusal(message, thread=thread)
    assert told_error(error)["error"]["details"] == {"error_code": "thread_unsupported_request"}


@pytest.mark.parametrize(
    ("choice", "chosen", "allowed", "parallel"),
    [
        (None, "auto", None, True),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto", None, False),
        ({"type": "any"}, "required", None, True),
        ({"type": "none"}, "none", None, True),
        ({"type": "tool", "name": "add"}, "required", {"add"}, True),
    ],
)
def test_tools_are_those_of_chats(choice: Any, chosen: str, allowed: set[str] | None, parallel: bool) -> None:
    tools = message(tools=[ADD], tool_choice=choice).conversation.tools
    assert tools is not None
    assert (tools.choice, tools.allowed, tools.parallel) == (chosen, allowed, parallel)
    assert tools.offered[0].path == "tools[0].input_schema"


def test_thinking_is_told_to_the_template() -> None:
    for given_, told in (("enabled", {"enable_thinking": True}), ("disabled", {"enable_thinking": False})):
        thinking = {"type": given_, "budget_tokens": 1024}
        assert message(thinking=thinking).conversation.template_variables == told
    variables = message(thinking={"type": "adaptive"}, output_config={"effort": "low"}).conversation.template_variables
    assert variables == {"reasoning_effort": "low"}


@pytest.mark.parametrize("path", ["output_config.format", "output_format"])
def test_a_schema_is_what_the_text_must_follow(path: str) -> None:
    form = {"type": "json_schema", "schema": SCHEMA}
    members = {"output_config": {"format": form}} if path.startswith("output_config") else {"output_format": form}
    grammar = message(**members).options.grammar
    assert grammar is not None
    assert (grammar.schema, grammar.param) == (SCHEMA, f"{path}.schema")


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": [*MESSAGES, {"role": "assistant", "content": [USE]}]}, "messages"),
        ({"system": 1}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"temperature": 1.5}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"stop_sequences": ["a", ""]}, "stop_sequences[1]"),
        ({"stop_sequences": "a"}, "stop_sequences"),
        ({"stop_sequences": ["a"] * 65}, "stop_sequences"),
        ({"mcp_servers": [{"name": "a"}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"thinking": {}}, "thinking.type"),
        ({"thinking": {"type": "hard"}}, "thinking.type"),
        ({"thinking": {"type": "enabled", "budget_tokens": "all"}}, "thinking.budget_tokens"),
        ({"output_config": {"effort": "some"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format.type"),
        ({"output_format": {"type": "json_schema"}}, "output_format.schema"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "add"}]}, "tools[0].input_schema"),
        ({"tools": [ADD, ADD]}, "tools"),
        ({"tools": [ADD], "tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tools": [ADD], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"tools": [ADD], "tool_choice": {"type": "tool", "name": "sub"}}, "tool_choice.name"),
        ({"tools": [ADD], "tool_choice": {"type": "none", "name": False}}, "tool_choice.name"),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tool_choice": "any"}, "tool_choice"),
    ],
)
def test_a_bad_request_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    error = refusal(message, **members)
    assert (error.status, error.param) == (400, param)


NAMES = ["messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format", "stop_sequences"]


@given(st.dictionaries(st.sampled_from(NAMES), ANY_JSON))
def test_any_json_is_parsed_or_refused(members: dict[str, Any]) -> None:
    with suppress(ApiError):
        message(**members)
