"""Deltas of an answer, and what an endpoint writes of them."""

from __future__ import annotations

import json
from typing import Any

from handler.api.endpoint import Request
from handler.api.events import Envelope
from handler.text.deltas import Delta, ScoredToken, joined
from handler.text.meter import Meter

ENVELOPE = Envelope("x-1", 5, "m", "fp")
SCORES = (ScoredToken(b"a\xff", -0.5, ((b"b", -1.0), (b"c", float("-inf"))), 0),)
DELTAS = [Delta("a", SCORES), Delta(""), Delta("b"), Delta("c", finish_reason="length")]


def streamed(request: Request) -> list[Any]:
    """The data of all events."""
    answer = request.answer(ENVELOPE, Meter(3, 0.0))
    events = [event for delta in DELTAS for event in answer.events(delta)] + list(answer.end())
    data = [event.removeprefix(b"data: ").removesuffix(b"\n\n") for event in events]
    return [part.decode() if part == b"[DONE]" else json.loads(part) for part in data]


def whole(request: Request) -> dict[str, Any]:
    """The answer that isn't streamed."""
    return request.answer(ENVELOPE, Meter(3, 0.0)).whole(joined(DELTAS))
