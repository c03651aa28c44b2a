"""An answer as Anthropic's message: an object with content blocks, or the events that tell how it came to be.

https://docs.anthropic.com/en/docs/build-with-claude/streaming
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handler.api.events import Envelope, event
from handler.api.messages.errors import told_error
from handler.api.parts import Part, Parts, Step, parts_of
from handler.errors import ApiError
from handler.text.deltas import Delta, ScoredToken
from handler.text.meter import Meter

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class MessageAnswer:
    """Writes one answer.

    Args:
        envelope: What the answer says of itself.
        meter: Counts the answer's tokens and takes its times.
    """

    def __init__(self, envelope: Envelope, meter: Meter) -> None:
        self._envelope = envelope
        self._meter = meter
        self._parts = Parts()
        self._begun = False
        self._stop: Mapping[str, Any] = _stop(Delta(""))

    def events(self, delta: Delta) -> Iterator[bytes]:
        if not self._begun:
            self._begun = True
            yield _event("message_start", message=self._message([], _stop(Delta(""))))
            yield _event("ping")
        for step in self._parts.take(delta):
            yield from _step(step)
        self._stop = _stop(delta)

    def end(self) -> Iterator[bytes]:
        for step in self._parts.end():
            yield from _step(step)
        yield _event("message_delta", delta=self._stop, usage=self._usage(), timings=self._meter.timings())
        yield _event("message_stop")

    def failed(self, error: ApiError) -> bytes:
        """Write the last event of a stream that an error ends."""
        body = told_error(error) | {"request_id": self._envelope.id.removeprefix("msg_")}
        return event(body, "error")

    def whole(self, choices: Sequence[Delta]) -> dict[str, Any]:
        [answer] = choices
        content = [_block(part) for part in parts_of(answer)]
        return self._message(content, _stop(answer)) | {"timings": self._meter.timings()}

    def logprobs(self, tokens: tuple[ScoredToken, ...]) -> dict[str, Any] | None:
        return None  # Anthropic has no such thing.

    def _message(self, content: Sequence[dict[str, Any]], stop: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": self._envelope.id,
            "type": "message",
            "role": "assistant",
            "model": self._envelope.model,
            "content": content,
            **stop,
            "usage": self._usage(),
        }

    def _usage(self) -> dict[str, Any]:
        cached = self._meter.cached_tokens
        return {
            "input_tokens": self._meter.prompt_tokens - cached,  # Anthropic's doesn't count what was cached.
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "output_tokens": self._meter.completion_tokens,
        }


def _stop(delta: Delta) -> dict[str, Any]:
    reason = STOP_REASONS[delta.finish_reason] if delta.finish_reason else None
    found = delta.stopped_by if reason == "end_turn" else None
    return {"stop_reason": "stop_sequence" if found is not None else reason, "stop_sequence": found}


def _step(step: Step) -> Iterator[bytes]:
    place = {"index": step.index}
    if step.change == "began":
        yield _event("content_block_start", **place, content_block=_block(step.part))
    elif step.change == "grew":
        yield _event("content_block_delta", **place, delta=_growth(step.part))
    else:
        if step.part.kind == "reasoning":
            yield _event("content_block_delta", **place, delta={"type": "signature_delta", "signature": ""})
        yield _event("content_block_stop", **place)


def _block(part: Part) -> dict[str, Any]:
    if part.kind == "text":
        return {"type": "text", "text": part.text}
    if part.kind == "reasoning":
        return {"type": "thinking", "thinking": part.text, "signature": ""}
    return {"type": "tool_use", "id": _tool_use_id(part.id), "name": part.name, "input": _input(part.text)}


def _growth(part: Part) -> dict[str, Any]:
    if part.kind == "text":
        return {"type": "text_delta", "text": part.text}
    if part.kind == "reasoning":
        return {"type": "thinking_delta", "thinking": part.text}
    return {"type": "input_json_delta", "partial_json": part.text}


def _tool_use_id(id: str) -> str:
    return f"toolu_{id.removeprefix('call_')}"


def _input(arguments: str) -> dict[str, Any]:
    try:
        value = json.loads(arguments)
    except ValueError:  # The call has only begun, or was cut off: an object can't be half of one.
        return {}
    return value if isinstance(value, dict) else {}


def _event(kind: str, **members: Any) -> bytes:
    return event({"type": kind, **members}, kind)
