from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kitoken import Kitoken
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from model_export.errors import ConfigInvalid, TokenizerInvalid, TokenizerUnsupported
from model_export.gguf.pretokenizers import PRE_TOKENIZERS
from model_export.source import Source, resolve
from model_export.tokenizer import PROBES, check_parity, load_tokenizer, read_facts, write_binary
from tests.model_export.gguf.helpers import write_gguf

Add = Callable[[gguf.GGUFWriter], object]
KIND = gguf.TokenType


def sourced(path: Path, change: Add) -> Source:
    """A model of almost nothing but a tokenizer."""
    writer = gguf.GGUFWriter(path, "llama")
    for add in (writer.add_embedding_length, writer.add_feed_forward_length, writer.add_context_length):
        add(64)
    writer.add_head_count(1)
    writer.add_block_count(1)
    change(writer)
    writer.add_tensor("token_embd.weight", np.zeros((400, 64), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return resolve(str(path), None)


MERGES = ["t h", "th e", "Ġ the", "a n", "1 2", "12 3", "Ċ Ċ"]


def byte_level(writer: gguf.GGUFWriter, pre: str | None = "gpt-2", merges: Sequence[str] | None = MERGES) -> None:
    tokens = ["<|endoftext|>", "<tool>", *sorted(ByteLevel.alphabet()), *(m.replace(" ", "") for m in MERGES), "[PAD1]"]
    kinds = [KIND.CONTROL, KIND.USER_DEFINED, *[KIND.NORMAL] * (len(tokens) - 3), KIND.UNUSED]
    writer.add_tokenizer_model("gpt2")
    if pre is not None:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if merges is not None:
        writer.add_token_merges(list(merges))
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


PIECES = {"▁the": -1.0, "the": -4.0, "th": -2.0, "▁t": -3.0, "he": -2.5, "▁": -6.0, "t": -7.0, "h": -8.0, "e": -9.0}


def sentencepiece(writer: gguf.GGUFWriter) -> None:
    plain = [*PIECES, *"abcdé,!"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *plain]
    kinds = [KIND.UNKNOWN, KIND.CONTROL, KIND.CONTROL, *[KIND.BYTE] * 256, *[KIND.NORMAL] * len(plain)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_scores([0.0] * 259 + [PIECES.get(piece, -20.0) for piece in plain])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def loaded(path: Path, change: Add) -> Tokenizer:
    return load_tokenizer(sourced(path, change).directory)


def tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return tokenizer.encode(text, add_special_tokens=False).tokens


def both_forms(directory: Path, source: Source) -> tuple[Tokenizer, Kitoken]:
    (directory / "tokenizer.json").write_bytes((source.directory / "tokenizer.json").read_bytes())
    write_binary(directory, directory / "tokenizer.json")
    return load_tokenizer(source.directory), Kitoken((directory / "tokenizer.kit").read_bytes())


# ---------------------------------------------------------------- byte level


@pytest.mark.parametrize("name", sorted(PRE_TOKENIZERS))
def test_every_pre_tokenizer_is_the_same_in_both_forms(name: str, tmp_path: Path) -> None:
    tokenizer, _ = both_forms(tmp_path, sourced(tmp_path / "x.gguf", lambda w: byte_level(w, name)))
    assert check_parity(tokenizer, tmp_path / "tokenizer.kit") == len(PROBES) + 2 * 2


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-2", ["I", "'ll", " say", " 1234", " ,", "\n\n ", " x"]),
        ("smollm", ["I", "'ll", " say", " ", "1", "2", "3", "4", " ,", "\n\n ", " x"]),
        ("llama-bpe", ["I", "'ll", " say", " ", "123", "4", " ,\n\n", " ", " x"]),
        ("qwen2", ["I", "'ll", " say", " ", "1", "2", "3", "4", " ,\n\n", " ", " x"]),
        ("tekken", ["I", "'ll", " say", " ", "1", "2", "3", "4", " ,\n\n", " ", " x"]),
    ],
)
def test_words_are_cut_as_the_name_says(name: str, words: list[str], tmp_path: Path) -> None:
    tokenizer = loaded(tmp_path / "x.gguf", lambda w: byte_level(w, name))
    text = "I'll say 1234 ,\n\n  x"
    pieces = tokenizer.pre_tokenizer.pre_tokenize_str(text)
    assert [text[start:end] for _, (start, end) in pieces] == words


def test_merges_are_applied_and_unused_tokens_left_out(tmp_path: Path) -> None:
    tokenizer = loaded(tmp_path / "x.gguf", byte_level)
    assert tokens(tokenizer, "the the<tool>[PAD1]<|endoftext|>") == [
        *("the", "Ġthe", "<tool>", "[", "P", "A", "D", "1", "]", "<|endoftext|>"),
    ]


def test_a_tool_s_token_is_written_and_a_control_token_is_not(tmp_path: Path) -> None:
    tokenizer = loaded(tmp_path / "x.gguf", byte_level)
    assert tokenizer.decode([1, 0], skip_special_tokens=True) == "<tool>"


@pytest.mark.parametrize("name", ["deepseek-llm", "no-such"])
def test_an_unknown_pre_tokenizer_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(TokenizerUnsupported, match=f"pre-tokenizer '{name}' isn't supported; these are: a.x-4.0,"):
        sourced(tmp_path / "x.gguf", lambda w: byte_level(w, name))


def test_a_file_older_than_the_names(tmp_path: Path) -> None:
    with pytest.raises(TokenizerUnsupported, match="too old to say how text is cut"):
        sourced(tmp_path / "x.gguf", lambda w: byte_level(w, None))


@pytest.mark.parametrize("merge", ["the", "a b c", " a", "a "])
def test_a_merge_that_is_none(merge: str, tmp_path: Path) -> None:
    with pytest.raises(TokenizerInvalid, match=f"the merge '{merge}' isn't two texts"):
        sourced(tmp_path / "x.gguf", lambda w: byte_level(w, merges=["t h", merge]))


def test_a_merge_of_unknown_tokens(tmp_path: Path) -> None:
    with pytest.raises(TokenizerInvalid, match="can't be loaded"):
        loaded(tmp_path / "x.gguf", lambda w: byte_level(w, merges=["zz y"]))


def test_no_merges(tmp_path: Path) -> None:
    with pytest.raises(TokenizerInvalid, match=r"has no tokenizer\.ggml\.merges"):
        sourced(tmp_path / "x.gguf", lambda w: byte_level(w, merges=None))


# ---------------------------------------------------------------- SentencePiece


def test_the_best_piece_is_made_first(tmp_path: Path) -> None:
    tokenizer = loaded(tmp_path / "x.gguf", sentencepiece)
    # In "▁the": th (-2) comes before he (-2.5) and ▁t (-3); ▁the can't be made of ▁ and the, which is made too.
    assert tokens(tokenizer, "the") == ["▁the"]
    assert tokens(tokenizer, "the hab") == ["▁the", "▁", "h", "a", "b"]


def test_what_no_piece_has_is_written_in_bytes(tmp_path: Path) -> None:
    tokenizer = loaded(tmp_path / "x.gguf", sentencepiece)
    assert tokens(tokenizer, "aß") == ["▁", "a", "<0xC3>", "<0x9F>"]
    assert tokenizer.decode(tokenizer.encode("the ß 🙂", add_special_tokens=False).ids) == "the ß 🙂"


def test_it_begins_with_bos_unless_the_file_says_no(tmp_path: Path) -> None:
    assert loaded(tmp_path / "x.gguf", sentencepiece).encode("a").ids[0] == 1

    def without(writer: gguf.GGUFWriter) -> None:
        sentencepiece(writer)
        writer.add_add_bos_token(False)
        writer.add_add_eos_token(True)

    assert loaded(tmp_path / "y.gguf", without).encode("a").tokens == ["▁", "a", "</s>"]


def test_no_space_is_added_where_the_file_says_so(tmp_path: Path) -> None:
    def without(writer: gguf.GGUFWriter) -> None:
        sentencepiece(writer)
        writer.add_add_space_prefix(False)

    tokenizer = loaded(tmp_path / "x.gguf", without)
    assert tokens(tokenizer, "a the") == ["a", "▁the"]
    assert tokenizer.decode(tokenizer.encode(" a", add_special_tokens=False).ids) == " a"


@given(text=st.text(alphabet="abthe é!,ß🙂\n", max_size=12))
def test_both_forms_agree(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    tokenizer, fast = _once(tmp_path_factory)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert list(fast.encode(text, True)) == ids
    assert fast.decode(ids, False).decode(errors="replace") == tokenizer.decode(ids)


_MADE: list[tuple[Tokenizer, Kitoken]] = []


def _once(factory: pytest.TempPathFactory) -> tuple[Tokenizer, Kitoken]:
    if not _MADE:
        directory = factory.mktemp("vocabulary")
        _MADE.append(both_forms(directory, sourced(directory / "x.gguf", sentencepiece)))
    return _MADE[0]


def test_scores_are_needed(tmp_path: Path) -> None:
    def without(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["a"])

    with pytest.raises(TokenizerInvalid, match="scores has not one for each of 1 tokens"):
        sourced(tmp_path / "x.gguf", without)


def test_what_a_normalizer_would_do_is_refused(tmp_path: Path) -> None:
    def with_map(writer: gguf.GGUFWriter) -> None:
        sentencepiece(writer)
        writer.add_remove_extra_whitespaces(True)

    with pytest.raises(TokenizerUnsupported, match="remove_extra_whitespaces isn't supported"):
        sourced(tmp_path / "x.gguf", with_map)


# ---------------------------------------------------------------- tokens


def listing(tokens: list[str], **values: Any) -> Add:
    def add(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(["a b"])
        writer.add_token_list(tokens)
        for name, value in values.items():
            writer.add_key_value(f"tokenizer.ggml.{name}", value, gguf.GGUFValueType.get_type(value))

    return add


@pytest.mark.parametrize(
    ("add", "reason"),
    [
        (lambda w: None, "has no tokens"),
        (listing(["a", "b", "a"]), "has the token 'a' twice"),
        (listing(["a", "b"], token_type=[1]), "has 2 tokens and 1 of tokenizer.ggml.token_type"),
        (listing(["a", "b"], eos_token_id=2), "eos_token_id is 2, but there are 2 tokens"),
        (listing(["a", "b"], eot_token_id=7), "eot_token_id is 7, but there are 2 tokens"),
    ],
)
def test_a_vocabulary_that_contradicts_itself(add: Add, reason: str, tmp_path: Path) -> None:
    with pytest.raises(TokenizerInvalid, match=reason):
        sourced(tmp_path / "x.gguf", add)


@pytest.mark.parametrize("value", ["2", -1, True, 1.0])
def test_an_id_that_is_none(value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"eos_token_id is .*: expected an integer"):
        sourced(tmp_path / "x.gguf", listing(["a", "b"], eos_token_id=value))


def test_another_kind_is_named(tmp_path: Path) -> None:
    def bert(writer: gguf.GGUFWriter) -> None:
        writer.add_tokenizer_model("bert")
        writer.add_token_list(["a"])

    with pytest.raises(TokenizerUnsupported, match="tokenizer 'bert' isn't supported; these are: gpt2, llama"):
        sourced(tmp_path / "x.gguf", bert)


def test_special_tokens_and_the_template_come_along(checkpoint: Path, tmp_path: Path) -> None:
    source = resolve(str(write_gguf(checkpoint, tmp_path / "x.gguf")), None)
    config, _ = source.decoder()
    facts = read_facts(source.directory, config, load_tokenizer(source.directory))
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text())
    assert facts.special_tokens == {name: settings[name] for name in ("bos_token", "eos_token")}
    assert facts.chat_template == settings["chat_template"]
    assert facts.prefix_ids == (facts.bos_token_id,) == (0,)
    assert facts.eos_token_ids == (1, 4)  # <|end_of_text|> and <|eot_id|>
