"""Anthropic's system prompt and messages → the messages of a conversation, as chat templates take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from handler.api.instructions import instructed
from handler.api.members import Members, check_text, members_of
from handler.api.texts import parse_text
from handler.errors import InvalidValue, MissingParameter

TEXT = {"text": "text"}
Message = dict[str, Any]


def parse_messages(value: object, system: object) -> tuple[Message, ...]:
    """Check the messages of a body.

    Args:
        value: `messages`.
        system: `system`, a text or blocks of text.

    Raises:
        ApiError: They are refused; the error names the member and the bad value.
    """
    if value is None:
        raise MissingParameter("messages")
    if not isinstance(value, list) or not value:
        raise InvalidValue("messages", "an array of at least one message", value)
    reading = _Reading()
    for index, item in enumerate(value):
        reading.take(members_of(item, f"messages[{index}]"), f"messages[{index}]")
    return instructed(reading.messages, None if system is None else parse_text(system, "system", TEXT))


@dataclass(frozen=True)
class _Block:
    kind: str
    members: Members
    path: str


class _Reading:
    """Messages as they come; those of one role behind each other are one, because templates insist on turns."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._names: dict[str, str] = {}  # of used tools, by the use's id

    def take(self, message: Members, path: str) -> None:
        role, content, path = message.required("role"), message.get("content"), f"{path}.content"
        if role == "user":
            self._user(_blocks(content, path, ("text", "tool_result")))
        elif role == "assistant":
            self._assistant(_blocks(content, path, ("text", "tool_use", "thinking", "redacted_thinking")))
        elif role == "system":
            self._add(role, parse_text(content, path, TEXT))
        else:
            raise InvalidValue(f"{path.removesuffix('.content')}.role", "user, assistant or system", role)

    def _user(self, blocks: Sequence[_Block]) -> None:
        results = [block for block in blocks if block.kind == "tool_result"]
        for block in results:  # They belong to the calls before them, so they come first.
            self._result(block.members, block.path)
        texts = _texts(blocks, "text", "text")
        if texts or not results:
            self._add("user", "\n".join(texts))

    def _result(self, block: Members, path: str) -> None:
        id, content = block.required("tool_use_id"), block.get("content")
        if id not in self._names:
            raise InvalidValue(f"{path}.tool_use_id", "the id of a tool_use before it", id)
        text = "" if content is None else parse_text(content, f"{path}.content", TEXT)
        if block.boolean("is_error"):
            text = f"Error: {text}"  # Templates have no other place for it.
        self.messages.append({"role": "tool", "tool_call_id": id, "name": self._names[id], "content": text})

    def _assistant(self, blocks: Sequence[_Block]) -> None:
        message = self._add("assistant", "\n".join(_texts(blocks, "text", "text")))
        thoughts = _texts(blocks, "thinking", "thinking")
        if thoughts:
            message["reasoning_content"] = "\n".join([*filter(None, [message.get("reasoning_content")]), *thoughts])
        for block in blocks:
            if block.kind == "tool_use":
                message.setdefault("tool_calls", []).append(self._call(block.members, block.path))

    def _call(self, block: Members, path: str) -> dict[str, Any]:
        id, name, arguments = block.required("id"), block.required("name"), block.mapping("input")
        if arguments is None:
            raise MissingParameter(f"{path}.input")
        self._names[id] = name
        return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}

    def _add(self, role: str, content: str) -> Message:
        if self.messages and self.messages[-1]["role"] == role:
            last = self.messages[-1]
            last["content"] = "\n".join(filter(None, [last["content"], content]))
            return last
        self.messages.append({"role": role, "content": content})
        return self.messages[-1]


def _blocks(value: object, path: str, kinds: Sequence[str]) -> list[_Block]:
    if value is None:
        raise MissingParameter(path)
    if not isinstance(value, list):
        text = check_text(value, path, "a string or an array of blocks")
        return [_Block("text", Members({"text": text}, f"{path}."), path)]
    return [_block(item, f"{path}[{index}]", kinds) for index, item in enumerate(value)]


def _block(value: object, path: str, kinds: Sequence[str]) -> _Block:
    members = members_of(value, path)
    return _Block(members.kind(kinds, "blocks"), members, path)


def _texts(blocks: Sequence[_Block], kind: str, name: str) -> list[str]:
    return [block.members.required(name) for block in blocks if block.kind == kind]
