"""A streamed tool call is put together from its parts, and run."""

from __future__ import annotations

from typing import Any

import pytest

from demo.ask import collect, run


def part(index: int, **function: str) -> dict[str, Any]:
    return {"index": index, "id": f"call_{index}" if "name" in function else None, "function": function}


def test_parts_of_calls_are_put_together() -> None:
    calls: list[dict[str, Any]] = []
    collect(calls, [part(0, name="multiply")])
    collect(calls, [part(0, arguments='{"a": 3, ')])
    collect(calls, [part(0, arguments='"b": 4}'), part(1, name="add", arguments="{}")])
    assert [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in calls] == [
        ("call_0", "multiply", '{"a": 3, "b": 4}'),
        ("call_1", "add", "{}"),
    ]


def test_a_call_is_run() -> None:
    assert run("multiply", '{"a": 347, "b": 285}') == "98895"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("divide", '{"a": 1, "b": 2}'), ("multiply", '{"a": 1}'), ("multiply", "{"), ("multiply", "3")],
)
def test_a_call_that_can_t_be_run_is_told_to_the_model(name: str, arguments: str) -> None:
    assert "can't be called" in run(name, arguments)
