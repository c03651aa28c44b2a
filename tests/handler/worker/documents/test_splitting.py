from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.worker.documents.splitting import DATA, MARKDOWN, PROSE, Unsplittable, split
from tests.handler.doubles import byte_tokenizer

TOKENIZER = byte_tokenizer()


def count(text: str) -> int:
    return len(TOKENIZER.encode(f"ask: {text}"))


def cut(text: str, limit: int, boundaries: Sequence[re.Pattern[str]] = PROSE) -> list[str]:
    return [text[piece.begin : piece.end] for piece in split(text, 0, len(text), count, limit, boundaries)]


TEXTS = st.text(st.sampled_from("abcü🙂 \n.!,\r\"'。") | st.characters(exclude_categories=["Cs"]), max_size=200)


@given(TEXTS, st.integers(9, 60), st.sampled_from([PROSE, MARKDOWN, DATA]), st.data())
def test_nothing_is_lost_or_doubled_and_every_piece_fits(
    text: str, limit: int, boundaries: Sequence[re.Pattern[str]], data: st.DataObject
) -> None:
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, len(text)))
    pieces = list(split(text, begin, end, count, limit, boundaries))
    assert "".join(text[piece.begin : piece.end] for piece in pieces) == text[begin:end]
    assert all(piece.begin < piece.end for piece in pieces)
    assert [piece.tokens for piece in pieces] == [count(text[piece.begin : piece.end]) for piece in pieces]
    assert all(piece.tokens <= limit for piece in pieces)
    assert pieces == list(split(text, begin, end, count, limit, boundaries))


@given(st.text(min_size=1, max_size=300), st.integers(1, 20))
def test_a_tokenizer_may_count_as_it_likes(text: str, limit: int) -> None:
    def odd(piece: str) -> int:  # more characters may be fewer tokens
        return len(piece) - 3 * piece.count("ab") if piece else 0

    text = text + "ab" * 20
    pieces = list(split(text, 0, len(text), odd, limit))
    assert "".join(text[piece.begin : piece.end] for piece in pieces) == text
    assert all(odd(text[piece.begin : piece.end]) <= limit for piece in pieces)


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("First one.\n\nSecond. Third", 22, ["First one.\n\n", "Second. Third"]),
        ("First is long. Second", 22, ["First is long. ", "Second"]),
        ("First is long\nSecond one", 22, ["First is long\n", "Second one"]),
        ("First is long second", 22, ["First is long ", "second"]),
        ("Firstislongsecondthird", 17, ["Firstislongs", "econdthird"]),
        ("あいうえ。かき", 21, ["あいうえ。", "かき"]),
        ("Short. Longerlongerlonger", 22, ["Short. Longerlong", "erlonger"]),
    ],
)
def test_the_best_boundary_of_the_second_half_is_taken(text: str, limit: int, pieces: list[str]) -> None:
    assert cut(text, limit) == pieces


def test_markdown_is_cut_before_a_heading() -> None:
    text = "One two three four.\n\n## Four\n\nFive six. Seven"
    assert cut(text, 37, MARKDOWN) == ["One two three four.\n\n", "## Four\n\nFive six. Seven"]
    assert cut(text, 37) == ["One two three four.\n\n## Four\n\n", "Five six. Seven"]


def test_data_is_cut_behind_lines_then_commas() -> None:
    assert cut('{"a": "x. y",\n"b": 2}', count('{"a": "x. y",\n"'), DATA) == ['{"a": "x. y",\n', '"b": 2}']
    assert cut('{"a": 1, "b": 2}', count('{"a": 1, "b"'), DATA) == ['{"a": 1, ', '"b": 2}']


def test_a_lines_end_is_not_cut_in_two() -> None:
    assert cut("aaaaa\r\nbbb", count("aaaaa\r"), ()) == ["aaaaa", "\r\nbbb"]


def test_what_fits_is_one_piece() -> None:
    assert cut("a. b. c", 100) == ["a. b. c"]


def test_where_no_character_fits_nothing_is_cut() -> None:
    with pytest.raises(Unsplittable):
        cut("abc", count(""))


def test_pieces_are_nearly_full_and_cost_few_counts() -> None:
    counted: list[str] = []

    def noted(text: str) -> int:
        counted.append(text)
        return count(text)

    text = "word " * 20_000
    pieces = list(split(text, 0, len(text), noted, 1000))
    assert all(piece.tokens > 900 for piece in pieces[:-1])
    assert len(counted) < 6 * len(pieces)
