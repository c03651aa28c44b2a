from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given

from handler.api.completions import parse_completion
from handler.errors import ApiError
from tests.handler.api.answers import streamed, whole
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
        ({"n": 2}, "n"),
        ({"echo": True}, "echo"),
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


# ---------------------------------------------------------------- answers


def test_a_stream_is_text_and_then_the_reason() -> None:
    *chunks, done = streamed(completion())
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["text"] for choice in choices] == ["a", "b", "c", ""]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "length"]
    assert done == "[DONE]"


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
