"""Text → what it says: an answer's words, what was thought before them, and calls of tools."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import closing
from dataclasses import replace
from typing import Protocol

from handler.text.deltas import CallDelta, Delta


class Reader(Protocol):
    """Reads one answer as its text grows; it holds back what may still become a marker."""

    def push(self, text: str) -> Delta:
        """Take more text; return what is certain now, as the text, reasoning and calls of a delta."""
        ...

    def end(self) -> Delta:
        """The text has ended: return what was held back."""
        ...


def read(deltas: Generator[Delta | None, None, None], reader: Reader) -> Generator[Delta | None, None, None]:
    """Turn deltas of text alone into deltas of what it says; None for None.

    The last one's finish reason is "tool_calls" where the model has ended its answer and there were calls.
    """
    called = False
    with closing(deltas):
        for delta in deltas:
            if delta is None:
                yield None
                continue
            parts = [reader.push(delta.text)] if delta.text else []
            if delta.finish_reason:
                parts.append(reader.end())
            said = _together(parts)
            called = called or bool(said.calls)
            reason = "tool_calls" if called and delta.finish_reason == "stop" else delta.finish_reason
            yield replace(delta, text=said.text, reasoning=said.reasoning, calls=said.calls, finish_reason=reason)


def _together(parts: Iterable[Delta]) -> Delta:
    given = list(parts)
    calls: tuple[CallDelta, ...] = tuple(call for part in given for call in part.calls)
    return Delta("".join(part.text for part in given), reasoning="".join(part.reasoning for part in given), calls=calls)
