from __future__ import annotations

from typing import Any

import pytest

from handler.api.members import Members
from handler.api.rendering import parse_opening, parse_variables
from tests.handler.api.requests import refusal


@pytest.mark.parametrize(
    ("given", "opening"),
    [
        ({}, "answer"),
        ({"add_generation_prompt": True}, "answer"),
        ({"add_generation_prompt": False}, "nothing"),
        ({"continue_final_message": True}, "message"),
        ({"continue_final_message": True, "add_generation_prompt": False}, "message"),
        ({"continue_final_message": False}, "answer"),
    ],
)
def test_a_model_goes_on_with_an_answer_or_a_message(given: dict[str, Any], opening: str) -> None:
    assert parse_opening(Members(given), "assistant") == opening


@pytest.mark.parametrize(("given", "role"), [({"add_generation_prompt": True}, "assistant"), ({}, "user")])
def test_not_with_both_nor_with_a_users_message(given: dict[str, Any], role: str) -> None:
    body = {"continue_final_message": True, **given}
    error = refusal(lambda: parse_opening(Members(body), role))
    assert (error.status, error.param) == (400, "continue_final_message")


@pytest.mark.parametrize(
    ("given", "variables"),
    [
        ({}, {}),
        ({"reasoning_effort": "high"}, {"reasoning_effort": "high"}),
        ({"reasoning_effort": "none"}, {"reasoning_effort": "none", "enable_thinking": False}),
        ({"reasoning_effort": "none", "enable_thinking": True}, {"reasoning_effort": "none", "enable_thinking": True}),
        (
            {"enable_thinking": False, "chat_template_kwargs": {"enable_thinking": True, "a": 1}},
            {"enable_thinking": True, "a": 1},
        ),
    ],
)
def test_the_template_is_told_how_much_to_think(given: dict[str, Any], variables: dict[str, Any]) -> None:
    assert parse_variables(Members(given)) == variables
