from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.api.responses.request import ResponseRequest, parse_response
from handler.errors import ApiError
from tests.handler.api.bodies import ANY_JSON
from tests.handler.api.requests import SERVED, refusal
from tests.handler.doubles import BOS, TEMPLATE, byte_prompts

ADD = {"type": "function", "name": "add", "parameters": {"type": "object"}}


def response(**members: Any) -> ResponseRequest:
    return parse_response({"model": "name", "input": "hi"} | members, SERVED)


def test_null_and_what_asks_for_nothing_are_not_given() -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ["instructions", "tools", "text", "reasoning", "metadata", "store", "prompt"]
    )
    assert response(**nothing) == response()
    neutral = {"store": False, "background": False, "truncation": "disabled", "tools": [], "user": "me"}
    assert response(**neutral) == response()


def test_the_prompt_is_the_rendered_template() -> None:
    request = response(instructions="Be brief.")
    [task] = request.tasks(byte_prompts(TEMPLATE))
    assert task.prompt_ids == [BOS, *b"system: Be brief.\nuser: hi\nassistant:"]


def test_max_output_tokens_bound_the_answer() -> None:
    assert response(max_output_tokens=3).options.max_tokens == 3
    assert response().options.max_tokens is None


def test_a_schema_is_what_the_text_must_follow() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"type": "json_schema", "name": "a", "schema": schema, "strict": True}
    grammar = response(text={"format": form}).options.grammar
    assert grammar is not None
    assert (grammar.schema, grammar.param) == (schema, "text.format.schema")
    assert response(text={"format": {"type": "text"}}).options.grammar is None


def test_tools_are_those_of_chats() -> None:
    tools = response(tools=[ADD], tool_choice="required", parallel_tool_calls=False).conversation.tools
    assert tools is not None
    assert (tools.offered[0].name, tools.choice, tools.allowed, tools.parallel) == ("add", "required", None, False)
    allowed = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "add"}]}
    for choice, chosen in (({"type": "function", "name": "add"}, "required"), (allowed, "auto")):
        tools = response(tools=[ADD], tool_choice=choice).conversation.tools
        assert tools is not None
        assert (tools.choice, tools.allowed) == (chosen, frozenset({"add"}))


def test_an_effort_is_told_to_the_template() -> None:
    variables = response(reasoning={"effort": "none", "summary": "auto"}).conversation.template_variables
    assert variables == {"reasoning_effort": "none", "enable_thinking": False}


def test_scores_are_given_if_they_are_included() -> None:
    include = ["message.output_text.logprobs", "reasoning.encrypted_content"]
    assert response(include=include).options.sampling.top_logprobs == 0
    assert response(include=include, top_logprobs=2).options.sampling.top_logprobs == 2
    assert response(include=include[1:], top_logprobs=0).options.sampling.top_logprobs is None


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": None}, "input"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"moderation": {"model": "m"}}, "moderation"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"max_completion_tokens": 5}, "max_completion_tokens"),
        ({"instructions": ["a"]}, "instructions"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a" * 65: "b"}}, "metadata"),
        ({"metadata": {"a": "b" * 513}}, "metadata.a"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"reasoning": {"effort": "some"}}, "reasoning.effort"),
        ({"text": {"verbosity": "loud"}}, "text.verbosity"),
        ({"text": {"format": {}}}, "text.format.type"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name"),
        ({"text": {"format": {"type": "json_object"}}, "guided_choice": ["a"]}, "text.format"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [ADD, ADD]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [ADD], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [ADD], "tool_choice": {"type": "function", "name": "sub"}}, "tool_choice"),
        ({"tools": [ADD], "tool_choice": {"type": "mcp"}}, "tool_choice.type"),
        ({"tools": [ADD], "tool_choice": {"type": "allowed_tools", "mode": "none"}}, "tool_choice.mode"),
        ({"tools": [ADD], "tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice.tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"include": [1]}, "include[0]"),
        ({"include": ["message.output_text.logprobs"], "tools": [ADD]}, "include"),
    ],
)
def test_a_bad_request_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    error = refusal(response, **members)
    assert error.status in (400, 404)
    assert error.param == param


NAMES = ["input", "instructions", "tools", "tool_choice", "text", "metadata", "include", "reasoning"]


@given(st.dictionaries(st.sampled_from(NAMES), ANY_JSON))
def test_any_json_is_parsed_or_refused(members: dict[str, Any]) -> None:
    with suppress(ApiError):
        response(**members)
