"""JSON and server-sent events as bytes, and what every answer says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Envelope:
    """What all events of one answer have in common."""

    id: str
    created: int  # Unix seconds
    model: str
    system_fingerprint: str | None

    def members(self) -> dict[str, Any]:
        """Return them under OpenAI's names."""
        return {
            "id": self.id,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.system_fingerprint,
        }


def event(data: object, name: str | None = None) -> bytes:
    """Write a server-sent event.

    Args:
        data: A JSON value.
        name: What the event is called, for clients that tell events apart by name; OpenAI's chunks have none.
    """
    head = b"" if name is None else b"event: " + name.encode() + b"\n"
    return head + b"data: " + json_bytes(data) + b"\n\n"


def json_bytes(value: object) -> bytes:
    """Write compact JSON; a lone surrogate, which only an error can quote, stays an escape."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
