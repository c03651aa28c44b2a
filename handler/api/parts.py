"""An answer as the parts that OpenAI's responses and Anthropic's messages are made of: thoughts, words and calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from handler.text.deltas import Delta, ScoredToken


@dataclass(frozen=True)
class Part:
    """A piece of an answer that is of one kind, or what is added to it.

    Attributes:
        kind: What it is.
        text: Thoughts, words, or a call's arguments as JSON.
        tokens: The scores of words, if they were asked for.
        id: A call's.
        name: The called tool's.
    """

    kind: Literal["reasoning", "text", "call"]
    text: str = ""
    tokens: tuple[ScoredToken, ...] = ()
    id: str = ""
    name: str = ""


@dataclass(frozen=True)
class Step:
    """What becomes of a part.

    Attributes:
        change: What happens to it.
        index: Which part of the answer, from 0.
        part: As it begins, without text; what it grows by; or the whole of it.
    """

    change: Literal["began", "grew", "ended"]
    index: int
    part: Part


def parts_of(answer: Delta) -> list[Part]:
    """Return the parts of an answer whose deltas are joined; each has some text, but for calls."""
    parts = [Part("reasoning", answer.reasoning)] if answer.reasoning else []
    begin = 0
    for call in answer.calls:
        parts += _words(answer.text[begin : call.offset])
        parts.append(Part("call", call.arguments, id=call.id or "", name=call.name or ""))
        begin = call.offset
    parts += _words(answer.text[begin:])
    for index, part in enumerate(parts):
        if part.kind == "text":
            parts[index] = replace(part, tokens=answer.tokens)
            break
    return parts


def _words(text: str) -> list[Part]:
    return [Part("text", text)] if text else []


class Parts:
    """The parts of an answer that grows, one after the other; they end as `parts_of` its deltas would be.

    Scores wait for the words that they belong to: with calls in an answer, they are not for this.
    """

    def __init__(self) -> None:
        self._index = -1
        self._call: int | None = None
        self._head: Part | None = None
        self._texts: list[str] = []
        self._tokens: list[ScoredToken] = []
        self._waiting: tuple[ScoredToken, ...] = ()

    def take(self, delta: Delta) -> Iterator[Step]:
        """Give what becomes of the parts by one more delta."""
        self._waiting += delta.tokens
        if delta.reasoning:
            yield from self._begin(Part("reasoning"))
            yield self._grow(delta.reasoning)
        if delta.text:
            yield from self._begin(Part("text"))
        if delta.text or (self._waiting and self._is("text")):
            yield self._grow(delta.text)
        for call in delta.calls:
            yield from self._begin(Part("call", id=call.id or "", name=call.name or ""), call.index)
            if call.arguments:
                yield self._grow(call.arguments)

    def end(self) -> Iterator[Step]:
        """End the last part."""
        if self._head is not None:
            whole = replace(self._head, text="".join(self._texts), tokens=tuple(self._tokens))
            self._head, self._texts, self._tokens = None, [], []
            yield Step("ended", self._index, whole)

    def _is(self, kind: str, call: int | None = None) -> bool:
        return self._head is not None and (self._head.kind, self._call) == (kind, call)

    def _begin(self, head: Part, call: int | None = None) -> Iterator[Step]:
        if self._is(head.kind, call):
            return
        yield from self.end()
        self._index += 1
        self._head, self._call = head, call
        yield Step("began", self._index, head)

    def _grow(self, text: str) -> Step:
        assert self._head is not None
        tokens: tuple[ScoredToken, ...] = ()
        if self._head.kind == "text":
            tokens, self._waiting = self._waiting, ()
        self._texts.append(text)
        self._tokens += tokens
        return Step("grew", self._index, Part(self._head.kind, text, tokens))
