from __future__ import annotations

import json
from typing import Any

import pytest

from handler.errors import ApiError
from handler.text.grammar import Grammar
from tests.handler.api.requests import chat, completion, refusal

SCHEMA = {"type": "object", "properties": {"ä": {"type": "string"}}}


def grammar(**members: Any) -> Grammar | None:
    found = completion(**members).options.grammar
    assert chat(**members).options.grammar == found
    return found


def json_schema(**members: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": members}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"response_format": {"type": "text"}},
        {"response_format": None, "guided_json": None, "structured_outputs": None},
        {"structured_outputs": {}},
        {"structured_outputs": {"json_object": False}},
    ],
)
def test_who_asks_for_nothing_gets_free_text(members: dict[str, Any]) -> None:
    assert grammar(**members) is None


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"response_format": json_schema(name="x", schema=SCHEMA)}, "response_format.json_schema.schema"),
        ({"response_format": json_schema(schema=SCHEMA, strict=False)}, "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_object", "schema": SCHEMA}}, "response_format.schema"),
        ({"guided_json": SCHEMA}, "guided_json"),
        ({"guided_json": json.dumps(SCHEMA)}, "guided_json"),
        ({"json_schema": SCHEMA}, "json_schema"),
        ({"structured_outputs": {"json": SCHEMA}}, "structured_outputs.json"),
    ],
)
def test_a_schema_has_many_names(members: dict[str, Any], param: str) -> None:
    found = grammar(**members)
    assert found is not None
    assert (found.kind, found.param, found.schema) == ("json_schema", param, SCHEMA)


@pytest.mark.parametrize(
    "members", [{"response_format": {"type": "json_object"}}, {"structured_outputs": {"json_object": True}}]
)
def test_any_object_is_a_schema_too(members: dict[str, Any]) -> None:
    found = grammar(**members)
    assert found is not None
    assert found.schema == {"type": "object"}


@pytest.mark.parametrize(
    ("members", "kind", "source"),
    [
        ({"guided_regex": "[0-9]+"}, "regex", "[0-9]+"),
        ({"structured_outputs": {"regex": "a"}}, "regex", "a"),
        ({"guided_choice": ["yes", "no.", "ä"]}, "regex", "yes|no\\x{2e}|\\x{e4}"),
        ({"structured_outputs": {"choice": ["a b"]}}, "regex", "a b"),
        ({"grammar": 'root ::= "a"'}, "gbnf", 'root ::= "a"'),
        ({"guided_grammar": 'root ::= "a"'}, "gbnf", 'root ::= "a"'),
        ({"guided_grammar": 'start: "a"'}, "lark", 'start: "a"'),
        ({"structured_outputs": {"grammar": 'start: "::="'}}, "lark", 'start: "::="'),
    ],
)
def test_other_grammars(members: dict[str, Any], kind: str, source: str) -> None:
    found = grammar(**members)
    assert found is not None
    assert (found.kind, found.source, found.schema) == (kind, source, None)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": json_schema(name="x")}, "response_format.json_schema.schema"),
        ({"response_format": json_schema(schema=[])}, "response_format.json_schema.schema"),
        ({"response_format": json_schema(schema=SCHEMA, strict="yes")}, "response_format.json_schema.strict"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": "[" * 100_000}, "guided_json"),
        ({"guided_json": {"const": "\ud800"}}, "guided_json"),
        ({"guided_json": {"const": float("inf")}}, "guided_json"),
        ({"guided_regex": 3}, "guided_regex"),
        ({"guided_choice": "yes"}, "guided_choice"),
        ({"guided_choice": []}, "guided_choice"),
        ({"guided_choice": ["a", 1]}, "guided_choice[1]"),
        ({"grammar": {}}, "grammar"),
        ({"structured_outputs": []}, "structured_outputs"),
        ({"structured_outputs": {"pattern": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"json_object": 1}}, "structured_outputs.json_object"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag"),
    ],
)
def test_what_is_no_grammar_is_refused_by_name(members: dict[str, Any], param: str) -> None:
    for request_of in (chat, completion):
        error = refusal(request_of, **members)
        assert (error.status, error.param) == (400, param)


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"guided_json": SCHEMA, "guided_regex": "a"}, "guided_regex"),
        ({"response_format": {"type": "json_object"}, "grammar": 'root ::= "a"'}, "grammar"),
        ({"structured_outputs": {"json": SCHEMA, "choice": ["a"]}}, "structured_outputs.choice"),
    ],
)
def test_two_grammars_at_once_are_refused(members: dict[str, Any], param: str) -> None:
    error = refusal(chat, **members)
    assert isinstance(error, ApiError)
    assert error.param == param
    assert "one grammar only" in error.message
