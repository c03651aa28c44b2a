"""The items of a response: thoughts, a message, calls; and the events that tell how one grows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from handler.api.parts import Part

Change = Literal["began", "grew", "ended"]
Named = tuple[str, dict[str, Any]]  # an event's name and its members


class Item(Protocol):
    """One item, as it begins, grows by something, or ends."""

    @property
    def id(self) -> str: ...

    def begun(self) -> dict[str, Any]:
        """Return it as it is before there is anything in it."""
        ...

    def whole(self, status: str) -> dict[str, Any]:
        """Return it as it ends."""
        ...

    def events(self, change: Change) -> Iterator[Named]:
        """Give the events between the item's own first and last one."""
        ...


def item_of(part: Part, key: str, scores: list[dict[str, Any]]) -> Item:
    """Make the item of a part.

    Args:
        part: What is in it, or what it grows by.
        key: Makes its id one of a kind.
        scores: Of the part's tokens.
    """
    if part.kind == "text":
        return MessageItem(f"msg_{key}", part.text, scores)
    if part.kind == "reasoning":
        return ReasoningItem(f"rs_{key}", part.text)
    return CallItem(f"fc_{key}", part)


@dataclass(frozen=True)
class MessageItem:
    """What the model says."""

    id: str
    text: str
    scores: list[dict[str, Any]]

    def begun(self) -> dict[str, Any]:
        return self._item("in_progress", [])

    def whole(self, status: str) -> dict[str, Any]:
        return self._item(status, [self._part(self.text)])

    def events(self, change: Change) -> Iterator[Named]:
        if change == "began":
            yield "response.content_part.added", {"content_index": 0, "part": _output_text("", [])}
        elif change == "grew":
            yield "response.output_text.delta", {"content_index": 0, "delta": self.text, "logprobs": self.scores}
        else:
            yield "response.output_text.done", {"content_index": 0, "text": self.text, "logprobs": self.scores}
            yield "response.content_part.done", {"content_index": 0, "part": self._part(self.text)}

    def _part(self, text: str) -> dict[str, Any]:
        return _output_text(text, self.scores)

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "type": "message", "status": status, "role": "assistant", "content": content}


@dataclass(frozen=True)
class ReasoningItem:
    """What the model thinks."""

    id: str
    text: str

    def begun(self) -> dict[str, Any]:
        return self._item("in_progress", [])

    def whole(self, status: str) -> dict[str, Any]:
        return self._item(status, [_reasoning_text(self.text)])

    def events(self, change: Change) -> Iterator[Named]:
        if change == "began":
            yield "response.content_part.added", {"content_index": 0, "part": _reasoning_text("")}
        elif change == "grew":
            yield "response.reasoning_text.delta", {"content_index": 0, "delta": self.text}
        else:
            yield "response.reasoning_text.done", {"content_index": 0, "text": self.text}
            yield "response.content_part.done", {"content_index": 0, "part": _reasoning_text(self.text)}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "type": "reasoning", "status": status, "summary": [], "content": content}


@dataclass(frozen=True)
class CallItem:
    """What the model wants to be called."""

    id: str
    part: Part

    def begun(self) -> dict[str, Any]:
        return self.whole("in_progress")

    def whole(self, status: str) -> dict[str, Any]:
        call = {"call_id": self.part.id, "name": self.part.name, "arguments": self.part.text}
        return {"id": self.id, "type": "function_call", "status": status, **call}

    def events(self, change: Change) -> Iterator[Named]:
        if change == "grew":
            yield "response.function_call_arguments.delta", {"delta": self.part.text}
        elif change == "ended":
            told = {"name": self.part.name, "arguments": self.part.text}
            yield "response.function_call_arguments.done", told


def _output_text(text: str, scores: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": scores}


def _reasoning_text(text: str) -> dict[str, Any]:
    return {"type": "reasoning_text", "text": text}
