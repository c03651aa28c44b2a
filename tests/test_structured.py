"""Answers of the real model that must follow a grammar: alone, together, guessed, cut off, and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from handler.artefact import TOKENIZER, load_artefact
from handler.engine.cancellation import Cancellation
from handler.engine.engine import Engine, EngineOptions
from handler.engine.sampling import SamplingParams
from handler.engine.sequence import Token
from handler.errors import Cancelled
from handler.text.grammar import Grammar
from handler.text.grammars import Grammars
from handler.text.tokenizer import Tokenizer
from handler.turns import Turns
from tests.kernels.models import LIBRARY, needs_library
from tests.server import Server

QUESTION = "Extract name, city and order as JSON.\nHello, my name is Mara Weston and I live in Tessin, order KD-4821."
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": QUESTION}]
PROPERTIES = {
    "name": {"type": "string", "maxLength": 30},
    "city": {"enum": ["Tessin", "Rom"]},
    "n": {"type": "integer", "minimum": 0, "maximum": 999},
}
SCHEMA = {"type": "object", "properties": PROPERTIES, "required": ["name", "city"], "additionalProperties": False}
FORMAT: Any = {"type": "json_schema", "json_schema": {"name": "order", "schema": SCHEMA, "strict": True}}
SAMPLED = [SamplingParams(temperature=0), *(SamplingParams(temperature=1.5, seed=seed) for seed in range(5))]


class Asked:
    """An engine, and what its answers are made with."""

    def __init__(self, directory: Path, options: EngineOptions) -> None:
        artefact = load_artefact(directory, "quick")
        self.stop_ids = artefact.eos_token_ids
        self.tokenizer = Tokenizer.load(directory / TOKENIZER)
        self.engine = Engine.load(artefact, 2, options, LIBRARY)
        grammars = Grammars(self.tokenizer, artefact.vocab_size, artefact.eos_token_ids)
        self.make = grammars.compile(Grammar("json_schema", json.dumps(SCHEMA), "schema"))
        self.prompt = self.tokenizer.encode(QUESTION)

    def together(self, params: list[SamplingParams], free: int = 0) -> list[list[Token]]:
        """Answers with each of the parameters, and so many free ones beside them."""
        turns: Turns[int, Token] = Turns(self.engine.step)
        found: list[list[Token]] = [[] for _ in range(len(params) + free)]

        def begin(key: int) -> Any:
            chosen, constraint = (params[key], self.make()) if key < len(params) else (SamplingParams(seed=key), None)
            return self.engine.answer(self.prompt, chosen, 80, self.stop_ids, Cancellation(), constraint)

        for key in range(len(found)):
            turns.add(key, partial(begin, key))
        while turns:
            assert not any(turns.round(lambda key, token: found[key].append(token)).values())
        return found[: len(params)]


@needs_library
def test_nobodys_tokens_depend_on_the_batch_or_on_guesses(native_artefact: Path) -> None:
    alone = Asked(native_artefact, EngineOptions(keep_prefixes=False, lookup=False))
    expected = [[token.id for token in alone.together([params])[0]] for params in SAMPLED]
    for lookup in (False, True):
        several = Asked(native_artefact, EngineOptions(slots=8, keep_prefixes=False, lookup=lookup))
        found = several.together(SAMPLED, free=2)
        assert [[token.id for token in tokens] for tokens in found] == expected
    texts = [alone.tokenizer.decode_bytes(ids).decode() for ids in expected]
    assert all(json.loads(text).keys() >= {"name", "city"} for text in texts)


@needs_library
def test_what_is_forced_has_log_probabilities_too(native_artefact: Path) -> None:
    asked = Asked(native_artefact, EngineOptions())
    (tokens,) = asked.together([SamplingParams(temperature=0, top_logprobs=2)])
    assert all(token.logprob is not None and token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)
    assert [token.whole for token in tokens] == [False] * (len(tokens) - 1) + [True]


@needs_library
def test_an_answer_that_is_cancelled_leaves_its_slot(native_artefact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("handler.engine.engine.LONG_STEP_S", -1.0)  # with a mask on its way
    asked = Asked(native_artefact, EngineOptions())
    cancellation = Cancellation()
    params = SamplingParams(temperature=0)
    answer = asked.engine.generate(asked.prompt, params, 80, asked.stop_ids, cancellation, asked.make())
    next(answer)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        list(answer)
    assert asked.engine.slots.free == 1
    assert asked.together([params])


@pytest.fixture(scope="module")
def server(demo_artefact: Path) -> Iterator[Server]:
    server = Server(demo_artefact)
    yield server
    assert server.end() == (0, "")


@pytest.fixture(scope="module")
def client(server: Server) -> openai.OpenAI:
    return server.client()


def said(client: openai.OpenAI, server: Server, **members: Any) -> tuple[str, str]:
    answer = client.chat.completions.create(model=server.model, messages=MESSAGES, **members)
    return answer.choices[0].message.content or "", answer.choices[0].finish_reason


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_by_a_schema_is_valid_at_any_temperature(client: openai.OpenAI, server: Server, seed: int) -> None:
    text, reason = said(client, server, response_format=FORMAT, temperature=1.5, seed=seed)
    assert reason == "stop"
    assert json.loads(text)["city"] in ("Tessin", "Rom")


def test_streamed_it_is_the_same(client: openai.OpenAI, server: Server) -> None:
    members: Any = {"response_format": FORMAT, "temperature": 1.2, "seed": 3}
    stream = client.chat.completions.create(model=server.model, messages=MESSAGES, stream=True, **members)
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert streamed == said(client, server, **members)[0]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"guided_choice": ["left", "right"]}, {"left", "right"}),
        ({"guided_regex": "a{3}|b{3}"}, {"aaa", "bbb"}),
        ({"grammar": 'root ::= "x" ("y" | "z")'}, {"xy", "xz"}),
        ({"guided_grammar": 'start: "p" | "q"'}, {"p", "q"}),
        ({"structured_outputs": {"choice": ["1"]}}, {"1"}),
    ],
)
def test_every_kind_of_grammar_is_followed(
    client: openai.OpenAI, server: Server, members: dict[str, Any], expected: set[str]
) -> None:
    text, reason = said(client, server, extra_body=members, temperature=1.5)
    assert text in expected
    assert reason == "stop"


def test_an_answer_that_is_cut_off_says_so_and_a_whole_one_does_not(client: openai.OpenAI, server: Server) -> None:
    assert said(client, server, response_format=FORMAT, max_tokens=5)[1] == "length"
    whole = client.chat.completions.create(
        model=server.model, messages=MESSAGES, extra_body={"guided_choice": ["left"]}, temperature=0
    )
    assert whole.usage is not None
    count = whole.usage.completion_tokens
    assert said(client, server, extra_body={"guided_choice": ["left"]}, max_tokens=count) == ("left", "stop")


def test_a_bias_and_a_stop_string_go_with_a_grammar(client: openai.OpenAI, server: Server) -> None:
    bias = {str(id): -100 for id in range(1000)}
    text, _ = said(client, server, response_format=FORMAT, logit_bias=bias, temperature=0)
    assert json.loads(text)["city"] in ("Tessin", "Rom")
    assert said(client, server, response_format=FORMAT, stop=['"city"'])[0].endswith(", ")


def test_a_refusal_names_member_place_and_keyword(client: openai.OpenAI, server: Server) -> None:
    schema = {"properties": {"tags": {"type": "array", "uniqueItems": True}}}
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with pytest.raises(openai.BadRequestError) as caught:
        said(client, server, response_format=form)
    assert caught.value.param == "response_format.json_schema.schema"
    assert caught.value.code == "grammar_refused"
    assert "#/properties/tags/uniqueItems" in str(caught.value)


def test_completions_follow_grammars_too(client: openai.OpenAI, server: Server) -> None:
    answer = client.completions.create(
        model=server.model, prompt="Say", extra_body={"guided_json": {"const": [1, "a"]}}
    )
    assert answer.choices[0].text == '[1, "a"]'
