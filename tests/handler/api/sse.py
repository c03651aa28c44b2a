"""Server-sent events as clients read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from handler.api.endpoint import Answer
from handler.text.deltas import Delta


def parsed(stream: bytes) -> list[tuple[str | None, Any]]:
    """The name and the data of each event."""
    return [_event(text) for text in stream.decode().split("\n\n") if text]


def _event(text: str) -> tuple[str | None, Any]:
    fields = dict(line.split(": ", 1) for line in text.split("\n"))
    return fields.get("event"), json.loads(fields["data"])


def streamed(answer: Answer, deltas: Sequence[Delta]) -> list[Any]:
    """The data of an answer's events; each has its type for a name."""
    events: Iterable[bytes] = [event for delta in deltas for event in answer.events(delta)] + list(answer.end())
    named = parsed(b"".join(events))
    assert [name for name, _ in named] == [data["type"] for _, data in named]
    return [data for _, data in named]
