"""How tools, calls and schemas are written: what the chat template makes of OpenAI's members, as plain text.

Calls are Hermes's, as Qwen 2.5 writes them. The template (`demo.export.CHAT_TEMPLATE`) writes the same text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from demo.words import Message

CALL_OPEN, CALL_CLOSE = CALL_TOKENS = ("<tool_call>", "</tool_call>")
TOOLS_HEAD = "Tools:"
TOOLS_TAIL = f"Write a call as {CALL_OPEN}."
SCHEMA_HEAD = "Answer as JSON by this schema: "

Schema = dict[str, Any]
Tool = dict[str, Any]  # {"name", "description", "parameters": schema}; the description can be absent
Call = dict[str, Any]  # {"name", "arguments": object}


def write_json(value: object) -> str:
    """JSON as `json.dumps` writes it, letters as they are."""
    return json.dumps(value, ensure_ascii=False)


def announce_tools(tools: Sequence[Tool]) -> str:
    """What the system turn says of the tools: one a line."""
    return "\n".join([TOOLS_HEAD, *map(write_json, tools), TOOLS_TAIL])


def announce_schema(schema: Schema) -> str:
    """What the system turn says of the answer's schema."""
    return SCHEMA_HEAD + write_json(schema)


def write_calls(calls: Sequence[Call]) -> str:
    """An answer that calls tools."""
    return "\n".join(f"{CALL_OPEN}\n{write_json(call)}\n{CALL_CLOSE}" for call in calls)


def read_calls(text: str) -> list[Any] | None:
    """The calls of an answer as pairs, in the order of their members; None if it isn't made of calls.

    An answer with a call that isn't JSON has none.
    """
    pieces = [piece.strip() for piece in text.strip().split(CALL_CLOSE)]
    if len(pieces) < 2 or pieces[-1] or not all(piece.startswith(CALL_OPEN) for piece in pieces[:-1]):
        return None
    calls = [read_object(piece.removeprefix(CALL_OPEN)) for piece in pieces[:-1]]
    return None if None in calls else calls


def read_object(text: str) -> list[Any] | None:
    """A JSON object as pairs, in the order of its members; None if the text isn't one."""
    try:
        found = json.loads(text, object_pairs_hook=lambda pairs: [("object", pairs)])
    except ValueError:
        return None
    return found if isinstance(found, list) and found and isinstance(found[0], tuple) else None


def tool_result(content: str) -> Message:
    """The message that brings a tool's result."""
    return {"role": "tool", "content": content}


def openai_tool(tool: Tool) -> Mapping[str, Any]:
    """A tool as OpenAI's API takes it."""
    return {"type": "function", "function": tool}
