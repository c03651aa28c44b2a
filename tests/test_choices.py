"""Choices, scores and tokens of the demo model, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.server import Server

MESSAGES: Any = [{"role": "user", "content": "Tell me a story about a fox and a bridge, please."}]
SAMPLED: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 24, "temperature": 1.2, "seed": 7}


@pytest.fixture(scope="module", params=["1", "4"])
def server(request: pytest.FixtureRequest, native_artefact: Path) -> Iterator[Server]:
    """With one slot and with several: answers are the same."""
    server = Server(native_artefact, FIREBRICK_SLOTS=request.param, FIREBRICK_MODEL_ALIASES="gpt-4o, other")
    yield server
    assert server.end() == (0, "")


def post(server: Server, path: str = "/v1/chat/completions", **body: Any) -> Any:
    answer = httpx.post(f"{server.url}{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def said(answer: Any) -> list[tuple[str, str]]:
    choices = sorted(answer["choices"], key=itemgetter("index"))
    return [(choice["message"]["content"], choice["finish_reason"]) for choice in choices]


def test_choices_are_what_requests_of_their_seeds_get(server: Server) -> None:
    together = post(server, **SAMPLED, n=3)
    alone = [post(server, **SAMPLED | {"seed": 7 + index}) for index in range(3)]
    assert said(together) == [said(answer)[0] for answer in alone]
    assert len(set(said(together))) == 3
    usage = together["usage"]
    assert usage["prompt_tokens"] == alone[0]["usage"]["prompt_tokens"]
    assert usage["completion_tokens"] == sum(answer["usage"]["completion_tokens"] for answer in alone)


def test_a_stream_has_the_same_choices(server: Server) -> None:
    client = server.client()
    stream = client.chat.completions.create(model=server.model, **SAMPLED, n=3, stream=True)
    texts, ends = ["", "", ""], 0
    for chunk in stream:
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        ends += choice.finish_reason is not None
    assert texts == [text for text, _ in said(post(server, **SAMPLED, n=3))]
    assert ends == 3


def test_prompts_have_their_choices_in_order(server: Server) -> None:
    prompts = ["Once upon a time", "The fox", [9, 10, 11]]
    body: dict[str, Any] = {"max_tokens": 8, "temperature": 1.0, "seed": 3}
    together = post(server, "/v1/completions", prompt=prompts, n=2, **body)["choices"]
    alone = [post(server, "/v1/completions", prompt=prompt, n=2, **body)["choices"] for prompt in prompts]
    expected = [choice["text"] for choices in alone for choice in choices]
    assert [choice["text"] for choice in sorted(together, key=itemgetter("index"))] == expected


def test_the_harness_gets_its_scores(server: Server) -> None:
    """The requests of lm-evaluation-harness's local-completions, and what it reads from the answers."""
    contexts = ["The sky is", "Once upon a time, there was a"]
    ids = [post(server, "/tokenize", prompt=text)["tokens"] for text in contexts]
    wholes = [[*begun, *post(server, "/tokenize", content=" little fox.")["tokens"]] for begun in ids]
    asked = {"model": server.model, "prompt": wholes, "temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234}
    answer = post(server, "/v1/completions", **asked, echo=True)
    for choice, begun, whole in zip(sorted(answer["choices"], key=itemgetter("index")), ids, wholes, strict=True):
        logprobs = choice["logprobs"]
        scores = logprobs["token_logprobs"][len(begun) : -1]
        assert len(scores) == len(whole) - len(begun)
        assert sum(scores) < 0
        greedy = [max(top.values()) for top in logprobs["top_logprobs"][len(begun) : -1]]
        assert all(best >= score for best, score in zip(greedy, scores, strict=True))
        assert logprobs["token_logprobs"][0] is None
        offsets = logprobs["text_offset"]
        assert offsets == sorted(offsets)
        assert choice["text"][offsets[len(begun)] :].startswith(" little fox.")
        # The plain path: each token as the one that comes behind those before it.
        for place, score in enumerate(scores, len(begun)):
            step = post(
                server,
                "/v1/completions",
                prompt=whole[:place],
                max_tokens=1,
                logprobs=5,
                logit_bias={whole[place]: 100},
            )
            assert step["choices"][0]["logprobs"]["token_logprobs"][0] == pytest.approx(score, abs=0.15)


def test_an_echo_without_an_answer(server: Server) -> None:
    answer = post(server, "/v1/completions", prompt="The fox", echo=True, max_tokens=0)
    assert (answer["choices"][0]["text"], answer["usage"]["completion_tokens"]) == ("The fox", 0)


def test_an_answer_ends_where_it_is_told(server: Server) -> None:
    sampled: dict[str, Any] = {"temperature": 2.0, "frequency_penalty": 2.0, "seed": 5, "ignore_eos": True}
    body = {"prompt": "Once upon a time", "max_tokens": 12, **sampled}
    said = post(server, "/v1/completions", **body, logprobs=0)["choices"][0]["logprobs"]["tokens"]
    place = next(place for place in range(1, len(said)) if said[place] not in said[:place])
    (stop,) = post(server, "/tokenize", content=said[place])["tokens"]
    short = post(server, "/v1/completions", **body, stop_token_ids=[stop])
    assert short["usage"]["completion_tokens"] == place
    assert short["choices"][0]["finish_reason"] == "stop"
    longer = post(server, "/v1/completions", **body, stop_token_ids=[stop], min_tokens=place + 4)
    assert longer["usage"]["completion_tokens"] >= place + 4


def test_who_ignores_the_end_gets_all_tokens(server: Server) -> None:
    assert post(server, messages=MESSAGES, max_tokens=300, ignore_eos=True)["usage"]["completion_tokens"] == 300


def test_the_assistants_message_goes_on(server: Server) -> None:
    begun = [*MESSAGES, {"role": "assistant", "content": "Once upon"}]
    written = post(server, "/apply-template", messages=begun, continue_final_message=True)["prompt"]
    assert written.endswith("Once upon")
    prompt = post(server, "/tokenize", content=written)["tokens"]
    raw = post(server, "/v1/completions", prompt=prompt, max_tokens=6, temperature=0)["choices"][0]["text"]
    answer = post(server, messages=begun, continue_final_message=True, max_tokens=6, temperature=0)
    assert said(answer)[0][0] == raw


def test_any_alias_is_the_model(server: Server) -> None:
    client = server.client()
    assert [card.id for card in client.models.list()] == [server.model, "gpt-4o", "other"]
    assert client.models.retrieve("other").id == "other"
    assert post(server, messages=MESSAGES, model="gpt-4o", max_tokens=1)["model"] == server.model
    assert post(server, messages=MESSAGES, max_tokens=1)["model"] == server.model
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another")
