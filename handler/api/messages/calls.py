"""The tools of Anthropic's requests."""

from __future__ import annotations

from handler.api.members import Members, members_of
from handler.api.tools import Choice, make_tool, make_tools
from handler.errors import InvalidValue, MissingParameter, UnsupportedParameter
from handler.text.tools import Tool, Tools

LONGEST_NAME = 128
CHOICES: dict[str, Choice] = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}


def parse_calls(members: Members) -> Tools | None:
    """Check `tools` and `tool_choice`; None where no tools are offered.

    Raises:
        ApiError: They are refused; the error names the member and the bad value.
    """
    offered = tuple(_tool(value, f"tools[{index}]") for index, value in enumerate(members.array("tools") or []))
    given = members.mapping("tool_choice")
    choice = Members({"type": "auto"} if given is None else given, "tool_choice.")
    kind = choice.required("type")
    if kind not in CHOICES:
        raise InvalidValue("tool_choice.type", f"one of {', '.join(CHOICES)}", kind)
    choice.text("name")  # a string with any type, though only one needs it
    named = (choice.required("name"),) if kind == "tool" else None
    alone = choice.boolean("disable_parallel_tool_use") or False
    if not offered:
        if CHOICES[kind] == "required":
            raise InvalidValue("tool_choice", "given with tools", given)
        return None
    return make_tools(offered, CHOICES[kind], named, not alone, "tools", "tool_choice.name")


def _tool(value: object, path: str) -> Tool:
    members = members_of(value, path)
    kind = members.text("type")
    if kind not in (None, "custom"):
        raise UnsupportedParameter(f"{path}.type", "only tools with a schema of their own are supported", kind)
    if members.get("input_schema") is None:
        raise MissingParameter(f"{path}.input_schema")
    return make_tool(members, f"{path}.", "input_schema", LONGEST_NAME)
