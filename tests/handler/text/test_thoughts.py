from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.text.calls import CallReader
from handler.text.deltas import joined
from handler.text.families import REASONING_FORMATS, TOOL_FORMATS
from handler.text.reading import Reader
from handler.text.thoughts import ThoughtReader, Words
from tests.handler.text.test_calls import ADD, chunked

THINK = REASONING_FORMATS["think"]


def said(text: str, opened: bool, cuts: Sequence[int] = (), rest: Reader | None = None) -> tuple[str, str]:
    assert THINK is not None
    reader = ThoughtReader(THINK, opened, rest or Words())
    (whole,) = joined([*(reader.push(part) for part in chunked(text, cuts)), reader.end()])
    return whole.reasoning, whole.text


TEXTS = [
    ("<think>\nI see.\n</think>\n\nHi <b>.", False, "I see.", "Hi <b>."),
    ("I see.\n</think>\n\nHi.", True, "I see.", "Hi."),
    ("Hi <think>no</think>.", False, "", "Hi <think>no</think>."),
    (" Hi.\n", False, "", " Hi.\n"),
    ("<thin", False, "", "<thin"),
    ("a </thi b", True, "a </thi b", ""),
    ("cut off </th", True, "cut off </th", ""),
    ("<think></think> x", False, "", "x"),
    ("</think>x</think>", True, "", "x</think>"),
    ("  \n", False, "", "  \n"),
    ("", True, "", ""),
]


@pytest.mark.parametrize(("text", "opened", "thoughts", "words"), TEXTS)
def test_thoughts_are_split_off(text: str, opened: bool, thoughts: str, words: str) -> None:
    assert said(text, opened) == (thoughts, words)


@given(
    st.lists(st.sampled_from(["<think>", "</think>", "<th", "ink>", " ", "\n", "a", "</"]), max_size=10),
    st.booleans(),
    st.lists(st.integers(0, 100), max_size=6),
)
def test_it_does_not_depend_on_how_the_text_comes(pieces: list[str], opened: bool, cuts: list[int]) -> None:
    text = "".join(pieces)
    assert said(text, opened, cuts) == said(text, opened)


def test_what_follows_may_be_calls() -> None:
    assert THINK is not None
    reader = ThoughtReader(THINK, True, CallReader(TOOL_FORMATS["hermes"], ["add"]))
    (whole,) = joined([reader.push(f"<tool_call>?</think>\n<tool_call>{ADD}"), reader.end()])
    assert (whole.reasoning, whole.text, [call.name for call in whole.calls]) == ("<tool_call>?", "", ["add"])
