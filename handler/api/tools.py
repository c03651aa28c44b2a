"""Tools as OpenAI's chats give them: `tools` and `tool_choice`, or the older `functions` and `function_call`.

Other endpoints read their own forms, check each tool with `make_tool` and the whole with `make_tools`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from handler.api.members import Members
from handler.errors import InvalidType, InvalidValue, MissingParameter
from handler.text.tools import Tool, Tools

MAX_TOOLS = 128
LONGEST_NAME = 64
NAME = re.compile(r"[A-Za-z0-9_.-]+")
Choice = Literal["none", "auto", "required"]
CHOICES: Mapping[str, Choice] = {"none": "none", "auto": "auto", "required": "required"}


def make_tool(members: Members, path: str, schema: str = "parameters", longest: int = LONGEST_NAME) -> Tool:
    """Check one function: `name`, `description`, `strict` and the schema of its arguments.

    Args:
        members: Of the object that has them.
        path: Where it stands, with a dot behind it: `tools[0].function.`.
        schema: The member with the JSON Schema, such as Anthropic's `input_schema`.
        longest: Characters of the name.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    name = members.text("name")
    if name is None:
        raise MissingParameter(f"{path}name")
    if not NAME.fullmatch(name) or len(name) > longest:
        raise InvalidValue(f"{path}name", f"1 to {longest} letters, digits, _, - and .", name)
    return Tool(
        name=name,
        description=members.text("description"),
        parameters=_parameters(members.mapping(schema), f"{path}{schema}"),
        strict=members.boolean("strict") or False,
        path=f"{path}{schema}",
    )


def _parameters(schema: dict[str, Any] | None, path: str) -> dict[str, Any]:
    if not schema:
        return {"type": "object", "properties": {}}
    kind = schema.get("type", "object")
    if kind != "object":
        raise InvalidValue(f"{path}.type", "object", kind)
    if not isinstance(schema.get("properties", {}), dict):
        raise InvalidType(f"{path}.properties", "an object", schema["properties"])
    return {"type": "object", **schema}


def make_tools(
    offered: tuple[Tool, ...],
    choice: Choice,
    named: tuple[str, ...] | None,
    parallel: bool,
    path: str,
    choice_path: str,
) -> Tools:
    """Put the tools of a request together.

    Args:
        offered: All of them.
        choice: Whether one must be called.
        named: Names that the choice is bound to; None for all.
        parallel: Whether one answer may have several calls.
        path: The member that has the tools, for errors.
        choice_path: The one that has the choice.

    Raises:
        InvalidValue: Two have one name, or the choice names none of them.
    """
    names = [tool.name for tool in offered]
    if len(offered) > MAX_TOOLS:
        raise InvalidValue(path, f"at most {MAX_TOOLS} tools", len(offered))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidValue(path, "tools of different names", twice)
    unknown = next((name for name in named or () if name not in names), None)
    if unknown is not None:
        raise InvalidValue(choice_path, f"the name of a tool in {path}", unknown)
    return Tools(offered, choice, None if named is None else frozenset(named), parallel)


def parse_tools(members: Members) -> Tools | None:
    """Check `tools`, `tool_choice` and `parallel_tool_calls` of a chat; None where no tools are offered.

    Raises:
        ApiError: They are refused; the error names the member and the bad value.
    """
    given = members.array("tools") or []
    offered = tuple(_tool(value, f"tools[{index}]") for index, value in enumerate(given))
    parallel = members.boolean("parallel_tool_calls")
    choice, named = _choice(members.get("tool_choice"), bool(offered))
    if not offered:
        return None
    return make_tools(offered, choice, named, parallel is not False, "tools", "tool_choice")


def parse_functions(members: Members) -> Tools | None:
    """Check `functions` and `function_call`, which tools have replaced; None where no functions are offered.

    Raises:
        ApiError: They are refused; the error names the member and the bad value.
    """
    given = members.array("functions") or []
    paths = [f"functions[{index}]" for index in range(len(given))]
    offered = tuple(make_tool(_members(value, path), f"{path}.") for value, path in zip(given, paths, strict=True))
    choice, named = _function_choice(members.get("function_call"))
    if not offered:
        return None
    return make_tools(offered, choice, named, False, "functions", "function_call")


def _function_choice(value: object) -> tuple[Choice, tuple[str, ...] | None]:
    if value is None or value == "auto":
        return "auto", None
    if value == "none":
        return "none", None
    if not isinstance(value, dict):
        raise InvalidValue("function_call", "none, auto, or an object with the name of a function", value)
    name = Members(value, "function_call.").text("name")
    if name is None:
        raise MissingParameter("function_call.name")
    return "required", (name,)


def _tool(value: object, path: str) -> Tool:
    members = _function_of(value, path)
    return make_tool(members, f"{path}.function.")


def _function_of(value: object, path: str) -> Members:
    outer = _members(value, path)
    outer.kind(("function",), "tools")
    function = outer.mapping("function")
    if function is None:
        raise MissingParameter(f"{path}.function")
    return Members(function, f"{path}.function.")


def _choice(value: object, offered: bool) -> tuple[Choice, tuple[str, ...] | None]:
    if value is None:
        return "auto", None
    if isinstance(value, str):
        if value not in CHOICES:
            raise InvalidValue("tool_choice", "none, auto, required, or an object that names a function", value)
        if value == "required" and not offered:
            raise InvalidValue("tool_choice", "given with tools", value)
        return CHOICES[value], None
    members = _members(value, "tool_choice", "a string or an object that names a function")
    if members.text("type") == "allowed_tools":
        return _allowed(members)
    if not offered:
        raise InvalidValue("tool_choice", "given with tools", value)
    return "required", (_name_of(value, "tool_choice"),)


def _allowed(members: Members) -> tuple[Choice, tuple[str, ...]]:
    path = "tool_choice.allowed_tools"
    inner = _members(members.get("allowed_tools"), path)
    mode = inner.text("mode")
    mode = "auto" if mode is None else mode
    if mode not in ("auto", "required"):
        raise InvalidValue(f"{path}.mode", "auto or required", mode)
    tools = inner.array("tools")
    if not tools:
        raise InvalidValue(f"{path}.tools", "at least one tool", tools)
    return CHOICES[mode], tuple(_name_of(tool, f"{path}.tools[{index}]") for index, tool in enumerate(tools))


def _name_of(value: object, path: str) -> str:
    name = _function_of(value, path).text("name")
    if name is None:
        raise MissingParameter(f"{path}.function.name")
    return name


def _members(value: Any, path: str, expected: str = "an object") -> Members:
    if value is None:
        raise MissingParameter(path)
    if not isinstance(value, dict):
        raise InvalidType(path, expected, value)
    return Members(value, f"{path}.")
