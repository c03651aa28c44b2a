from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given

from handler.api.chat import parse_chat
from handler.errors import ApiError, InvalidValue, NoChatTemplate
from handler.text.deltas import Delta, joined
from handler.text.meter import Meter
from tests.handler.api.answers import ENVELOPE, streamed, whole
from tests.handler.api.bodies import ANY_JSON
from tests.handler.api.requests import MESSAGES, SERVED, chat, refusal
from tests.handler.doubles import BOS, TEMPLATE, byte_prompts

USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


# ---------------------------------------------------------------- requests


def test_null_means_not_given() -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ["n", "tools", "logprobs", "max_tokens", "response_format", "chat_template_kwargs"]
    )
    assert chat(**nothing) == chat()


def test_the_newer_name_of_max_tokens_wins() -> None:
    assert chat(max_tokens=3, max_completion_tokens=4).options.max_tokens == 4


def test_without_max_tokens_a_chat_fills_the_context() -> None:
    assert chat().options.max_tokens is None


def test_logprobs_may_come_without_alternatives() -> None:
    assert chat(logprobs=True).options.sampling.top_logprobs == 0
    assert chat(logprobs=True, top_logprobs=20).options.sampling.top_logprobs == 20


def test_asking_for_nothing_is_no_asking() -> None:
    assert chat(n=1, tools=[], tool_choice="none", modalities=["text"], response_format={"type": "text"}) == chat()


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"n": 17}, "n"),
        ({"n": True}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"verbosity": "low"}, "verbosity"),
        ({"add_generation_prompt": 1}, "add_generation_prompt"),
        ({"reasoning_effort": 3}, "reasoning_effort"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"functions": [{}]}, "functions[0].name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": []}, "tool_choice"),
        ({"n": []}, "n"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"audio": {}}, "audio"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": "text"}, "response_format"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [*MESSAGES, {"role": "robot", "content": "hi"}]}, "messages[1].role"),
    ],
)
def test_a_bad_chat_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    error = refusal(chat, **members)
    assert (error.status, error.param) == (400, param)


@given(ANY_JSON)
def test_any_json_is_parsed_or_refused(value: Any) -> None:
    members = dict.fromkeys(["messages", "stop", "logit_bias"], value) | {"model": "name"}
    for body in (value, members):
        if isinstance(body, dict):
            with suppress(ApiError):
                parse_chat(body, SERVED)


# ---------------------------------------------------------------- prompts


def test_the_prompt_is_the_rendered_template_with_one_bos() -> None:
    assert chat().tasks(byte_prompts(TEMPLATE))[0].prompt_ids == [BOS, *b"user: hi\nassistant:"]


def test_a_base_model_has_no_chat() -> None:
    with pytest.raises(NoChatTemplate):
        chat(chat_template_kwargs={"messages": []}).tasks(byte_prompts(None))


@pytest.mark.parametrize("name", ["messages", "bos_token"])
def test_reserved_template_variables_are_refused(name: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        chat(chat_template_kwargs={name: 1}).tasks(byte_prompts(TEMPLATE))
    assert caught.value.param == "chat_template_kwargs"


# ---------------------------------------------------------------- answers


def test_a_stream_begins_with_the_role_and_ends_with_the_reason_and_the_usage() -> None:
    *chunks, usage, done = streamed(chat(**USAGE))
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "a"},
        {"content": "b"},
        {"content": "c"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, None, "length"]
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 3, "[DONE]")


def test_the_usage_tells_how_many_tokens_were_thoughts() -> None:
    deltas = [Delta("", reasoning="a", thoughts=1), Delta("", thoughts=1), Delta("b", finish_reason="stop")]
    answer = chat(**USAGE).answer(ENVELOPE, Meter(3, 0.0))
    events = [event for delta in deltas for event in answer.events(delta)] + list(answer.end())
    thought = {"reasoning_tokens": 2}
    assert json.loads(events[-2].removeprefix(b"data: "))["usage"]["completion_tokens_details"] == thought
    whole = chat().answer(ENVELOPE, Meter(3, 0.0)).whole(joined(deltas))
    assert whole["usage"]["completion_tokens_details"] == thought


def test_a_whole_chat_is_all_of_its_deltas() -> None:
    answer = whole(chat())
    choice = answer["choices"][0]
    assert (answer["id"], answer["object"], answer["usage"]["total_tokens"]) == ("x-1", "chat.completion", 3)
    assert choice["message"] == {"role": "assistant", "content": "abc", "refusal": None}
    assert choice["finish_reason"] == "length"


def test_a_token_has_its_bytes_and_its_alternatives() -> None:
    [token] = whole(chat())["choices"][0]["logprobs"]["content"]
    assert (token["token"], token["logprob"], token["bytes"]) == ("a\ufffd", -0.5, [97, 255])
    assert [(other["token"], other["logprob"]) for other in token["top_logprobs"]] == [("b", -1.0), ("c", -9999.0)]
    assert streamed(chat())[1]["choices"][0]["logprobs"]["content"] == [token]


# ---------------------------------------------------------------- choices and openings


def test_choices_share_their_prompt_and_have_seeds_of_their_own() -> None:
    tasks = chat(n=3, seed=-4).tasks(byte_prompts(TEMPLATE))
    assert len({id(task.prompt_ids) for task in tasks}) == 1
    assert [task.sampling.seed for task in tasks] == [-4, -5, -6]


def test_without_a_seed_all_choices_draw_freely() -> None:
    assert [task.sampling.seed for task in chat(n=2).tasks(byte_prompts(TEMPLATE))] == [None, None]


def test_the_assistants_message_goes_on() -> None:
    messages = [*MESSAGES, {"role": "assistant", "content": "so"}]
    (task,) = chat(messages=messages, continue_final_message=True).tasks(byte_prompts(TEMPLATE))
    assert bytes(task.prompt_ids[1:]) == b"user: hi\nassistant: so"


@pytest.mark.parametrize(("given", "with_bos"), [({}, 1), ({"add_special_tokens": True}, 2)])
def test_a_template_writes_its_own_bos_unless_another_is_wanted(given: dict[str, Any], with_bos: int) -> None:
    template = TEMPLATE.replace("{{ bos_token }}", "" if with_bos == 2 else "{{ bos_token }}")
    (task,) = chat(**given).tasks(byte_prompts(template))
    assert task.prompt_ids[:2] == [BOS, *b"u"]


def test_choices_of_a_stream_have_their_index() -> None:
    answer = chat().answer(ENVELOPE, Meter(3, 0.0))
    deltas = [Delta("a"), Delta("x", index=1), Delta("b", finish_reason="stop"), Delta("", (), "length", 1)]
    events = [event for delta in deltas for event in answer.events(delta)]
    choices = [json.loads(event[6:])["choices"][0] for event in events]
    assert [(c["index"], c["delta"].get("role"), c["delta"].get("content"), c["finish_reason"]) for c in choices] == [
        (0, "assistant", "", None),
        (0, None, "a", None),
        (1, "assistant", "", None),
        (1, None, "x", None),
        (0, None, "b", None),
        (0, None, None, "stop"),
        (1, None, None, "length"),
    ]
