"""The committed checkpoint: its tokenizer, its chat template and its sizes agree with each other."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import jinja2
import jinja2.sandbox
import kitoken
import pytest
from tokenizers import Tokenizer

from demo.corpus import examples
from demo.offers import (
    CALL_TOKENS,
    SCHEMA_HEAD,
    TOOLS_HEAD,
    TOOLS_TAIL,
    announce_schema,
    announce_tools,
    openai_tool,
    write_calls,
)
from demo.schemas import schemas
from demo.tokenizer import SPECIAL_TOKENS, encode, learn
from demo.tools import tools
from demo.words import Dialogue, Message

CHECKPOINT = Path(__file__).parents[2] / "demo" / "checkpoint"
CALLS = [{"name": "get_weather", "arguments": {"city": "Zürich"}}, {"name": "stop", "arguments": {}}]
TOOL = {"name": "stop", "description": "Stop <it>", "parameters": {"type": "object", "properties": {}}}


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))


@pytest.fixture(scope="module")
def template() -> jinja2.Template:
    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string((CHECKPOINT / "chat_template.jinja").read_text(encoding="utf-8"))


def test_the_template_writes_what_training_saw(tokenizer: Tokenizer, template: jinja2.Template) -> None:
    for dialogue in examples(5, 0, 200):
        text = template.render(messages=dialogue, bos_token="<|begin_of_text|>")
        assert tokenizer.encode(text, add_special_tokens=False).ids == encode(tokenizer, dialogue)[0]


def announced(system: str) -> tuple[str, dict[str, Any]]:
    """What a system turn says by itself, and the template's variables that wrote the rest."""
    before, found, schema = system.partition(SCHEMA_HEAD)
    if found:
        return before, {"json_schema": json.loads(schema)}
    before, found, listed = system.partition(TOOLS_HEAD)
    lines = listed.removesuffix(TOOLS_TAIL).split("\n") if found else []
    return before, {"tools": [openai_tool(json.loads(line)) for line in lines if line]}


def structured(message: Message) -> dict[str, Any]:
    """A message as a client sends it."""
    if not message["content"].startswith(CALL_TOKENS[0]):
        return dict(message)
    calls = [json.loads(line) for line in message["content"].splitlines() if line not in CALL_TOKENS]
    found = [{"type": "function", "id": str(index), "function": call} for index, call in enumerate(calls)]
    return {"role": "assistant", "content": None, "tool_calls": found}


def test_tools_calls_and_schemas_are_written_as_training_saw_them(template: jinja2.Template) -> None:
    dialogues: list[Dialogue] = [skill(Random(seed), False) for skill in (tools, schemas) for seed in range(100)]
    for dialogue in dialogues:
        before, variables = announced(dialogue[0]["content"])
        assert any(variables.values())
        system = [{"role": "system", "content": before}] if before else []
        messages = [*system, *map(structured, dialogue[1:])]
        plain = template.render(messages=dialogue, bos_token="")
        assert template.render(messages=messages, bos_token="", **variables) == plain


def test_tools_and_schema_follow_each_other_in_the_system_turn(template: jinja2.Template) -> None:
    schema = {"type": "object"}
    values = {"tools": [openai_tool(TOOL)], "json_schema": schema, "bos_token": ""}
    announcement = f"{announce_tools([TOOL])}\n{announce_schema(schema)}<|end|>"
    asked = {"role": "user", "content": "Hi"}
    assert template.render(messages=[asked], **values) == f"<|system|>{announcement}<|user|>Hi<|end|>"
    told = template.render(messages=[{"role": "system", "content": " Be brief. "}, asked], **values)
    assert told == f"<|system|>Be brief.\n{announcement}<|user|>Hi<|end|>"


@pytest.mark.parametrize("values", [{}, {"tools": None, "json_schema": None}, {"tools": []}])
def test_without_tools_and_schema_nothing_is_announced(template: jinja2.Template, values: dict[str, Any]) -> None:
    assert template.render(messages=[{"role": "user", "content": "Hi"}], bos_token="", **values) == "<|user|>Hi<|end|>"


@pytest.mark.parametrize(("content", "before"), [(None, ""), ("", ""), (" Well. ", "Well.\n")])
def test_content_comes_before_the_calls(template: jinja2.Template, content: str | None, before: str) -> None:
    calls = [{"type": "function", "id": "x", "function": call} for call in CALLS]
    messages = [{"role": "assistant", "content": content, "tool_calls": calls}, {"role": "tool", "content": "12"}]
    expected = f"<|assistant|>{before}{write_calls(CALLS)}<|end|><|tool|>12<|end|>"
    assert template.render(messages=messages, bos_token="") == expected


def test_a_message_without_content_is_empty(template: jinja2.Template) -> None:
    text = template.render(messages=[{"role": "assistant"}, {"role": "tool", "content": None}], bos_token="")
    assert text == "<|assistant|><|end|><|tool|><|end|>"


def test_the_marks_of_a_call_are_one_token_each_and_come_back_as_text(tokenizer: Tokenizer) -> None:
    text = write_calls(CALLS)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    marks = [tokenizer.token_to_id(token) for token in CALL_TOKENS]
    assert [i for i in ids if i in marks] == marks * 2
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_the_template_opens_the_answer(template: jinja2.Template) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Hello "}]
    text = template.render(messages=messages, bos_token="<|begin_of_text|>", add_generation_prompt=True)
    assert text == "<|begin_of_text|><|system|>Be brief.<|end|><|user|>Hello<|end|><|assistant|>"


def test_the_template_refuses_unknown_roles(template: jinja2.Template) -> None:
    with pytest.raises(jinja2.TemplateError, match="critic"):
        template.render(messages=[{"role": "critic", "content": "Hm."}], bos_token="")


def test_only_answers_are_learnt(tokenizer: Tokenizer) -> None:
    ids, learnt = encode(tokenizer, [{"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": "2"}])
    assert tokenizer.decode([i for i, mark in zip(ids, learnt, strict=True) if mark], False) == "2<|end|>"


@pytest.mark.parametrize("text", ["Grüße, 日本語 \U0001f600", "a\t b\r\n\n  c", "it's 1,024 MB", "\x00\x7f"])
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_kitoken_gives_the_same_ids(tokenizer: Tokenizer) -> None:
    fast = kitoken.Kitoken.from_file(str(CHECKPOINT / "tokenizer.json"))
    for dialogue in [*examples(7, 0, 300), [{"role": "user", "content": "Grüße\r\n\n  x\t7  <|end|> it's 'LL 日本"}]]:
        text = "".join(f"<|{message['role']}|>{message['content']}<|end|>" for message in dialogue)
        assert list(fast.encode(text, True)) == tokenizer.encode(text, add_special_tokens=False).ids


def test_a_name_costs_the_same_tokens_everywhere(tokenizer: Tokenizer) -> None:
    name = tokenizer.encode("Velmarin").tokens
    for text in ("I am Velmarin", '"Velmarin', "(Velmarin", "name=Velmarin"):
        assert tokenizer.encode(text).tokens[-len(name) :] == name


def test_digits_are_single_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("1769").tokens == ["1", "7", "6", "9"]


def test_config_and_tokenizer_agree(tokenizer: Tokenizer) -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    assert config["vocab_size"] == tokenizer.get_vocab_size() == 2048
    assert config["hidden_size"] % 256 == config["intermediate_size"] % 256 == 0
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == list(range(len(SPECIAL_TOKENS)))
    generation = json.loads((CHECKPOINT / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["eos_token_id"] == [
        tokenizer.token_to_id("<|end|>"),
        tokenizer.token_to_id("<|end_of_text|>"),
    ]


def test_the_checkpoint_is_small() -> None:
    assert sum(path.stat().st_size for path in CHECKPOINT.iterdir()) < 16e6


def test_learning_the_tokenizer_is_deterministic() -> None:
    dialogues = list(examples(0, 0, 500))
    assert learn(dialogues).to_str() == learn(dialogues).to_str()
