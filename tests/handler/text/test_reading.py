from __future__ import annotations

from collections.abc import Generator

import pytest

from handler.text.deltas import CallDelta, Delta, FinishReason, joined
from handler.text.families import REASONING_FORMATS
from handler.text.reading import read
from handler.text.thoughts import ThoughtReader, Words


class Capitals:
    """Takes capitals for calls, and holds the last character back."""

    thinking = False

    def __init__(self, cut: bool = False) -> None:
        self.cut = cut
        self._held = ""

    def push(self, text: str) -> Delta:
        text, self._held = (self._held + text)[:-1], text[-1]
        return self._said(text)

    def end(self) -> Delta:
        return self._said(self._held)

    def _said(self, text: str) -> Delta:
        calls = tuple(CallDelta(0, name=character) for character in text if character.isupper())
        return Delta("".join(character for character in text if not character.isupper()), calls=calls)


def deltas(*texts: str, reason: FinishReason) -> Generator[Delta | None, None, None]:
    yield None
    yield from map(Delta, texts)
    yield Delta("", finish_reason=reason)


def test_what_was_held_back_comes_with_the_end() -> None:
    said = [delta for delta in read(deltas("ab", "c", reason="stop"), Capitals()) if delta is not None]
    assert [delta.text for delta in said] == ["a", "b", "c"]
    assert said[-1].finish_reason == "stop"


@pytest.mark.parametrize(("reason", "told"), [("stop", "tool_calls"), ("length", "length")])
def test_calls_are_why_an_answer_ended(reason: FinishReason, told: FinishReason) -> None:
    said = [delta for delta in read(deltas("aX", reason=reason), Capitals()) if delta is not None]
    assert (said[-1].calls[0].name, said[-1].finish_reason) == ("X", told)


def test_a_call_that_is_cut_off_is_no_reason() -> None:
    said = [delta for delta in read(deltas("aX", reason="stop"), Capitals(cut=True)) if delta is not None]
    assert (said[-1].calls[0].name, said[-1].finish_reason) == ("X", "stop")


def test_the_tokens_of_thoughts_are_counted_without_what_is_around_them() -> None:
    form = REASONING_FORMATS["think"]
    assert form is not None
    texts = ["<think>", "I", "", " see", "</think>", "Hi"]
    told = joined(filter(None, read(deltas(*texts, reason="stop"), ThoughtReader(form, False, Words()))))
    assert [(delta.reasoning, delta.text, delta.thoughts) for delta in told] == [("I see", "Hi", 3)]
    told = joined(filter(None, read(deltas("I", " see", reason="length"), ThoughtReader(form, True, Words()))))
    assert [delta.thoughts for delta in told] == [2]


def test_the_stop_string_is_still_told() -> None:
    ended = (Delta("", finish_reason="stop", stopped_by="END") for _ in range(1))
    assert [delta and delta.stopped_by for delta in read(ended, Capitals())] == ["END"]


def test_who_waits_still_waits() -> None:
    assert next(read(deltas(reason="stop"), Capitals())) is None
