"""An answer as OpenAI's response: an object with items, or the typed events that tell how it came to be.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from handler.api.chunks import scores
from handler.api.events import Envelope, event
from handler.api.parts import Part, Parts, Step, parts_of
from handler.api.responses.items import Item, item_of
from handler.errors import ApiError
from handler.text.deltas import Delta, FinishReason, ScoredToken
from handler.text.meter import Meter

EMPTY = Part("text")


class ResponseAnswer:
    """Writes one answer.

    Args:
        envelope: What the answer says of itself.
        meter: Counts the answer's tokens and takes its times.
        request: What the answer repeats of its request.
    """

    def __init__(self, envelope: Envelope, meter: Meter, request: Mapping[str, Any]) -> None:
        self._envelope = envelope
        self._meter = meter
        self._request = request
        self._parts = Parts()
        self._output: list[dict[str, Any]] = []
        self._reason: FinishReason | None = None
        self._number = 0
        self._thoughts = 0  # tokens of them

    def events(self, delta: Delta) -> Iterator[bytes]:
        yield from self._begin()
        for step in self._parts.take(delta):
            yield from self._step(step, "completed")
        self._thoughts += delta.thoughts
        self._reason = delta.finish_reason

    def end(self) -> Iterator[bytes]:
        status = _status(self._reason)
        for step in self._parts.end():
            yield from self._step(step, status)
        if not self._output:  # The model had nothing to say: clients look for a message all the same.
            yield from self._step(Step("began", 0, EMPTY), status)
            yield from self._step(Step("ended", 0, EMPTY), status)
        yield self._event(f"response.{status}", {"response": self._response(status, self._output)})

    def failed(self, error: ApiError) -> bytes:
        """Write the last events of a stream that an error ends."""
        told = {"code": error.code, "message": error.message, "param": error.param}
        response = self._response("failed", self._output) | {"error": _error(error)}
        return self._event("error", told) + self._event("response.failed", {"response": response})

    def whole(self, choices: Sequence[Delta]) -> dict[str, Any]:
        [answer] = choices
        self._thoughts = answer.thoughts
        status = _status(answer.finish_reason)
        parts = parts_of(answer) or [EMPTY]
        items = [self._item(index, part).whole("completed") for index, part in enumerate(parts)]
        items[-1] = self._item(len(parts) - 1, parts[-1]).whole(status)
        return self._response(status, items)

    def logprobs(self, tokens: tuple[ScoredToken, ...]) -> dict[str, Any] | None:
        return {"content": scores(tokens)} if tokens else None

    def _begin(self) -> Iterator[bytes]:
        if not self._number:
            begun = {"response": self._response("in_progress", [])}
            yield self._event("response.created", begun)
            yield self._event("response.in_progress", begun)

    def _step(self, step: Step, status: str) -> Iterator[bytes]:
        item, place = self._item(step.index, step.part), {"output_index": step.index}
        if step.change == "began":
            yield self._event("response.output_item.added", place | {"item": item.begun()})
        elif step.change == "ended":
            self._output.append(item.whole(status))
        for name, members in item.events(step.change):
            yield self._event(name, {"item_id": item.id} | place | members)
        if step.change == "ended":
            yield self._event("response.output_item.done", place | {"item": self._output[-1]})

    def _item(self, index: int, part: Part) -> Item:
        return item_of(part, f"{self._envelope.id.removeprefix('resp_')}_{index}", scores(part.tokens))

    def _event(self, name: str, members: Mapping[str, Any]) -> bytes:
        number, self._number = self._number, self._number + 1
        return event({"type": name, "sequence_number": number, **members}, name)

    def _response(self, status: str, output: Sequence[dict[str, Any]]) -> dict[str, Any]:
        ended = status != "in_progress"
        return {
            "id": self._envelope.id,
            "object": "response",
            "created_at": self._envelope.created,
            "completed_at": int(time.time()) if status == "completed" else None,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": self._envelope.model,
            "output": list(output),
            **self._request,
            **({"usage": _usage(self._meter, self._thoughts), "timings": self._meter.timings()} if ended else {}),
        }


def _usage(meter: Meter, thoughts: int) -> dict[str, Any]:
    """Return the usage under the names of responses."""
    told = meter.usage()
    return {
        "input_tokens": told["prompt_tokens"],
        "input_tokens_details": {**told["prompt_tokens_details"], "cache_write_tokens": 0},
        "output_tokens": told["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": thoughts},
        "total_tokens": told["total_tokens"],
    }


def _status(reason: FinishReason | None) -> str:
    return "incomplete" if reason == "length" else "completed"


def _error(error: ApiError) -> dict[str, Any]:
    # OpenAI's list of codes has few that fit.
    code = "rate_limit_exceeded" if error.status == 429 else "server_error"
    return {"code": code, "message": error.message}
