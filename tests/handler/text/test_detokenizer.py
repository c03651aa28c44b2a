from __future__ import annotations

import codecs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handler.text.detokenizer import Detokenizer, StopStrings
from handler.text.tokenizer import Tokenizer
from tests.handler.doubles import VOCAB_SIZE, byte_tokenizer
from tests.handler.sentencepiece import SIZE, sentencepiece_tokenizer

BYTES = byte_tokenizer()
SENTENCEPIECE = sentencepiece_tokenizer()


def whole_text(tokenizer: Tokenizer, ids: list[int]) -> str:
    """All at once; an incomplete character at the end is dropped."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return decoder.decode(tokenizer.decode_bytes(ids))


def deltas(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    return [detokenizer.push(id) for id in ids]


@given(st.lists(st.integers(0, VOCAB_SIZE - 1)))
def test_deltas_of_bytes_add_up(ids: list[int]) -> None:
    assert "".join(deltas(BYTES, ids)) == whole_text(BYTES, ids)


@settings(max_examples=500)
@given(st.lists(st.integers(0, 3) | st.integers(0, SIZE - 1) | st.integers(259, SIZE - 1)))
def test_deltas_of_a_decoder_that_strips_add_up(ids: list[int]) -> None:
    assert "".join(deltas(SENTENCEPIECE, ids)) == whole_text(SENTENCEPIECE, ids)


@given(st.text())
def test_deltas_of_real_text_are_that_text(text: str) -> None:
    assert "".join(deltas(BYTES, BYTES.encode(text))) == text


def test_a_character_comes_with_its_last_byte() -> None:
    assert deltas(BYTES, list("é😀".encode())) == ["", "é", "", "", "", "😀"]


def test_an_incomplete_character_is_not_emitted() -> None:
    assert deltas(BYTES, list("😀".encode()[:3])) == ["", "", ""]


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert deltas(BYTES, [0xFF, 97]) == ["\ufffd", "a"]


def test_a_special_token_between_words_keeps_the_blank() -> None:
    hi = SENTENCEPIECE.encode("hi")[0]
    assert deltas(SENTENCEPIECE, [1, hi, 2, hi]) == ["", "hi", "", " hi"]


# ---------------------------------------------------------------- stop strings


def cut(parts: list[str], stops: list[str]) -> tuple[str, bool]:
    """What goes out, and whether a stop string was found."""
    strings, sent = StopStrings(stops), ""
    for part in parts:
        sent += strings.push(part)
        if strings.found:
            return sent, True
    return sent + strings.flush(), False


TEXTS = st.text("abc", max_size=12)
STOPS = st.text("abc", min_size=1, max_size=4)


@given(st.lists(TEXTS), STOPS)
def test_one_stop_string_splits_the_text(parts: list[str], stop: str) -> None:
    text = "".join(parts)
    assert cut(parts, [stop]) == (text.split(stop)[0], stop in text)


def test_of_several_that_end_together_the_one_that_began_first_is_told() -> None:
    strings = StopStrings(["c", "bc", "d"])
    assert (strings.push("abcd"), strings.found) == ("a", "bc")


@given(st.lists(TEXTS), st.lists(STOPS, min_size=1, max_size=4))
def test_the_cut_does_not_depend_on_the_deltas(parts: list[str], stops: list[str]) -> None:
    assert cut(parts, stops) == cut(list("".join(parts)), stops)


@given(st.lists(TEXTS), st.lists(STOPS, min_size=1, max_size=4))
def test_no_part_of_a_stop_string_is_ever_leaked(parts: list[str], stops: list[str]) -> None:
    final = cut(parts, stops)[0]
    strings, sent = StopStrings(stops), ""
    for part in parts:
        sent += strings.push(part)
        assert final.startswith(sent)
        if strings.found:
            return


@given(st.lists(TEXTS), st.lists(STOPS, min_size=1, max_size=4))
def test_no_more_is_held_back_than_may_become_a_stop_string(parts: list[str], stops: list[str]) -> None:
    strings, sent, text = StopStrings(stops), "", ""
    for part in parts:
        text += part
        sent += strings.push(part)
        if strings.found:
            return
        held = text[len(sent) :]
        assert held == "" or any(stop.startswith(held) for stop in stops)


@pytest.mark.parametrize(
    ("text", "stops", "expected"),
    [
        ("one two", [" two", "e"], "on"),
        ("abcd", ["abcd", "bc"], "a"),
        ("abc", ["bc", "abc"], ""),
        ("abc", ["d"], "abc"),
    ],
)
def test_the_stop_string_that_is_complete_first_wins(text: str, stops: list[str], expected: str) -> None:
    assert cut([text], stops)[0] == expected


def test_without_stop_strings_nothing_is_held_back() -> None:
    assert StopStrings([]).push("abc") == "abc"
