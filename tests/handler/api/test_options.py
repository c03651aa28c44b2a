from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from handler.api.members import Members
from handler.api.options import Options, Served, parse_options
from handler.text.deltas import Ending
from tests.handler.api.requests import SERVED, chat, completion, refusal


def options(served: Served = SERVED, **members: Any) -> Options:
    return parse_options(Members({"model": "name"} | members), served, max_tokens=None, top_logprobs=None)


def test_what_is_not_given_comes_from_the_model() -> None:
    sampling = options().sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_logprobs) == (0.7, 0.9, None)


def test_null_means_not_given() -> None:
    nothing: dict[str, Any] = dict.fromkeys(["temperature", "stop", "seed", "logit_bias", "stream", "stream_options"])
    assert options(**nothing) == options()


def test_unknown_members_are_ignored() -> None:
    assert options(user=3, store=True, metadata={"a": 1}, service_tier="x") == options()


@pytest.mark.parametrize("model", ["owner/name", "name"])
def test_the_model_may_be_named_by_the_last_part_of_its_id(model: str) -> None:
    assert options(model=model).model == "owner/name"


@pytest.mark.parametrize("named", [{}, {"max_tokens": 100}])
@pytest.mark.parametrize("request_of", [chat, completion])
def test_no_request_gets_more_tokens_than_the_cap(request_of: Any, named: dict[str, int]) -> None:
    assert request_of(replace(SERVED, max_tokens_cap=4), **named).options.max_tokens == 4


@pytest.mark.parametrize(("stop", "expected"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([], ())])
def test_stop_is_a_string_or_several(stop: Any, expected: tuple[str, ...]) -> None:
    assert options(stop=stop).stop == expected


@pytest.mark.parametrize(("top_k", "expected"), [(-1, 0), (0, 0), (5, 5), (100, 0), (10**30, 0)])
def test_top_k_beyond_the_vocabulary_is_off(top_k: int, expected: int) -> None:
    assert options(top_k=top_k).sampling.top_k == expected


def test_logit_bias_names_ids() -> None:
    assert options(logit_bias={"5": -100, "7": 1.5}).sampling.logit_bias == {5: -100.0, 7: 1.5}


@pytest.mark.parametrize("request_of", [chat, completion])
@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
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
        ({"logit_bias": {"100": 1}}, "logit_bias"),
        ({"logit_bias": {"+1": 1}}, "logit_bias"),
        ({"logit_bias": {"٣": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"model": 5}, "model"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"n": 1.5}, "n"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
        ({"stop_token_ids": 5}, "stop_token_ids"),
        ({"stop_token_ids": [1, 100]}, "stop_token_ids[1]"),
        ({"stop_token_ids": [1] * 65}, "stop_token_ids"),
        ({"ignore_eos": 1}, "ignore_eos"),
        ({"skip_special_tokens": "no"}, "skip_special_tokens"),
        ({"include_stop_str_in_output": "no"}, "include_stop_str_in_output"),
        ({"mirostat": 2}, "mirostat"),
    ],
)
def test_a_bad_option_is_refused_by_name(request_of: Any, members: dict[str, Any], param: str) -> None:
    error = refusal(request_of, **members)
    assert (error.status, error.param) == (400, param)


def test_what_ends_an_answer_can_be_chosen() -> None:
    ending = options(
        stop_token_ids=[5, 7.0], ignore_eos=True, include_stop_str_in_output=True, skip_special_tokens=False
    ).ending
    assert ending == Ending(frozenset([5, 7]), ignore_eos=True, include_stop=True, special=True)
    assert options(stop_token_ids=[], ignore_eos=False, skip_special_tokens=True).ending == Ending()


def test_the_end_may_have_to_wait() -> None:
    found = options(min_tokens=4)
    assert (found.ending.min_tokens, found.sampling.min_tokens) == (4, 4)


def test_a_request_needs_no_model() -> None:
    assert options(model=None).model == "owner/name"


def test_aliases_are_names_of_the_model() -> None:
    served = replace(SERVED, aliases=("gpt-4o", "name"))
    assert served.names == ("owner/name", "name", "gpt-4o")
    assert options(served, model="gpt-4o").model == "owner/name"
    assert refusal(lambda **given: options(served, **given), model="gpt-5").code == "model_not_found"


def test_a_star_stands_for_every_name() -> None:
    served = replace(SERVED, aliases=("*",))
    assert options(served, model="whatever").model == "owner/name"
    assert "*" not in served.names


def test_a_refusal_shows_the_bad_value() -> None:
    assert "'warm'" in refusal(options, temperature="warm").message


def test_another_model_is_not_found() -> None:
    error = refusal(options, model="gpt-4")
    assert (error.status, error.code) == (404, "model_not_found")
