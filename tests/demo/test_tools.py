"""A call names a tool that is offered, and its arguments stand in the question and fit the tool's schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from random import Random
from typing import Any

import jsonschema
import pytest

from demo.offers import CALL_CLOSE, CALL_OPEN, TOOLS_HEAD, TOOLS_TAIL, read_calls
from demo.tools import abstaining, calling
from demo.words import Dialogue

SEEDS = range(300)


def offered(dialogue: Dialogue) -> dict[str, Any]:
    """The tools of the system turn, by name."""
    announced = dialogue[0]["content"].partition(TOOLS_HEAD)[2].removesuffix(TOOLS_TAIL)
    return {tool["name"]: tool for tool in map(json.loads, announced.strip().splitlines())}


def calls(dialogue: Dialogue) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every call, with the question before it."""
    for question, answer in pairwise(dialogue):
        for text in re.findall(f"{CALL_OPEN}(.*?){CALL_CLOSE}", answer["content"], re.DOTALL):
            if answer["role"] == "assistant":
                yield question["content"], json.loads(text)


def spoken(value: object) -> list[str]:
    """How a question says a value; flags are said in words of their own."""
    if isinstance(value, bool):
        return []
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


@pytest.mark.parametrize("seed", SEEDS)
def test_arguments_stand_in_the_question_and_fit_the_schema(seed: int) -> None:
    dialogue = calling(Random(seed), seed % 2 == 0)
    found = list(calls(dialogue))
    assert found
    for question, call in found:
        parameters = offered(dialogue)[call["name"]]["parameters"]
        jsonschema.validate(call["arguments"], parameters)
        assert list(call["arguments"]) == [name for name in parameters["properties"] if name in call["arguments"]]
        assert all(part in question for value in call["arguments"].values() for part in spoken(value))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_result_is_told_as_it_came(seed: int) -> None:
    dialogue = calling(Random(seed), False)
    results = [message["content"] for message in dialogue if message["role"] == "tool"]
    answer = dialogue[-1]["content"]
    for result in results:
        told = json.loads(result) if result.startswith("{") else {"": result}
        assert all(str(value) in answer for value in told.values() if not isinstance(value, bool))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_tool_is_called_that_nobody_needs(seed: int) -> None:
    dialogue = abstaining(Random(seed), seed % 2 == 0)
    assert offered(dialogue)
    assert not list(calls(dialogue))


def test_some_questions_need_two_calls() -> None:
    answers = [message["content"] for seed in SEEDS for message in calling(Random(seed), False)]
    assert {len(read_calls(answer) or []) for answer in answers} == {0, 1, 2}
