from __future__ import annotations

from typing import Any

import pytest

from handler.api.members import Members
from handler.api.tools import parse_functions, parse_tools
from handler.errors import ApiError
from handler.text.tools import Tools

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def tool(name: str = "add", **others: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **others}}


def tools(**members: Any) -> Tools | None:
    return parse_tools(Members({"tools": [tool(), tool("sub", strict=True)], **members}))


def names(told: Tools | None) -> list[str]:
    assert told is not None
    return [tool.name for tool in told.callable]


def test_tools_are_read() -> None:
    told = tools()
    assert told is not None
    assert (told.choice, told.parallel, names(told)) == ("auto", True, ["add", "sub"])
    assert [(one.strict, one.parameters, one.path) for one in told.offered] == [
        (False, SCHEMA, "tools[0].function.parameters"),
        (True, SCHEMA, "tools[1].function.parameters"),
    ]


def test_parameters_may_be_left_out() -> None:
    givens: list[dict[str, Any]] = [{}, {"parameters": None}, {"parameters": {}}]
    for given in givens:
        told = tools(tools=[{"type": "function", "function": {"name": "now", **given}}])
        assert told is not None
        assert told.offered[0].parameters == {"type": "object", "properties": {}}


def test_parameters_are_an_object_even_if_they_do_not_say_so() -> None:
    told = tools(tools=[tool(parameters={"properties": {}})])
    assert told is not None
    assert told.offered[0].parameters == {"type": "object", "properties": {}}


def test_no_tools_are_no_tools() -> None:
    nothing: list[Any] = [None, []]
    for given in nothing:
        assert tools(tools=given) is None
        assert tools(tools=given, tool_choice="auto", parallel_tool_calls=False) is None


@pytest.mark.parametrize(
    ("choice", "told", "callable"),
    [
        ("none", "none", []),
        ("auto", "auto", ["add", "sub"]),
        ("required", "required", ["add", "sub"]),
        ({"type": "function", "function": {"name": "sub"}}, "required", ["sub"]),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [tool("sub")]}}, "auto", ["sub"]),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [tool()]}}, "required", ["add"]),
    ],
)
def test_the_choice_says_what_may_be_called(choice: Any, told: str, callable: list[str]) -> None:
    read = tools(tool_choice=choice)
    assert read is not None
    assert (read.choice, names(read), len(read.offered)) == (told, callable, 2)


def test_calls_may_be_held_to_one() -> None:
    told = tools(parallel_tool_calls=False)
    assert told is not None
    assert not told.parallel


CHOICE = "tool_choice"


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"tools": 5}, "tools"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tools": [tool("a b")]}, "tools[0].function.name"),
        ({"tools": [tool("a" * 65)]}, "tools[0].function.name"),
        ({"tools": [tool(description=5)]}, "tools[0].function.description"),
        ({"tools": [tool(strict="yes")]}, "tools[0].function.strict"),
        ({"tools": [tool(parameters=[])]}, "tools[0].function.parameters"),
        ({"tools": [tool(parameters={"type": "string"})]}, "tools[0].function.parameters.type"),
        ({"tools": [tool(parameters={"properties": []})]}, "tools[0].function.parameters.properties"),
        ({"tools": [tool(), tool()]}, "tools"),
        ({"tools": [tool(f"f{index}") for index in range(129)]}, "tools"),
        ({CHOICE: "all"}, CHOICE),
        ({CHOICE: 5}, CHOICE),
        ({CHOICE: {"type": "function", "function": {"name": "mul"}}}, CHOICE),
        ({CHOICE: {"type": "function", "function": {}}}, f"{CHOICE}.function.name"),
        ({CHOICE: {"type": "allowed_tools"}}, f"{CHOICE}.allowed_tools"),
        ({CHOICE: {"type": "allowed_tools", "allowed_tools": {"tools": []}}}, f"{CHOICE}.allowed_tools.tools"),
        ({CHOICE: {"type": "allowed_tools", "allowed_tools": {"mode": "x"}}}, f"{CHOICE}.allowed_tools.mode"),
        ({CHOICE: {"type": "allowed_tools", "allowed_tools": {"mode": ""}}}, f"{CHOICE}.allowed_tools.mode"),
        ({CHOICE: {"type": "mcp"}}, f"{CHOICE}.type"),
        ({"tools": [], CHOICE: "required"}, CHOICE),
        ({"tools": None, CHOICE: {"type": "function", "function": {"name": "add"}}}, CHOICE),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls"),
    ],
)
def test_bad_tools_are_refused_by_their_path(members: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        tools(**members)
    assert (caught.value.status, caught.value.param) == (400, param)


def functions(**members: Any) -> Tools | None:
    return parse_functions(Members({"functions": [{"name": "add", "parameters": SCHEMA}], **members}))


@pytest.mark.parametrize(
    ("choice", "told", "callable"),
    [(None, "auto", ["add"]), ("auto", "auto", ["add"]), ("none", "none", []), ({"name": "add"}, "required", ["add"])],
)
def test_functions_are_tools_of_which_one_is_called(choice: Any, told: str, callable: list[str]) -> None:
    read = functions(function_call=choice)
    assert read is not None
    assert (read.choice, names(read), read.parallel) == (told, callable, False)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"functions": [{}]}, "functions[0].name"),
        ({"functions": ["add"]}, "functions[0]"),
        ({"function_call": "required"}, "function_call"),
        ({"function_call": {}}, "function_call.name"),
        ({"function_call": {"name": "sub"}}, "function_call"),
    ],
)
def test_bad_functions_are_refused_by_their_path(members: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        functions(**members)
    assert (caught.value.status, caught.value.param) == (400, param)
