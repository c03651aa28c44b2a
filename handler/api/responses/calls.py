"""The tools of a response's request: functions, in OpenAI's flat form."""

from __future__ import annotations

from typing import Any

from handler.api.members import Members, members_of
from handler.api.tools import Choice, make_tool, make_tools
from handler.errors import InvalidValue
from handler.text.tools import Tool, Tools

CHOICES: dict[str, Choice] = {"none": "none", "auto": "auto", "required": "required"}
Named = tuple[Choice, tuple[str, ...] | None]


def parse_calls(members: Members) -> Tools | None:
    """Check `tools`, `tool_choice` and `parallel_tool_calls`; None where no tools are offered.

    Raises:
        ApiError: They are refused; the error names the member and the bad value.
    """
    offered = tuple(_tool(value, f"tools[{index}]") for index, value in enumerate(members.array("tools") or []))
    parallel = members.boolean("parallel_tool_calls")
    choice, named = _choice(members.get("tool_choice"))
    if not offered:
        if choice == "required":
            raise InvalidValue("tool_choice", "given with tools", members.get("tool_choice"))
        return None
    return make_tools(offered, choice, named, parallel is not False, "tools", "tool_choice")


def told_tools(tools: Tools | None) -> list[dict[str, Any]]:
    """Return the tools as a response repeats them."""
    return [_told(tool) for tool in tools.offered] if tools else []


def _told(tool: Tool) -> dict[str, Any]:
    schema = {"parameters": dict(tool.parameters), "strict": tool.strict}
    return {"type": "function", "name": tool.name, "description": tool.description, **schema}


def _tool(value: object, path: str) -> Tool:
    members = members_of(value, path)
    members.kind(("function",), "tools")
    return make_tool(members, f"{path}.")


def _choice(value: object) -> Named:
    if value is None:
        return "auto", None
    if isinstance(value, str):
        if value not in CHOICES:
            raise InvalidValue("tool_choice", "none, auto, required, or an object that names a function", value)
        return CHOICES[value], None
    members = members_of(value, "tool_choice", "a string or an object that names a function")
    if members.text("type") == "allowed_tools":
        return _allowed(members)
    return "required", (_name(members),)


def _allowed(members: Members) -> Named:
    mode, tools = members.required("mode"), members.array("tools")
    if mode not in ("auto", "required"):
        raise InvalidValue("tool_choice.mode", "auto or required", mode)
    if not tools:
        raise InvalidValue("tool_choice.tools", "at least one tool", tools)
    paths = [f"tool_choice.tools[{index}]" for index in range(len(tools))]
    return CHOICES[mode], tuple(_name(members_of(tool, path)) for tool, path in zip(tools, paths, strict=True))


def _name(members: Members) -> str:
    members.kind(("function",), "tools")
    return members.required("name")
