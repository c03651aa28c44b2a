from __future__ import annotations

from typing import Any

import pytest

from handler.api.options import Served
from handler.api.tokens import apply_template, detokenize, tokenize
from handler.artefact import SamplingDefaults
from tests.handler.api.requests import MESSAGES, refusal
from tests.handler.doubles import BOS, EOS, TEMPLATE, VOCAB_SIZE, byte_prompts

SERVED = Served("owner/bytes", VOCAB_SIZE, SamplingDefaults())
PROMPTS = byte_prompts(TEMPLATE)


def tokens(**members: Any) -> Any:
    return tokenize(members, SERVED, PROMPTS)["tokens"]


@pytest.mark.parametrize(
    ("members", "ids"),
    [
        ({"content": "hi"}, [*b"hi"]),
        ({"content": "hi", "add_special": True}, [BOS, *b"hi"]),
        ({"content": ""}, []),
        ({"content": "</s>"}, [EOS]),
        ({"content": "</s>", "parse_special": False}, [*b"</s>"]),
        ({"prompt": "hi"}, [BOS, *b"hi"]),
        ({"prompt": "hi", "add_special_tokens": False}, [*b"hi"]),
        ({"messages": MESSAGES}, [BOS, *b"user: hi\nassistant:"]),
        (
            {"messages": MESSAGES, "add_generation_prompt": False, "add_special_tokens": True},
            [BOS, *b"user: hi\nassistant:"],
        ),
    ],
)
def test_a_text_is_encoded_as_llama_cpp_or_vllm_would(members: dict[str, Any], ids: list[int]) -> None:
    assert tokens(**members) == ids


def test_it_counts_and_says_how_many_there_may_be() -> None:
    assert tokenize({"content": "hi"}, SERVED, PROMPTS) == {"tokens": [*b"hi"], "count": 2, "max_model_len": 200}


def test_pieces_are_texts_or_bytes() -> None:
    assert tokens(content="h\u00e9", with_pieces=True) == [
        {"id": 104, "piece": "h"},
        {"id": 0xC3, "piece": [0xC3]},
        {"id": 0xA9, "piece": [0xA9]},
    ]
    assert tokenize({"prompt": "h", "return_token_strs": True}, SERVED, PROMPTS)["token_strs"] == ["<s>", "h"]


@pytest.mark.parametrize(
    ("ids", "text"),
    [([*b"hi"], "hi"), ([BOS, 104, EOS], "<s>h</s>"), ([104.0, 0xC3], "h\ufffd"), ([], ""), ([299], "")],
)
def test_tokens_are_decoded_with_the_names_of_special_ones(ids: list[Any], text: str) -> None:
    assert detokenize({"tokens": ids}, SERVED, PROMPTS) == {"content": text, "prompt": text}


def test_what_was_encoded_comes_back() -> None:
    text = "h\u00e9llo \U0001f600"
    assert detokenize({"tokens": tokens(content=text)}, SERVED, PROMPTS)["content"] == text


def test_messages_are_written_down() -> None:
    assert apply_template({"messages": MESSAGES}, SERVED, PROMPTS) == {"prompt": "<s>user: hi\nassistant:"}


@pytest.mark.parametrize(
    ("compute", "members", "param"),
    [
        (tokenize, {}, "content"),
        (tokenize, {"content": 5}, "content"),
        (tokenize, {"content": "a", "prompt": "b"}, "prompt"),
        (tokenize, {"messages": []}, "messages"),
        (tokenize, {"content": "a", "with_pieces": 1}, "with_pieces"),
        (tokenize, {"content": "\ud800"}, "content"),
        (detokenize, {}, "tokens"),
        (detokenize, {"tokens": "a"}, "tokens"),
        (detokenize, {"tokens": [1, 300]}, "tokens[1]"),
        (detokenize, {"tokens": [True]}, "tokens[0]"),
        (apply_template, {}, "messages"),
        (apply_template, {"messages": MESSAGES, "continue_final_message": True}, "continue_final_message"),
        (tokenize, {"messages": MESSAGES, "add_special": ""}, "add_special"),
    ],
)
def test_a_bad_body_is_refused_by_name(compute: Any, members: dict[str, Any], param: str) -> None:
    error = refusal(lambda: compute(members, SERVED, PROMPTS))
    assert (error.status, error.param) == (400, param)
