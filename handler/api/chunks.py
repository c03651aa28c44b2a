"""OpenAI's chunks, and the whole answer with the same members: what chats and completions write alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from handler.api.events import DONE, Envelope, event
from handler.text.deltas import ScoredToken
from handler.text.meter import Meter

LEAST_LOGPROB = -9999.0  # OpenAI's number for "never": JSON has no infinity.


class Chunks:
    """Writes one answer.

    Args:
        object: What a chunk calls itself.
        envelope: What all chunks share.
        meter: Counts the answer's tokens and takes its times.
        include_usage: Whether a last chunk has the usage, and all others a null in its place.
    """

    def __init__(self, object: str, envelope: Envelope, meter: Meter, include_usage: bool) -> None:
        self._object = object
        self._envelope = envelope
        self._meter = meter
        self._include_usage = include_usage
        self.thoughts = 0  # tokens of them, in what was written

    def chunk(self, index: int, choice: dict[str, Any], finish_reason: str | None = None) -> bytes:
        """Write a chunk of one choice; the one with the finish reason has the timings, too."""
        timings = {"timings": self._meter.timings()} if finish_reason else {}
        return event(self._chunk([{"index": index, **choice, "finish_reason": finish_reason}]) | timings)

    def end(self) -> Iterator[bytes]:
        """Write what comes after the chunk with the finish reason."""
        if self._include_usage:
            yield event(self._chunk([]) | {"usage": usage(self._meter, self.thoughts)})
        yield DONE

    def whole(self, object: str, choices: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the answer that isn't streamed.

        Args:
            object: What it calls itself.
            choices: As they are to be written.
        """
        return {
            **self._envelope.members(),
            "object": object,
            "choices": choices,
            "usage": usage(self._meter, self.thoughts),
            "timings": self._meter.timings(),
        }

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": self._envelope.id, "object": self._object, **self._envelope.members(), "choices": choices}
        return head | ({"usage": None} if self._include_usage else {})


def usage(meter: Meter, thoughts: int) -> dict[str, Any]:
    """Return OpenAI's usage object; of a model that has thought, with how many of its tokens were thoughts."""
    told = meter.usage()
    return told | {"completion_tokens_details": {"reasoning_tokens": thoughts}} if thoughts else told


def scores(tokens: Iterable[ScoredToken]) -> list[dict[str, Any]]:
    """Return tokens' scores as chats and responses write them."""
    return [
        _scored(token.raw, token.logprob) | {"top_logprobs": [_scored(*other) for other in token.alternatives]}
        for token in tokens
    ]


def finite(logprob: float | None) -> float | None:
    """Return a log probability that JSON can write; a prompt's first token has none."""
    return None if logprob is None else max(logprob, LEAST_LOGPROB)


def _scored(text: bytes, logprob: float | None) -> dict[str, Any]:
    return {"token": text.decode(errors="replace"), "logprob": finite(logprob), "bytes": list(text)}
