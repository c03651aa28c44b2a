from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from handler.api.completions import parse_completion
from handler.errors import ApiError
from handler.text.deltas import Delta, ScoredToken
from handler.text.meter import Meter
from tests.handler.api.answers import ENVELOPE, streamed, whole
from tests.handler.api.bodies import ANY_JSON
from tests.handler.api.requests import SERVED, completion, refusal
from tests.handler.doubles import BOS, byte_prompts

# ---------------------------------------------------------------- requests


def test_without_max_tokens_a_completion_gets_16() -> None:
    assert completion().options.max_tokens == 16


def test_logprobs_is_a_number() -> None:
    assert completion(logprobs=5).options.sampling.top_logprobs == 5


def test_asking_for_nothing_is_no_asking() -> None:
    assert completion(n=1, best_of=1, echo=False, suffix="") == completion()


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": [100]}, "prompt[0]"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"best_of": 2}, "best_of"),
        ({"n": 17}, "n"),
        ({"n": 0}, "n"),
        ({"n": 2, "best_of": 1}, "best_of"),
        ({"echo": "yes"}, "echo"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 3, "min_tokens": 4}, "min_tokens"),
        ({"suffix": "x"}, "suffix"),
    ],
)
def test_a_bad_completion_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    error = refusal(completion, **members)
    assert (error.status, error.param) == (400, param)


@given(ANY_JSON)
def test_any_json_is_parsed_or_refused(value: Any) -> None:
    members = dict.fromkeys(["prompt", "stop", "logit_bias"], value) | {"model": "name"}
    for body in (value, members):
        if isinstance(body, dict):
            with suppress(ApiError):
                parse_completion(body, SERVED)


# ---------------------------------------------------------------- prompts


@pytest.mark.parametrize(("prompt", "ids"), [("hi", [BOS, *b"hi"]), ([1, 2], [1, 2])])
def test_a_text_gets_a_bos_and_ids_are_taken_as_they_are(prompt: Any, ids: list[int]) -> None:
    assert list(completion(prompt=prompt).tasks(byte_prompts(None))[0].prompt_ids) == ids


def test_a_text_can_do_without_its_bos() -> None:
    (task,) = completion(prompt="hi", add_special_tokens=False).tasks(byte_prompts(None))
    assert list(task.prompt_ids) == [*b"hi"]


def test_choices_of_each_prompt_follow_one_another() -> None:
    tasks = completion(prompt=["a", "b"], n=2, best_of=2, seed=5).tasks(byte_prompts(None))
    assert [bytes(task.prompt_ids[1:]) for task in tasks] == [b"a", b"a", b"b", b"b"]
    assert tasks[0].prompt_ids is tasks[1].prompt_ids
    assert [task.sampling.seed for task in tasks] == [5, 6, 5, 6]


@pytest.mark.parametrize(
    ("prompt", "special", "text", "offsets"),
    [
        ("h\u00e9</s>!", True, "h\u00e9</s>!", [0, 0, 1, 1, 2, 6]),
        ([BOS, 104, 257, 33], True, "h!", [0, 0, 1, 1]),
        ([BOS, 104, 257, 33], False, "<s>h</s>!", [0, 3, 4, 8]),
    ],
)
def test_an_echo_says_where_each_token_begins(prompt: Any, special: bool, text: str, offsets: list[int]) -> None:
    served = replace(SERVED, vocab_size=300)
    (task,) = completion(served, prompt=prompt, echo=True, skip_special_tokens=special).tasks(byte_prompts(None))
    assert task.echo is not None
    assert (task.echo.text, list(task.echo.offsets)) == (text, offsets)


def test_an_echo_needs_no_answer_and_no_room_for_one() -> None:
    (task,) = completion(prompt=[1] * 200, echo=True, max_tokens=0).tasks(byte_prompts(None, 200))
    assert task.max_tokens == 0


def test_without_max_tokens_there_are_as_many_as_there_must_be() -> None:
    assert completion(min_tokens=20).options.max_tokens == 20


# ---------------------------------------------------------------- answers


def test_a_stream_is_text_and_then_the_reason() -> None:
    *chunks, done = streamed(completion())
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["text"] for choice in choices] == ["a", "b", "c", ""]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "length"]
    assert done == "[DONE]"


def test_the_first_token_of_an_echo_has_no_probability() -> None:
    scores = (ScoredToken(b"a", None, (), 0), ScoredToken(b"b", -1.0, ((b"\xc3", -1.0), (b"\xc4", -2.0)), 1))
    answer = completion(echo=True).answer(ENVELOPE, Meter(2, 0.0)).whole([Delta("ab", scores, "length")])
    logprobs = answer["choices"][0]["logprobs"]
    assert logprobs["token_logprobs"] == [None, -1.0]
    assert logprobs["top_logprobs"] == [None, {"\ufffd": -1.0}]  # of two that look alike, the likelier


def test_a_whole_completion_is_all_of_its_deltas() -> None:
    answer = whole(completion())
    choice = answer["choices"][0]
    assert (answer["object"], choice["text"], choice["finish_reason"]) == ("text_completion", "abc", "length")


def test_logprobs_are_arrays_by_token() -> None:
    logprobs = whole(completion())["choices"][0]["logprobs"]
    assert logprobs == {
        "tokens": ["a\ufffd"],
        "token_logprobs": [-0.5],
        "top_logprobs": [{"b": -1.0, "c": -9999.0}],
        "text_offset": [0],
    }
    assert streamed(completion())[0]["choices"][0]["logprobs"] == logprobs
