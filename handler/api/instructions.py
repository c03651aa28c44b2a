"""What a model is told before a conversation, beside its messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def instructed(messages: Sequence[dict[str, Any]], instructions: str | None) -> tuple[dict[str, Any], ...]:
    """Put instructions before messages.

    Many templates take one system message only, and only at the beginning: what stands there becomes a part of it.
    """
    if instructions is None:
        return tuple(messages)
    begin = next((n for n, message in enumerate(messages) if message["role"] != "system"), len(messages))
    texts = [instructions, *(message["content"] for message in messages[:begin])]
    return ({"role": "system", "content": "\n\n".join(texts)}, *messages[begin:])
