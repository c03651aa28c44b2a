from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from handler.api.refused import CHAT, COMPLETION, TEXT, Refused
from tests.handler.api.requests import chat, completion, refusal
from tests.pages import page, table

OF: list[tuple[Callable[..., Any], Refused]] = [
    *((chat, member) for member in (*TEXT, *CHAT)),
    *((completion, member) for member in (*TEXT, *COMPLETION)),
]
IDS = [f"{request.__name__}-{member.name}" for request, member in OF]


@pytest.mark.parametrize(("request_of", "member"), OF, ids=IDS)
def test_a_member_that_asks_for_something_is_refused_by_name(request_of: Any, member: Refused) -> None:
    error = refusal(request_of, **{member.name: "something"})
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", member.name)
    assert member.reason in error.message


@pytest.mark.parametrize(("request_of", "member"), OF, ids=IDS)
def test_a_member_that_asks_for_nothing_is_ignored(request_of: Any, member: Refused) -> None:
    for nothing in (None, *member.neutral):
        assert request_of(**{member.name: nothing}) == request_of()


def test_what_cannot_change_the_text_is_ignored() -> None:
    harmless: dict[str, Any] = {
        "cache_prompt": False,
        "id_slot": 3,
        "priority": 1,
        "prediction": {"type": "content", "content": "x"},
        "service_tier": "flex",
        "prompt_cache_key": "x",
        "timings_per_token": True,
        "return_tokens": True,
        "store": True,
        "user": "x",
    }
    assert chat(**harmless) == chat()
    assert completion(**harmless) == completion()


def test_the_docs_have_the_same_list() -> None:
    told = {row[0].strip("`"): row[1:] for row in table(page("docs/api.md"), "refused | asks for nothing | instead")}
    made = {}
    for members, where in ((TEXT, ""), (CHAT, "chats: "), (COMPLETION, "completions: ")):
        for member in members:
            values = ", ".join(f"`{_json(value)}`" for value in member.neutral)
            made[member.name] = [values, where + member.reason]
    assert told == made


def _json(value: object) -> str:
    return json.dumps(value)
