"""Messages and tools as a chat template takes them, and in words where it takes no tools."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from handler.text.families import ToolFormat
from handler.text.tools import Tools

Message = Mapping[str, Any]
SHORT_ID = 9
_SHORT_ID_LETTERS = string.ascii_letters + string.digits


class Given(NamedTuple):
    """What the template is given."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]] | None


def ways(messages: Sequence[Message], tools: Tools | None, form: ToolFormat) -> Iterator[Given]:
    """Give what a template may take, the best first; it may refuse each of them.

    Args:
        messages: OpenAI's, but calls' arguments are objects.
        tools: None where there are none.
        form: How the model writes calls.
    """
    shown = tools if tools is not None and tools.choice != "none" else None
    if not form.native:
        worded = list(_worded(messages, form))
        yield Given(_announced(worded, shown, form, "system"), None)
        if shown is not None:
            # Templates of models that know no system prompt refuse one.
            yield Given(_announced(worded, shown, form, "user"), None)
        return
    declared = None if shown is None else [tool.declared() for tool in shown.offered]
    told = list(_told(messages, form))
    yield Given(told, declared)
    if any(message.get("tool_calls") for message in messages):
        # Some templates put the arguments' text together with others.
        yield Given([_with_texts(message) for message in told], declared)


def _told(messages: Sequence[Message], form: ToolFormat) -> Iterator[Message]:
    """Messages for a template that knows calls."""
    names: dict[str, str] = {}
    for calling, group in groupby(messages, lambda message: message["role"] == "tool" or "tool_calls" in message):
        turns = [_named(message, names) for message in group]
        for message in _one_by_one(turns) if calling and form.one_call else turns:
            yield _shortened(message) if form.short_ids else message


def _named(message: Message, names: dict[str, str]) -> Message:
    """Give a tool's result the tool's name, which some templates write."""
    names |= {call["id"]: call["function"]["name"] for call in message.get("tool_calls", ())}
    if message["role"] != "tool" or "name" in message or message.get("tool_call_id") not in names:
        return message
    return {**message, "name": names[message["tool_call_id"]]}


def _one_by_one(turns: Sequence[Message]) -> Iterator[Message]:
    """Put each result behind its own call, where a message can't have several calls."""
    results = {message.get("tool_call_id"): message for message in turns if message["role"] == "tool"}
    for message in turns:
        calls = message.get("tool_calls", ())
        if len(calls) < 2:
            if message["role"] != "tool" or message.get("tool_call_id") in results:
                yield message
            continue
        for index, call in enumerate(calls):
            yield {**message, "content": message["content"] if index == 0 else "", "tool_calls": [call]}
            if call["id"] in results:
                yield results.pop(call["id"])


def _shortened(message: Message) -> Message:
    if message["role"] == "tool" and "tool_call_id" in message:
        return {**message, "tool_call_id": _short(message["tool_call_id"])}
    if "tool_calls" not in message:
        return message
    return {**message, "tool_calls": [{**call, "id": _short(call["id"])} for call in message["tool_calls"]]}


def _short(id: str) -> str:
    """Return an id of nine letters and digits, always the same one for an id."""
    if len(id) == SHORT_ID and id.isascii() and id.isalnum():
        return id
    digest = hashlib.sha256(id.encode()).digest()
    return "".join(_SHORT_ID_LETTERS[byte % len(_SHORT_ID_LETTERS)] for byte in digest[:SHORT_ID])


def _with_texts(message: Message) -> Message:
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": _json(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def _worded(messages: Sequence[Message], form: ToolFormat) -> Iterator[Message]:
    """Messages for a template that knows neither calls nor results: the assistant's and the user's words."""
    results: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            results.append(f"<tool_response>\n{message['content']}\n</tool_response>")
            continue
        if results and message["role"] == "user":
            yield {**message, "content": "\n".join([*results, message["content"]])}
            results = []
            continue
        if results:
            yield {"role": "user", "content": "\n".join(results)}
            results = []
        yield _worded_calls(message, form)
    if results:
        yield {"role": "user", "content": "\n".join(results)}


def _worded_calls(message: Message, form: ToolFormat) -> Message:
    if "tool_calls" not in message:
        return message
    functions = [call["function"] for call in message["tool_calls"]]
    calls = [form.head.replace("NAME", one["name"]) + _json(one["arguments"]) + form.tail for one in functions]
    kept = {key: value for key, value in message.items() if key != "tool_calls"}
    return {**kept, "content": "\n".join([*([message["content"]] if message["content"] else []), *calls])}


def _announced(messages: Sequence[Message], tools: Tools | None, form: ToolFormat, role: str) -> Sequence[Message]:
    """Put the tools into the first message of a role; a system prompt is made where there is none."""
    if tools is None:
        return messages
    announcement = announce(tools, form)
    at = next((index for index, message in enumerate(messages) if message["role"] == role), None)
    if at is None or (role == "system" and at > 0):
        return [{"role": role, "content": announcement}, *messages]
    parts = [messages[at]["content"], announcement] if role == "system" else [announcement, messages[at]["content"]]
    content = "\n\n".join(part for part in parts if part)
    return [*messages[:at], {**messages[at], "content": content}, *messages[at + 1 :]]


def announce(tools: Tools, form: ToolFormat) -> str:
    """Say in words which tools there are and how they are called."""
    example = form.head.replace("NAME", "TOOL") + '{"PARAMETER": "VALUE"}' + form.tail
    return "\n".join(
        [
            "You can call tools. Each of these lines has one, with a JSON Schema of its parameters:",
            *(_json(tool.declared()["function"]) for tool in tools.offered),
            "To call a tool, write its name and its arguments in this way:",
            example,
            *(["To call several, write them one after the other."] if tools.parallel else []),
            "Its result comes in the next message. Where no tool helps, answer without a call.",
        ]
    )


def _json(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
