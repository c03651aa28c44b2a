"""Text → what it says: an answer's words, what was thought before them, and calls of tools."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from handler.text.deltas import CallDelta, Delta


class Reader(Protocol):
    """Reads one answer as its text grows; it holds back what may still become a marker."""

    @property
    def thinking(self) -> bool:
        """Whether the text is within thoughts."""
        ...

    @property
    def cut(self) -> bool:
        """Whether the answer has ended within a call that was told."""
        ...

    def push(self, text: str) -> Delta:
        """Take more text; return what is certain now, as the text, reasoning and calls of a delta."""
        ...

    def end(self) -> Delta:
        """The text has ended: return what was held back."""
        ...


def read(deltas: Generator[Delta | None, None, None], reader: Reader) -> Generator[Delta | None, None, None]:
    """Turn deltas of text alone into deltas of what it says; None for None.

    The last one's finish reason is "tool_calls" where the model has ended its answer and there were calls, all of them
    whole: a stop string may have cut one off.
    """
    called = False
    with closing(deltas):
        for delta in deltas:
            if delta is None:
                yield None
                continue
            thinking = reader.thinking
            parts = [reader.push(delta.text)] if delta.text else []
            # What begins thoughts and what ends them aren't part of them.
            thoughts = int(thinking and reader.thinking and not delta.finish_reason)
            if delta.finish_reason:
                parts.append(reader.end())
            said = _together(parts)
            called = called or bool(said.calls)
            ended = called and delta.finish_reason == "stop" and not reader.cut
            told = replace(delta, text=said.text, reasoning=said.reasoning, calls=said.calls, thoughts=thoughts)
            yield replace(told, finish_reason="tool_calls") if ended else told


def _together(parts: Iterable[Delta]) -> Delta:
    given = list(parts)
    calls: tuple[CallDelta, ...] = tuple(call for part in given for call in part.calls)
    return Delta("".join(part.text for part in given), reasoning="".join(part.reasoning for part in given), calls=calls)
