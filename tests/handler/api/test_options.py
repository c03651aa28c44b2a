import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.api.options import ChatRequest, CompletionRequest, Served, parse_chat, parse_completion
from handler.artefact import SamplingDefaults
from handler.errors import ApiError

SERVED = Served("owner/name", 100, SamplingDefaults(temperature=0.7, top_p=0.9))
MESSAGES = [{"role": "user", "content": "hi"}]


def chat(**members: Any) -> ChatRequest:
    return parse_chat(json.dumps({"model": "name", "messages": MESSAGES} | members).encode(), SERVED)


def completion(**members: Any) -> CompletionRequest:
    return parse_completion(json.dumps({"model": "name", "prompt": "hi"} | members).encode(), SERVED)


def refusal(body: bytes | dict[str, Any], parse: Any = parse_chat) -> ApiError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ApiError) as caught:
        parse(raw, SERVED)
    return caught.value


def test_what_is_not_given_comes_from_the_model() -> None:
    sampling = chat().options.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_logprobs) == (0.7, 0.9, None)


def test_null_means_not_given() -> None:
    nothing = dict.fromkeys(["temperature", "stop", "n", "tools", "seed", "logit_bias", "stream", "stream_options"])
    assert chat(**nothing) == chat()


def test_unknown_members_are_ignored() -> None:
    assert chat(user=3, store=True, metadata={"a": 1}, service_tier="x") == chat()


@pytest.mark.parametrize("model", ["owner/name", "name"])
def test_the_model_may_be_named_by_the_last_part_of_its_id(model: str) -> None:
    assert chat(model=model).options.model == "owner/name"


def test_the_newer_name_of_max_tokens_wins() -> None:
    assert chat(max_tokens=3, max_completion_tokens=4).options.max_tokens == 4


def test_without_max_tokens_a_chat_fills_the_context_and_a_completion_gets_16() -> None:
    assert (chat().options.max_tokens, completion().options.max_tokens) == (None, 16)


@pytest.mark.parametrize("named", [{}, {"max_tokens": 100}])
@pytest.mark.parametrize(("parse", "member"), [(parse_chat, "messages"), (parse_completion, "prompt")])
def test_no_request_gets_more_tokens_than_the_cap(parse: Any, member: str, named: dict[str, int]) -> None:
    body = {"model": "name", member: MESSAGES if member == "messages" else "hi"} | named
    assert parse(json.dumps(body).encode(), replace(SERVED, max_tokens_cap=4)).options.max_tokens == 4


def test_a_whole_float_is_an_integer() -> None:
    assert chat(max_tokens=3.0).options.max_tokens == 3


def test_developer_is_system() -> None:
    assert chat(messages=[{"role": "developer", "content": "x"}]).messages[0]["role"] == "system"


def test_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert chat(messages=[{"role": "user", "content": parts}]).messages[0]["content"] == "a\nb"


@pytest.mark.parametrize(("stop", "expected"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([], ())])
def test_stop_is_a_string_or_several(stop: Any, expected: tuple[str, ...]) -> None:
    assert chat(stop=stop).options.stop == expected


@pytest.mark.parametrize(
    ("prompt", "expected"), [("a", "a"), (["a"], "a"), ([1, 2], (1, 2)), ([[1, 2]], (1, 2)), ([1.0], (1,))]
)
def test_a_prompt_is_a_text_or_ids(prompt: Any, expected: Any) -> None:
    assert completion(prompt=prompt).prompt == expected


@pytest.mark.parametrize(("top_k", "expected"), [(-1, 0), (0, 0), (5, 5), (100, 0), (10**30, 0)])
def test_top_k_beyond_the_vocabulary_is_off(top_k: int, expected: int) -> None:
    assert chat(top_k=top_k).options.sampling.top_k == expected


def test_logit_bias_names_ids() -> None:
    assert chat(logit_bias={"5": -100, "7": 1.5}).options.sampling.logit_bias == {5: -100.0, 7: 1.5}


def test_logprobs_of_a_chat_may_come_without_alternatives() -> None:
    assert chat(logprobs=True).options.sampling.top_logprobs == 0
    assert chat(logprobs=True, top_logprobs=20).options.sampling.top_logprobs == 20
    assert completion(logprobs=5).options.sampling.top_logprobs == 5


def test_asking_for_nothing_is_no_asking() -> None:
    assert chat(n=1, tools=[], tool_choice="none", modalities=["text"], response_format={"type": "text"}) == chat()
    assert completion(n=1, best_of=1, echo=False, suffix="") == completion()


IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
CHAT_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": "5"}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_completion_tokens": -1}, "max_completion_tokens"),
    ({"temperature": 2.1}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"temperature": 10**400}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"min_p": -0.1}, "min_p"),
    ({"repetition_penalty": 0}, "repetition_penalty"),
    ({"presence_penalty": 3}, "presence_penalty"),
    ({"frequency_penalty": "1"}, "frequency_penalty"),
    ({"seed": 2**63}, "seed"),
    ({"stop": ""}, "stop"),
    ({"stop": 5}, "stop"),
    ({"stop": ["a", ""]}, "stop[1]"),
    ({"stop": ["a"] * 5}, "stop"),
    ({"stop": ["\ud800"]}, "stop[0]"),
    ({"stream": "true"}, "stream"),
    ({"stream_options": {"include_usage": True}}, "stream_options"),
    ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ({"logprobs": 1}, "logprobs"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"logit_bias": {"100": 1}}, "logit_bias"),
    ({"logit_bias": {"+1": 1}}, "logit_bias"),
    ({"logit_bias": {"٣": 1}}, "logit_bias"),
    ({"logit_bias": {"1": 101}}, "logit_bias.1"),
    ({"n": 2}, "n"),
    ({"n": True}, "n"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"functions": [{}]}, "functions"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": []}, "tool_choice"),
    ({"n": []}, "n"),
    ({"modalities": ["audio"]}, "modalities"),
    ({"audio": {}}, "audio"),
    ({"response_format": {"type": "json_schema"}}, "response_format.type"),
    ({"response_format": "text"}, "response_format"),
    ({"chat_template_kwargs": []}, "chat_template_kwargs"),
    ({"messages": []}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": "hi"}, "messages"),
    ({"messages": ["hi"]}, "messages[0]"),
    ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    ({"messages": [*MESSAGES, {"role": "robot", "content": "hi"}]}, "messages[1].role"),
    ({"messages": [{"role": "tool", "content": "hi"}]}, "messages[0].role"),
    ({"messages": [{"role": "user"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "\udc00"}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
    ({"messages": IMAGE}, "messages[0].content[0].type"),
    ({"model": None}, "model"),
    ({"model": 5}, "model"),
]


@pytest.mark.parametrize(("members", "param"), CHAT_REFUSALS)
def test_a_bad_chat_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    error = refusal({"model": "name", "messages": MESSAGES} | members)
    assert (error.status, error.param) == (400, param)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": [True]}, "prompt[0]"),
        ({"prompt": [100]}, "prompt[0]"),
        ({"prompt": [-1]}, "prompt[0]"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True}, "echo"),
        ({"suffix": "x"}, "suffix"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_bad_completion_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    error = refusal({"model": "name", "prompt": "x"} | members, parse_completion)
    assert (error.status, error.param) == (400, param)


def test_a_refusal_shows_the_bad_value() -> None:
    assert "'warm'" in refusal({"model": "name", "messages": MESSAGES, "temperature": "warm"}).message


def test_another_model_is_not_found() -> None:
    error = refusal({"model": "\ud800", "messages": MESSAGES} | {"model": "gpt-4"})
    assert (error.status, error.code) == (404, "model_not_found")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[]",
        b"null",
        b'{"model": NaN}',
        b'{"model": Infinity}',
        b'{"n": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes) -> None:
    assert refusal(body).status == 400


def test_an_overflowing_number_is_refused() -> None:
    error = refusal(b'{"model": "name", "messages": [{"role": "user", "content": ""}], "temperature": 1e400}')
    assert error.param == "temperature"


def test_the_last_of_duplicated_keys_counts() -> None:
    body = b'{"model": "x", "model": "name", "prompt": "hi"}'
    assert parse_completion(body, SERVED).options.model == "owner/name"


KEYS = st.sampled_from(["model", "messages", "role", "content", "type", "text", "prompt"])
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
)


@given(JSON)
def test_any_json_is_parsed_or_refused(value: Any) -> None:
    members = dict.fromkeys(["messages", "prompt", "stop", "logit_bias"], value) | {"model": "name"}
    for parse in (parse_chat, parse_completion):
        for body in (value, members):
            with suppress(ApiError):
                parse(json.dumps(body).encode(), SERVED)
