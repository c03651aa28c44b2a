from __future__ import annotations

import base64
import dataclasses
import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.api.chat import parse_chat
from handler.api.completions import parse_completion
from handler.api.embeddings import MAX_INPUTS, EmbeddingRequest, normalized, parse_embeddings
from handler.artefact import Embeddings
from handler.errors import ApiError, EmbeddingsOnly, EmbeddingsUnavailable, EmptyPrompt, InputTooLong
from handler.text.deltas import Delta, joined
from handler.text.meter import Meter
from tests.handler.api.answers import ENVELOPE
from tests.handler.api.bodies import ANY_JSON
from tests.handler.api.requests import MESSAGES, SERVED, refusal
from tests.handler.doubles import BOS, byte_prompts

FOR_VECTORS = dataclasses.replace(SERVED, embeddings=Embeddings("mean", 4))
VECTOR = np.array([3, 0, -4, 12], dtype=np.float32)


def embedding(**members: Any) -> EmbeddingRequest:
    return parse_embeddings({"model": "name", "input": "hi"} | members, FOR_VECTORS)


def prompt_ids(context_length: int = 200, **members: Any) -> list[list[int]]:
    return [list(task.prompt_ids) for task in embedding(**members).tasks(byte_prompts(None, context_length))]


def answer(*vectors: Any, **members: Any) -> dict[str, Any]:
    deltas = [Delta("", index=index, embedding=vector) for index, vector in enumerate(vectors)]
    return embedding(**members).answer(ENVELOPE, Meter(7, 0.0)).whole(joined(deltas))


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("given_input", "inputs"),
    [
        ("hi", ("hi",)),
        (["hi"], ("hi",)),
        (["hi", "ho"], ("hi", "ho")),
        ([5, 7.0], ((5, 7),)),
        ([[5], [7, 8]], ((5,), (7, 8))),
        ([[5], "ho"], ((5,), "ho")),
    ],
)
def test_an_input_is_a_text_or_ids_or_an_array_of_these(given_input: Any, inputs: Any) -> None:
    assert embedding(input=given_input).inputs == inputs


def test_texts_are_encoded_as_the_checkpoint_wants_and_ids_are_taken_as_they_are() -> None:
    assert prompt_ids(input=["hi", [5, 7]]) == [[BOS, *b"hi"], [5, 7]]


def test_what_is_harmless_is_ignored() -> None:
    others = {"user": "me", "dimensions": None, "encoding_format": None, "normalize": True, "stream": False, "n": 9}
    assert embedding(**others) == embedding()


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"input": {"text": "hi"}}, "input"),
        ({"input": ["hi", ""]}, "input[1]"),
        ({"input": ["hi", 7]}, "input[1]"),
        ({"input": [[]]}, "input[0]"),
        ({"input": [[5], [5, 100]]}, "input[1][1]"),
        ({"input": [5, "hi"]}, "input[1]"),
        ({"input": [True]}, "input[0]"),
        ({"input": [-1]}, "input[0]"),
        ({"input": "\ud800"}, "input"),
        ({"input": ["x"] * (MAX_INPUTS + 1)}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": 5}, "dimensions"),
        ({"dimensions": "4"}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": 7}, "encoding_format"),
        ({"stream": True}, "stream"),
        ({"normalize": False}, "normalize"),
        ({"pooling": "cls"}, "pooling"),
        ({"truncate_prompt_tokens": 9}, "truncate_prompt_tokens"),
        ({"input_type": "query"}, "input_type"),
        ({"messages": MESSAGES}, "messages"),
    ],
)
def test_a_bad_request_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    error = refusal(embedding, **members)
    assert (error.status, error.param) == (400, param)


def test_as_many_inputs_as_openai_takes() -> None:
    assert len(embedding(input=["x"] * MAX_INPUTS).inputs) == MAX_INPUTS


@given(ANY_JSON, st.sampled_from(["input", "dimensions", "encoding_format", "stream", "truncate"]))
def test_any_json_is_parsed_or_refused(value: Any, name: str) -> None:
    with suppress(ApiError):
        embedding(**{name: value})


def test_an_input_may_fill_the_context_and_no_more() -> None:
    assert len(prompt_ids(context_length=5, input=["x" * 4])[0]) == 5
    with pytest.raises(InputTooLong, match=r"input\[1\] has 6 tokens, more than the model's context of 5") as caught:
        prompt_ids(context_length=5, input=["x", "x" * 5])
    assert (caught.value.param, caught.value.code) == ("input[1]", "context_length_exceeded")


def test_an_input_without_tokens_is_refused() -> None:
    with pytest.raises(EmptyPrompt):
        byte_prompts(None).embedding_task([], "input")


def test_an_artefact_for_text_says_what_to_do() -> None:
    with pytest.raises(EmbeddingsUnavailable, match="--embeddings"):
        parse_embeddings({"model": "name", "input": "hi"}, SERVED)


@pytest.mark.parametrize("parse", [parse_chat, parse_completion])
def test_a_model_without_a_head_writes_no_text(parse: Any) -> None:
    served = dataclasses.replace(SERVED, embeddings=Embeddings("last", 4, only=True))
    with pytest.raises(EmbeddingsOnly, match="/v1/embeddings"):
        parse({"model": "name", "messages": MESSAGES, "prompt": "hi"}, served)


# ---------------------------------------------------------------- answers


def test_an_answer_has_a_vector_of_length_1_for_each_input_and_the_usage() -> None:
    assert answer(VECTOR, 2 * VECTOR) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": pytest.approx([3 / 13, 0, -4 / 13, 12 / 13])}
            for index in range(2)
        ],
        "model": "m",
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }


def test_fewer_dimensions_have_length_1_again() -> None:
    assert answer(VECTOR, dimensions=3)["data"][0]["embedding"] == pytest.approx([0.6, 0, -0.8])


def test_base64_is_float32_little_endian() -> None:
    encoded = base64.b64decode(answer(VECTOR, encoding_format="base64")["data"][0]["embedding"])
    np.testing.assert_array_equal(np.frombuffer(encoded, "<f4"), normalized(VECTOR))


def test_json_numbers_are_the_same_float32() -> None:
    vector = np.random.default_rng(0).normal(size=4).astype(np.float32)
    written = json.loads(json.dumps(answer(vector)["data"][0]["embedding"]))
    np.testing.assert_array_equal(np.array(written, dtype=np.float32), normalized(vector))


def test_a_vector_of_zeros_stays_one() -> None:
    np.testing.assert_array_equal(normalized(np.zeros(4, dtype=np.float32)), np.zeros(4))
