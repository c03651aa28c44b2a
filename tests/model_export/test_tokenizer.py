from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kitoken import Kitoken
from tokenizers import Tokenizer, processors

from model_export.config import load_config
from model_export.errors import ConfigInvalid, TokenizerInvalid
from model_export.tokenizer import (
    PROBES,
    TokenizerFacts,
    check_parity,
    load_tokenizer,
    read_facts,
    sampling_defaults,
    tokenizer_files,
    write_binary,
)
from tests.model_export.helpers import edit_json


def facts(checkpoint: Path) -> TokenizerFacts:
    return read_facts(checkpoint, load_config(checkpoint), load_tokenizer(checkpoint))


def edit_tokenizer(checkpoint: Path, **changes: Any) -> None:
    edit_json(checkpoint / "tokenizer.json", **changes)


# ---------------------------------------------------------------- loading


def test_a_missing_tokenizer(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(TokenizerInvalid, match=r"tokenizer\.json is missing$"):
        load_tokenizer(checkpoint)


def test_sentencepiece_alone_gets_a_hint(checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").rename(checkpoint / "tokenizer.model")
    with pytest.raises(TokenizerInvalid, match=r"convert tokenizer\.model with transformers"):
        load_tokenizer(checkpoint)


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"\xff", b'{"model": 1}'])
def test_a_malformed_tokenizer(content: bytes, checkpoint: Path) -> None:
    (checkpoint / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerInvalid, match=r"tokenizer\.json can't be loaded"):
        load_tokenizer(checkpoint)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "generation_config.json"])
def test_a_malformed_companion(name: str, checkpoint: Path) -> None:
    (checkpoint / name).write_text("{")
    with pytest.raises(ConfigInvalid, match=name):
        facts(checkpoint)


def test_truncation_and_padding_are_switched_off(checkpoint: Path) -> None:
    tokenizer = load_tokenizer(checkpoint)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(checkpoint / "tokenizer.json"))
    assert len(load_tokenizer(checkpoint).encode("a b c d e f", add_special_tokens=False).ids) > 9


# ---------------------------------------------------------------- special tokens


def test_a_vocabulary_larger_than_the_config_s(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", vocab_size=319)
    with pytest.raises(TokenizerInvalid, match=r"id 319, but vocab_size in config\.json is 319"):
        facts(checkpoint)


def test_a_padded_vocabulary_is_no_mistake(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", vocab_size=400)
    assert facts(checkpoint).bos_token_id == 0


def test_end_of_text_comes_from_generation_config_and_the_tokenizer(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", eos_token_id=7)
    edit_json(checkpoint / "generation_config.json", eos_token_id=[1, 3])
    assert facts(checkpoint).eos_token_ids == (1, 3, 4)


def test_end_of_text_comes_from_the_config_if_nothing_else_says(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", eos_token_id=7)
    edit_json(checkpoint / "generation_config.json", eos_token_id=...)
    assert facts(checkpoint).eos_token_ids == (4, 7)


def test_the_end_of_a_message_that_calls_ends_an_answer_too(checkpoint: Path) -> None:
    before = facts(checkpoint).eos_token_ids
    tokenizer = load_tokenizer(checkpoint)
    tokenizer.add_special_tokens(["<|eom_id|>"])
    tokenizer.save(str(checkpoint / "tokenizer.json"))
    edit_json(checkpoint / "config.json", vocab_size=400)
    assert set(facts(checkpoint).eos_token_ids) == {*before, tokenizer.token_to_id("<|eom_id|>")}


def test_no_end_of_text_at_all(checkpoint: Path) -> None:
    edit_json(checkpoint / "config.json", eos_token_id=...)
    (checkpoint / "generation_config.json").unlink()
    (checkpoint / "tokenizer_config.json").unlink()
    assert facts(checkpoint).eos_token_ids == ()


def test_an_end_of_text_outside_of_the_vocabulary(checkpoint: Path) -> None:
    edit_json(checkpoint / "generation_config.json", eos_token_id=[1, 320])
    with pytest.raises(TokenizerInvalid, match="eos_token_id 320 is outside of the vocabulary of 320"):
        facts(checkpoint)


def test_an_end_of_text_of_the_wrong_type(checkpoint: Path) -> None:
    edit_json(checkpoint / "generation_config.json", eos_token_id="</s>")
    with pytest.raises(ConfigInvalid, match=r"eos_token_id in generation_config\.json"):
        facts(checkpoint)


def test_special_tokens_may_be_objects(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", bos_token={"content": "<|eot_id|>"}, eos_token=None)
    found = facts(checkpoint)
    assert found.special_tokens == {"bos_token": "<|eot_id|>"}
    assert found.bos_token_id == 4


def test_what_the_post_processor_adds(checkpoint: Path) -> None:
    assert facts(checkpoint).prefix_ids == (0,)
    assert facts(checkpoint).suffix_ids == ()


def test_a_suffix(checkpoint: Path) -> None:
    tokenizer = load_tokenizer(checkpoint)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A <|eot_id|>",
        pair=None,
        special_tokens=[("<|begin_of_text|>", 0), ("<|eot_id|>", 4)],
    )
    tokenizer.save(str(checkpoint / "tokenizer.json"))
    assert facts(checkpoint).prefix_ids == (0,)
    assert facts(checkpoint).suffix_ids == (4,)


def test_neither_prefix_nor_suffix(checkpoint: Path) -> None:
    edit_tokenizer(checkpoint, post_processor=None)
    assert (facts(checkpoint).prefix_ids, facts(checkpoint).suffix_ids) == ((), ())


# ---------------------------------------------------------------- chat template


def test_the_template_of_the_tokenizer_config(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", chat_template="{{ one }}")
    assert facts(checkpoint).chat_template == "{{ one }}"


def test_the_default_of_several_templates(checkpoint: Path) -> None:
    named = [{"name": "tool_use", "template": "{{ tools }}"}, {"name": "default", "template": "{{ two }}"}]
    edit_json(checkpoint / "tokenizer_config.json", chat_template=named)
    assert facts(checkpoint).chat_template == "{{ two }}"


def test_a_template_file_comes_first(checkpoint: Path) -> None:
    (checkpoint / "chat_template.jinja").write_text("{{ 'ü' }}", encoding="utf-8")
    found = facts(checkpoint)
    assert found.chat_template == "{{ 'ü' }}"
    assert tokenizer_files(checkpoint, found)["chat_template.jinja"] == "{{ 'ü' }}".encode()


def test_a_base_model_has_none(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", chat_template=...)
    found = facts(checkpoint)
    assert found.chat_template is None
    assert set(tokenizer_files(checkpoint, found)) == {"tokenizer.json"}


@pytest.mark.parametrize("template", [5, {"a": "b"}, [{"name": "default", "template": 5}]])
def test_a_template_of_the_wrong_type(template: Any, checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", chat_template=template)
    with pytest.raises(TokenizerInvalid, match="chat_template"):
        facts(checkpoint)


@pytest.mark.parametrize("template", [[{"name": ["default"], "template": "x"}], [5], []])
def test_a_list_of_templates_without_a_default(template: Any, checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", chat_template=template)
    assert facts(checkpoint).chat_template is None


def test_a_template_file_that_is_no_text(checkpoint: Path) -> None:
    (checkpoint / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(TokenizerInvalid, match=r"chat_template\.jinja can't be read"):
        facts(checkpoint)


def test_a_template_with_half_a_character(checkpoint: Path) -> None:
    edit_json(checkpoint / "tokenizer_config.json", chat_template="\ud800")
    with pytest.raises(ConfigInvalid, match=r"tokenizer_config\.json can't be read as JSON.*surrogates"):
        facts(checkpoint)


# ---------------------------------------------------------------- both forms


def test_both_forms_agree(checkpoint: Path, tmp_path: Path) -> None:
    write_binary(tmp_path, checkpoint / "tokenizer.json")
    assert check_parity(load_tokenizer(checkpoint), tmp_path / "tokenizer.kit", "{{ x }}") == len(PROBES) + 1 + 5 * 2


def test_of_added_tokens_that_begin_alike_both_forms_take_the_longest(checkpoint: Path, tmp_path: Path) -> None:
    tokens = json.loads((checkpoint / "tokenizer.json").read_text())["added_tokens"]
    size = load_tokenizer(checkpoint).get_vocab_size()
    runs = [{**tokens[0], "id": size + i, "content": " " * (i + 2), "special": False} for i in range(3)]
    edit_tokenizer(checkpoint, added_tokens=tokens + runs)
    write_binary(tmp_path, checkpoint / "tokenizer.json")
    reference = load_tokenizer(checkpoint)
    check_parity(reference, tmp_path / "tokenizer.kit")
    assert size + 2 in reference.encode("a    b").ids


def test_a_binary_form_of_another_tokenizer_is_noticed(checkpoint: Path, demo_artefact: Path) -> None:
    with pytest.raises(TokenizerInvalid, match="the two forms of the tokenizer differ on 'Hello, world!'"):
        check_parity(load_tokenizer(checkpoint), demo_artefact / "tokenizer.kit")


def test_a_difference_in_the_template_s_own_text_is_noticed(checkpoint: Path, tmp_path: Path) -> None:
    write_binary(tmp_path, checkpoint / "tokenizer.json")
    tokenizer = load_tokenizer(checkpoint)
    other = json.loads(tokenizer.to_str())
    other["added_tokens"] = [t for t in other["added_tokens"] if t["id"] != 2]
    with pytest.raises(TokenizerInvalid, match="differ on"):
        check_parity(Tokenizer.from_str(json.dumps(other)), tmp_path / "tokenizer.kit", "<|start_header_id|>")


@pytest.mark.parametrize("content", [b"", b"kitoken", bytes(1000), b"kitoken\x00\x01\x060.11.1"])
def test_a_corrupt_binary_form_is_refused(content: bytes, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.kit").write_bytes(content)
    with pytest.raises(TokenizerInvalid, match=r"tokenizer\.kit can't be loaded"):
        check_parity(load_tokenizer(checkpoint), tmp_path / "tokenizer.kit")


def test_what_kitoken_cannot_do_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    edit_tokenizer(checkpoint, model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"})
    with pytest.raises(TokenizerInvalid, match="can't be converted to kitoken's form"):
        write_binary(tmp_path, checkpoint / "tokenizer.json")


def test_the_binary_form_is_kitoken_s(checkpoint: Path, tmp_path: Path) -> None:
    write_binary(tmp_path, checkpoint / "tokenizer.json")
    expected = load_tokenizer(checkpoint).encode("some text", add_special_tokens=False).ids
    assert list(Kitoken.from_file(str(tmp_path / "tokenizer.kit")).encode("some text", True)) == expected


# ---------------------------------------------------------------- sampling


def test_recommended_sampling(checkpoint: Path) -> None:
    edit_json(checkpoint / "generation_config.json", top_k=40, min_p=0.05, repetition_penalty=1.1, max_length=9)
    assert sampling_defaults(checkpoint) == {
        "temperature": 0.6,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repetition_penalty": 1.1,
    }


def test_a_model_that_wants_greedy_gets_it(checkpoint: Path) -> None:
    edit_json(checkpoint / "generation_config.json", do_sample=False)
    assert sampling_defaults(checkpoint)["temperature"] == 0.0


def test_no_recommendation(checkpoint: Path) -> None:
    (checkpoint / "generation_config.json").unlink()
    assert sampling_defaults(checkpoint) == {}


def test_null_recommends_nothing(checkpoint: Path) -> None:
    edit_json(checkpoint / "generation_config.json", temperature=None, top_p=None)
    assert sampling_defaults(checkpoint) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", "hot"),
        ("temperature", True),
        ("temperature", float("nan")),
        ("temperature", -0.5),
        ("top_p", float("-inf")),
        ("top_p", 1.5),
        ("top_k", 4.5),
        ("top_k", 10**400),
        ("min_p", [0.1]),
        ("repetition_penalty", 0),
    ],
)
def test_an_impossible_recommendation_is_refused_by_name(key: str, value: Any, checkpoint: Path) -> None:
    edit_json(checkpoint / "generation_config.json", **{key: value})
    with pytest.raises(ConfigInvalid, match=rf"{key} in generation_config\.json"):
        sampling_defaults(checkpoint)
