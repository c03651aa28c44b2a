from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import InvalidText, RunTooLong, TokenizerError
from handler.text.tokenizer import LONGEST_RUN, Tokenizer
from tests.handler.doubles import BOS, byte_tokenizer, reference_tokenizer
from tests.handler.sentencepiece import sentencepiece_reference, sentencepiece_tokenizer

BYTES = byte_tokenizer()
REFERENCE = reference_tokenizer()
SENTENCEPIECE = sentencepiece_tokenizer()
SENTENCEPIECE_REFERENCE = sentencepiece_reference()


@given(st.text())
def test_ids_are_those_of_the_reference(text: str) -> None:
    assert BYTES.encode(text) == REFERENCE.encode(text, add_special_tokens=False).ids


@given(st.text(st.sampled_from("hi é 😀\n")))
def test_ids_and_text_in_the_style_of_sentencepiece_are_those_of_the_reference(text: str) -> None:
    ids = SENTENCEPIECE.encode(text)
    assert ids == SENTENCEPIECE_REFERENCE.encode(text, add_special_tokens=False).ids
    assert SENTENCEPIECE.decode_bytes(ids).decode() == SENTENCEPIECE_REFERENCE.decode(ids)


def test_the_text_of_a_special_token_is_that_token() -> None:
    assert BYTES.encode("<s>a") == [BOS, 97]
    assert BYTES.encode("<s>", special=False) == list(b"<s>")


@pytest.mark.parametrize("text", ["a", "<s>a"])
def test_a_bos_is_never_doubled(text: str) -> None:
    assert BYTES.encode_prompt(text) == [BOS, 97]


def test_an_empty_prompt_is_a_bos() -> None:
    assert BYTES.encode_prompt("") == [BOS]


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidText):
        BYTES.encode("a\ud800")


@pytest.mark.parametrize("character", [" ", "a"])
def test_a_run_that_would_end_kitokens_process_is_refused(character: str) -> None:
    with pytest.raises(RunTooLong):
        BYTES.encode(character * LONGEST_RUN + "\n.")


def test_runs_just_below_the_limit_are_encoded() -> None:
    assert len(BYTES.encode(("a" * (LONGEST_RUN - 1) + " ") * 4)) == 4 * LONGEST_RUN


def test_a_long_text_of_short_words_is_encoded() -> None:
    assert len(BYTES.encode("a " * LONGEST_RUN)) == 2 * LONGEST_RUN


def test_special_tokens_give_no_text() -> None:
    assert BYTES.decode_bytes([BOS, 97, 257]) == b"a"


def test_ids_beyond_the_tokenizer_give_no_text() -> None:
    assert BYTES.decode_bytes([97, 299, 98]) == b"ab"
    assert BYTES.token_bytes(299) == b""


def test_a_tokens_bytes_are_those_inside_a_text() -> None:
    ids = SENTENCEPIECE.encode("hi hi")
    assert [SENTENCEPIECE.token_bytes(id) for id in ids] == [b" hi", b" hi"]
    assert SENTENCEPIECE.decode_bytes(ids) == b"hi hi"


def test_a_special_tokens_bytes_are_its_name() -> None:
    assert BYTES.token_bytes(BOS) == b"<s>"


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.kit"
    path.write_bytes(b"nonsense")
    with pytest.raises(TokenizerError, match=re.escape(str(path))):
        Tokenizer.load(path)
