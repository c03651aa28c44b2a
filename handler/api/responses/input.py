"""A response's input → the messages of a conversation, as chat templates take them."""

from __future__ import annotations

from typing import Any

from handler.api.contents import ROLES, parse_arguments
from handler.api.instructions import instructed
from handler.api.members import Members, check_text, members_of
from handler.api.texts import parse_parts, parse_text
from handler.errors import InvalidValue, MissingParameter, UnsupportedParameter

# Their types, and the members with the text; a client that copies chats says just "text".
TEXT_PARTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}
Message = dict[str, Any]


def parse_input(value: object, instructions: str | None) -> tuple[Message, ...]:
    """Check the input of a response.

    Args:
        value: A text, or items.
        instructions: What comes before all of it.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    if value is None:
        raise MissingParameter("input")
    reading = _Reading()
    if not isinstance(value, list):
        reading.messages.append(
            {"role": "user", "content": check_text(value, "input", "a string or an array of items")}
        )
    elif not value:
        raise InvalidValue("input", "a string or at least one item", value)
    else:
        for index, item in enumerate(value):
            reading.take(members_of(item, f"input[{index}]"), f"input[{index}]")
    return instructed(reading.messages, instructions)


class _Reading:
    """Items as they come: what the model thought, said and called in one turn is one message."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._names: dict[str, str] = {}  # of called tools, by the call's id
        self._thoughts = ""

    def take(self, item: Members, path: str) -> None:
        kind = item.text("type") or ("message" if item.get("role") is not None else None)
        if kind is None:
            raise MissingParameter(f"{path}.type")
        if kind == "message":
            self._message(item, path)
        elif kind == "function_call":
            self._call(item, path)
        elif kind == "function_call_output":
            self._output(item, path)
        elif kind == "reasoning":
            self._thoughts += _thoughts(item, path)
        elif kind == "item_reference":
            raise UnsupportedParameter(f"{path}.type", "nothing is stored here, so items have to be sent whole", kind)
        else:
            known = "message, function_call, function_call_output and reasoning"
            raise UnsupportedParameter(f"{path}.type", f"only items of type {known} are supported", kind)

    def _message(self, item: Members, path: str) -> None:
        role = item.required("role")
        if role not in ROLES:
            raise InvalidValue(f"{path}.role", f"one of {', '.join(ROLES)}", role)
        content = parse_text(item.get("content"), f"{path}.content", TEXT_PARTS)
        if ROLES[role] == "assistant":
            self._assistant(content)
        else:
            self._thoughts = ""
            self.messages.append({"role": ROLES[role], "content": content})

    def _assistant(self, content: str) -> Message:
        message: Message = {"role": "assistant", "content": content}
        if self._thoughts:
            message["reasoning_content"], self._thoughts = self._thoughts, ""
        self.messages.append(message)
        return message

    def _call(self, item: Members, path: str) -> None:
        id, name = item.required("call_id"), item.required("name")
        arguments = parse_arguments(item.get("arguments"), f"{path}.arguments")
        self._names[id] = name
        last = self.messages[-1] if self.messages else None
        turn = last if last is not None and last["role"] == "assistant" and not self._thoughts else self._assistant("")
        call = {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
        turn.setdefault("tool_calls", []).append(call)

    def _output(self, item: Members, path: str) -> None:
        id = item.required("call_id")
        if id not in self._names:
            raise InvalidValue(f"{path}.call_id", "the call_id of a function_call before it", id)
        content = parse_text(item.get("output"), f"{path}.output", TEXT_PARTS)
        self.messages.append({"role": "tool", "tool_call_id": id, "name": self._names[id], "content": content})


def _thoughts(item: Members, path: str) -> str:
    content, summary = item.array("content") or [], item.array("summary") or []
    texts = [*parse_parts(content, f"{path}.content", {"reasoning_text": "text"})]
    summaries = [*parse_parts(summary, f"{path}.summary", {"summary_text": "text"})]
    return "\n".join(texts or summaries)
