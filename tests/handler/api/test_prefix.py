from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from handler.api.chat import parse_chat
from handler.api.completions import parse_completion
from handler.api.prefix import Beginning, read_beginning
from handler.api.prompt import Prompts
from handler.artefact import load_artefact
from handler.errors import PromptRefused
from handler.settings import Settings
from handler.start.loading import load_template, load_tokenizer, make_prompts, make_served
from handler.text.template import ChatTemplate

SYSTEM = {"role": "system", "content": "You answer in one short sentence."}
DATED = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}{{ strftime_now('%j') }}"
)


@pytest.fixture
def prompts(demo_artefact: Path) -> Prompts:
    artefact = load_artefact(demo_artefact, "quick")
    return make_prompts(artefact, load_tokenizer(artefact), load_template(artefact))


@pytest.fixture
def read(prompts: Prompts, demo_artefact: Path, tmp_path: Path) -> Any:
    """Write a file and read it as a beginning; bytes are written as they are, all else as JSON."""
    served = make_served(load_artefact(demo_artefact, "quick"), Settings(demo_artefact))

    def read(content: object, name: str = "p.json", prompts: Prompts = prompts) -> Beginning:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return read_beginning(tmp_path / name, served, prompts)

    read.served = served  # type: ignore[attr-defined]
    return read


def chat_ids(read: Any, prompts: Prompts, *messages: Any) -> list[int]:
    return list(parse_chat({"model": read.served.model_id, "messages": [*messages]}, read.served).prompt_ids(prompts))


def text_ids(read: Any, prompts: Prompts, text: str) -> list[int]:
    return list(parse_completion({"model": read.served.model_id, "prompt": text}, read.served).prompt_ids(prompts))


@pytest.mark.parametrize("content", ["What is 2 + 2?", "\nA", "…", "Zebra 7"])
def test_messages_give_what_every_chat_begins_with(content: str, read: Any, prompts: Prompts) -> None:
    ids = read([SYSTEM]).ids
    found = chat_ids(read, prompts, SYSTEM, {"role": "user", "content": content})
    assert found[: len(ids)] == list(ids)
    # All but the user's words, the end of the turn and the assistant's tag.
    empty = chat_ids(read, prompts, SYSTEM, {"role": "user", "content": ""})
    assert len(ids) == len(empty) - 2


def test_messages_that_end_with_the_users_hold_the_whole_prompt(read: Any, prompts: Prompts) -> None:
    messages = [SYSTEM, {"role": "user", "content": "hello"}]
    assert list(read(messages).ids) == chat_ids(read, prompts, *messages)


def test_a_requests_body_will_do(read: Any) -> None:
    body = {"model": "any", "messages": [SYSTEM], "temperature": 0.5}
    assert read(body).ids == read([SYSTEM]).ids


def test_variables_of_the_template_are_the_bodys(read: Any, prompts: Prompts) -> None:
    other = replace(prompts, template=ChatTemplate("{{ word }} {{ messages[0].content }}", {}))
    ids = read({"messages": [SYSTEM], "chat_template_kwargs": {"word": "seven"}}, prompts=other).ids
    assert prompts.tokenizer.decode_bytes(ids).startswith(b"seven You answer")


def test_a_text_gives_what_every_longer_one_begins_with(read: Any, prompts: Prompts) -> None:
    text = "Once upon a time there was a little girl"
    ids = list(read(text.encode(), "p.txt").ids)
    for rest in (" and a dog", "s", "...", "'s", "\n\nThe", "42"):
        assert text_ids(read, prompts, text + rest)[: len(ids)] == ids
    assert len(ids) >= len(text_ids(read, prompts, text)) - 2


def test_ids_are_taken_as_they_are(read: Any) -> None:
    assert list(read({"prompt": [5, 6, 7]}).ids) == [5, 6, 7]


def test_behind_a_date_nothing_is_common(read: Any, prompts: Prompts) -> None:
    dated = replace(prompts, template=ChatTemplate("<|system|>It is {{ strftime_now('%d %b') }}. " + DATED, {}))
    beginning = read([SYSTEM], prompts=dated)
    assert prompts.tokenizer.decode_bytes(beginning.ids).startswith(b"It is")
    assert b"answer" not in prompts.tokenizer.decode_bytes(beginning.ids)
    assert beginning.daily > 5


def test_a_date_at_the_end_of_all_costs_nothing(read: Any, prompts: Prompts) -> None:
    assert read([SYSTEM], prompts=replace(prompts, template=ChatTemplate(DATED, {}))).daily == 0


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        ([], "p.json", "messages must be at least one message"),
        ({}, "p.json", "missing required parameter: messages"),
        ("text", "p.json", "it holds neither an array of messages nor an object"),
        (b"[{", "p.json", "it is no JSON"),
        (b"[" * 100_000, "p.json", "it is no JSON"),
        (b"\xff", "p.txt", "it is no text in UTF-8"),
        (b"", "p.txt", "tokens in common, not 2; lengthen it"),
        (b"text", "p.md", r"its name ends neither in \.json"),
        ([{"role": "wizard", "content": "hi"}], "p.json", r"messages\[0\]\.role must be one of .*, got 'wizard'"),
        ([{"role": "system"}], "p.json", r"missing required parameter: messages\[0\]\.content"),
        ({"prompt": [1, 99_999]}, "p.json", r"prompt\[1\] must be a token id below 2048"),
        ({"prompt": [1]}, "p.json", "have 1 tokens in common"),
        ({"messages": [SYSTEM], "chat_template_kwargs": {"messages": 1}}, "p.json", "chat_template_kwargs must be"),
        ([{"role": "system", "content": "word " * 2000}], "p.json", r"tokens, and the context of 1024 must hold"),
        ([{"role": "system", "content": "\ud800"}], "p.json", "lone surrogate"),
    ],
)
def test_what_can_be_no_prefix_is_refused(content: object, name: str, said: str, read: Any) -> None:
    with pytest.raises(PromptRefused, match=rf"{name} can't be a prefix: .*{said}"):
        read(content, name)


def test_a_missing_file_is_refused(read: Any, prompts: Prompts, tmp_path: Path) -> None:
    with pytest.raises(PromptRefused, match=r"none\.json can't be a prefix: No such file"):
        read_beginning(tmp_path / "none.json", read.served, prompts)


def test_a_base_model_takes_no_messages(read: Any, prompts: Prompts) -> None:
    with pytest.raises(PromptRefused, match="has no chat template; use /v1/completions"):
        read([SYSTEM], prompts=replace(prompts, template=None))


def test_a_template_that_refuses_the_messages_says_why(read: Any, prompts: Prompts) -> None:
    strict = replace(prompts, template=ChatTemplate("{{ raise_exception('no system') }}", {}))
    with pytest.raises(PromptRefused, match="refused the messages: no system"):
        read([SYSTEM], prompts=strict)
