"""The committed checkpoint: its tokenizer, its chat template and its sizes agree with each other."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import jinja2.sandbox
import kitoken
import pytest
from tokenizers import Tokenizer

from demo.corpus import examples
from demo.tokenizer import SPECIAL_TOKENS, encode, learn

CHECKPOINT = Path(__file__).parents[2] / "demo" / "checkpoint"


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))


@pytest.fixture(scope="module")
def template() -> jinja2.Template:
    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = refuse
    return environment.from_string((CHECKPOINT / "chat_template.jinja").read_text(encoding="utf-8"))


def test_the_template_writes_what_training_saw(tokenizer: Tokenizer, template: jinja2.Template) -> None:
    for dialogue in examples(5, 0, 200):
        text = template.render(messages=dialogue, bos_token="<|begin_of_text|>")
        assert tokenizer.encode(text, add_special_tokens=False).ids == encode(tokenizer, dialogue)[0]


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
    assert config["vocab_size"] == tokenizer.get_vocab_size()
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
