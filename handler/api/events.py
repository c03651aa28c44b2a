"""Text deltas → OpenAI's chunks → SSE bytes; a buffered answer is a fold over the very same chunks."""

import json
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from handler.text.deltas import Delta, Meter, ScoredToken

Chunk = dict[str, Any]
DONE = b"data: [DONE]\n\n"
LEAST_LOGPROB = -9999.0  # OpenAI's number for "never": JSON has no infinity.


@dataclass(frozen=True)
class Envelope:
    """What all chunks of one answer have in common."""

    id: str
    created: int  # Unix seconds
    model: str
    system_fingerprint: str | None


class Shape(Protocol):
    """How one endpoint writes chunks and whole answers."""

    chunk_object: str
    whole_object: str
    id_prefix: str

    def opening(self) -> dict[str, Any] | None:
        """Return the choice that comes before any text."""
        ...

    def choice(self, text: str, tokens: tuple[ScoredToken, ...]) -> dict[str, Any]:
        """Return a choice with some text."""
        ...

    def closing(self) -> dict[str, Any]:
        """Return the choice that carries the finish reason."""
        ...

    def fold(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """Put the choices of all chunks together."""
        ...


def chunks(
    shape: Shape, envelope: Envelope, deltas: Generator[Delta | None, None, None], meter: Meter, include_usage: bool
) -> Generator[Chunk | None, None, None]:
    """Write the chunks of one answer.

    The first comes with the first token, so that a failed prefill can still end as a status of its own.
    """

    def chunk(choice: dict[str, Any] | None, finish_reason: str | None = None) -> Chunk:
        choices = [] if choice is None else [{"index": 0, **choice, "finish_reason": finish_reason}]
        return _head(envelope, shape.chunk_object) | {"choices": choices} | ({"usage": None} if include_usage else {})

    opening = shape.opening()
    with closing(deltas):
        for delta in deltas:
            if delta is None:
                yield None
                continue
            if opening is not None:
                yield chunk(opening)
                opening = None
            if delta.text or delta.tokens:
                yield chunk(shape.choice(delta.text, delta.tokens))
            if delta.finish_reason:
                yield chunk(shape.closing(), delta.finish_reason) | {"timings": meter.timings()}
    if include_usage:
        yield chunk(None) | {"usage": meter.usage()}


def fold(shape: Shape, chunks: list[Chunk]) -> Chunk:
    """Put the chunks of one answer, with usage, together to the answer that isn't streamed."""
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    last = next(chunk for chunk in chunks if "timings" in chunk)
    head = {name: last[name] for name in ("id", "created", "model", "system_fingerprint")}
    return {
        **head,
        "object": shape.whole_object,
        "choices": [{"index": 0, **shape.fold(choices), "finish_reason": choices[-1]["finish_reason"]}],
        "usage": chunks[-1]["usage"],
        "timings": last["timings"],
    }


def event(chunk: Chunk) -> bytes:
    """Write a chunk as a server-sent event."""
    return b"data: " + json_bytes(chunk) + b"\n\n"


def json_bytes(value: object) -> bytes:
    """Write compact JSON; a lone surrogate, which only an error can quote, stays an escape."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _head(envelope: Envelope, object: str) -> Chunk:
    return {
        "id": envelope.id,
        "object": object,
        "created": envelope.created,
        "model": envelope.model,
        "system_fingerprint": envelope.system_fingerprint,
    }


class ChatShape:
    """/v1/chat/completions."""

    chunk_object = "chat.completion.chunk"
    whole_object = "chat.completion"
    id_prefix = "chatcmpl-"

    def opening(self) -> dict[str, Any]:
        return {"delta": {"role": "assistant", "content": ""}, "logprobs": None}

    def choice(self, text: str, tokens: tuple[ScoredToken, ...]) -> dict[str, Any]:
        logprobs = {"content": [_chat_logprob(token) for token in tokens], "refusal": None} if tokens else None
        return {"delta": {"content": text}, "logprobs": logprobs}

    def closing(self) -> dict[str, Any]:
        return {"delta": {}, "logprobs": None}

    def fold(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        content = "".join(choice["delta"].get("content", "") for choice in choices)
        logprobs = [entry for choice in choices if choice["logprobs"] for entry in choice["logprobs"]["content"]]
        return {
            "message": {"role": "assistant", "content": content, "refusal": None},
            "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
        }


class CompletionShape:
    """/v1/completions."""

    chunk_object = "text_completion"
    whole_object = "text_completion"
    id_prefix = "cmpl-"

    def opening(self) -> None:
        return None

    def choice(self, text: str, tokens: tuple[ScoredToken, ...]) -> dict[str, Any]:
        return {"text": text, "logprobs": _completion_logprobs(tokens) if tokens else None}

    def closing(self) -> dict[str, Any]:
        return {"text": "", "logprobs": None}

    def fold(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        given = [choice["logprobs"] for choice in choices if choice["logprobs"]]
        return {"text": "".join(choice["text"] for choice in choices), "logprobs": _concatenate(given)}


def _chat_logprob(token: ScoredToken) -> dict[str, Any]:
    return _scored(token.raw, token.logprob) | {"top_logprobs": [_scored(*other) for other in token.alternatives]}


def _scored(text: bytes, logprob: float) -> dict[str, Any]:
    return {"token": text.decode(errors="replace"), "logprob": _finite(logprob), "bytes": list(text)}


def _completion_logprobs(tokens: tuple[ScoredToken, ...]) -> dict[str, Any]:
    alternatives = [
        {text.decode(errors="replace"): _finite(logprob) for text, logprob in token.alternatives} for token in tokens
    ]
    return {
        "tokens": [token.raw.decode(errors="replace") for token in tokens],
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        "top_logprobs": alternatives if any(alternatives) else None,
        "text_offset": [token.offset for token in tokens],
    }


def _concatenate(parts: list[dict[str, Any]]) -> dict[str, Any] | None:
    if not parts:
        return None
    return {name: _sum([part[name] for part in parts]) for name in parts[0]}


def _sum(lists: list[list[Any] | None]) -> list[Any] | None:
    return None if lists[0] is None else [item for part in lists for item in part or ()]


def _finite(logprob: float) -> float:
    return max(logprob, LEAST_LOGPROB)
