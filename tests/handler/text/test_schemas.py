"""What is asked of llguidance, and what is refused before it is asked."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.text.formats import PATTERNS
from handler.text.keywords import SchemaRefused
from handler.text.schemas import DEEPEST, MOST, enforceable, places


def refusal(schema: Any) -> str:
    with pytest.raises(SchemaRefused) as caught:
        enforceable(schema)
    return str(caught.value)


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"uniqueItems": True}, "#/uniqueItems"),
        ({"properties": {"a": {"not": {}}}}, "#/properties/a/not"),
        ({"anyOf": [{}, {"if": True, "then": False}]}, "#/anyOf/1/if"),
        ({"items": {"contains": {}}}, "#/items/contains"),
        ({"properties": {"a/b~c": {"propertyNames": False}}}, "#/properties/a~1b~0c/propertyNames"),
        ({"$defs": {"a": {"dependentRequired": {"a": ["b"]}}}, "$ref": "#/$defs/a"}, "#/$defs/a/dependentRequired"),
        ({"$ref": "https://example.com/schema.json"}, "#/$ref"),
        ({"$ref": "#/$defs/missing"}, "#/$ref"),
        ({"$ref": "#missing"}, "#/$ref"),
        ({"properties": {"a": {"$id": "other", "$ref": "#"}}}, "#/properties/a/$id"),
        ({"format": "regex"}, "#/format"),
        ({"format": "regex", "pattern": "a"}, "#/format"),
        ({"format": "nanoid"}, "#/format"),
        ({"minLength": 2**31}, "#/minLength"),
        ({"multipleOf": 1234567}, "#/multipleOf"),
        ({"multipleOf": 0}, "#/multipleOf"),
        ({"minimum": 2**60}, "#/minimum"),
        ({"maximum": "3"}, "#/maximum"),
        ({"const": {"a": [2**53 + 1]}}, "#/const/a/0"),
        ({"enum": ["a\x00b"]}, "#/enum/0"),
        ({"pattern": "^a\\x01b$"}, "#/pattern"),
        ({"patternProperties": {"\\u0007": {}}}, "#/patternProperties"),
        ({"minProperties": 2}, "#/minProperties"),
        ({"minLength": -1}, "#/minLength"),
        ({"maxItems": 1.5}, "#/maxItems"),
        ({"type": "text"}, "#/type"),
        ({"type": []}, "#/type"),
        ({"required": "a"}, "#/required"),
        ({"properties": []}, "#/properties"),
        ({"items": 3}, "#/items"),
        ({"allOf": {}}, "#/allOf"),
    ],
)
def test_a_refusal_names_the_place_and_the_keyword(schema: Any, place: str) -> None:
    assert refusal(schema).startswith(f"at {place}: ")


@pytest.mark.parametrize(
    "schema",
    [
        {"uniqueItems": False, "title": "T", "description": "D", "default": 3, "examples": [1], "deprecated": True},
        {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "here",
            "$comment": "c",
            "x-own": {"not": {}},
        },
        {"if": {"const": 1}, "propertyNames": True, "not": False, "unevaluatedProperties": True},
        {"discriminator": {"propertyName": "kind"}, "x-guidance": {"lenient": True}},
    ],
)
def test_what_asks_for_nothing_is_left_out(schema: Any) -> None:
    assert enforceable(schema) == {}


def test_references_lead_to_definitions_of_their_own() -> None:
    schema = {
        "properties": {"a": {"$ref": "#/x/0%20~1"}, "b": {"$ref": "#b"}},
        "x": {"0 /": {"type": "null"}},
        "$defs": {"q": {"$anchor": "b", "items": {"$ref": "#"}}},
    }
    found = enforceable(schema)
    names = [found["properties"][name]["$ref"].removeprefix("#/$defs/") for name in ("a", "b")]
    assert found["$defs"][names[0]] == {"type": "null"}
    assert found["$defs"][found["$defs"][names[1]]["items"]["$ref"].removeprefix("#/$defs/")] == {
        "properties": found["properties"]
    }


def test_options_of_one_of_are_written_in_place_but_not_for_ever() -> None:
    option = {"properties": {"k": {"const": "a"}, "more": {"oneOf": [{"$ref": "#/$defs/a"}, {"type": "null"}]}}}
    found = enforceable({"oneOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "$defs": {"a": option}})
    assert found["oneOf"][0]["properties"]["k"] == {"const": "a"}
    assert found["oneOf"][0]["properties"]["more"]["oneOf"][0].keys() == {"$ref"}


def test_what_is_unevaluated_where_a_schema_stands_alone_is_additional() -> None:
    assert enforceable({"properties": {}, "unevaluatedProperties": False}) == {
        "properties": {},
        "additionalProperties": False,
    }
    assert refusal({"anyOf": [{}], "unevaluatedProperties": False}).startswith("at #/unevaluatedProperties")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"maximum": 2**63 - 1}, {"maximum": 2**53}),
        ({"minimum": -(2**63)}, {"minimum": -(2**53)}),
        ({"maximum": 0.1}, {"maximum": 0.1}),
        ({"format": "int32"}, {"minimum": -(2**31), "maximum": 2**31 - 1}),
        ({"minLength": 2.0}, {"minLength": 2}),
        ({"maxItems": 2**53 - 1}, {"maxItems": 2**31 - 1}),
        ({"propertyNames": {"type": "string"}}, {}),
        ({"format": "e164", "pattern": "^\\+[0-9]+$"}, {"pattern": "^\\+[0-9]+$"}),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "exclusiveMinimum": 0}),
        ({"exclusiveMaximum": 2**53}, {"exclusiveMaximum": 2**53}),
    ],
)
def test_bounds_are_never_wider(given: Any, found: Any) -> None:
    assert enforceable(given) == found


@pytest.mark.parametrize("pattern", PATTERNS)
@given(st.data())
def test_a_pattern_without_look_around_is_never_wider(pattern: str, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(enforceable({"pattern": pattern})["pattern"].removesuffix("$") + r"\Z"))
    assert re.fullmatch(pattern, text)


def test_a_format_stands_beside_a_pattern() -> None:
    found = enforceable({"type": "string", "pattern": "^2", "format": "date"})
    assert found["allOf"][0] == {"type": "string", "pattern": "^2"}
    assert found["allOf"][1].keys() == {"pattern"}


@pytest.mark.parametrize("pattern",
    [
        "[^\\x00-\\x1f]", "^[\\x00-\\x7F]*$", "\\\\x01", "a\\tb", "\\n", "[\\x20-\\x7e]",
        "\\u00e9", "[\\u00e8\\u00e9]", "\\u{e9}", "\\x{1F600}", "\\U0001F600",
    ],
)  # fmt: skip
def test_classes_may_hold_control_characters(pattern: str) -> None:
    assert enforceable({"pattern": pattern}) == {"pattern": pattern}


@pytest.mark.parametrize(
    "pattern",
    ["[\\x01]", "\\v", "\\cA", "\\0", "\\u001F", "\\x{1f}", "\x01", "[^\\x01-\\u{10ffff}]", "[[:cntrl:]&&[\\x01]]"],
)
def test_no_pattern_may_want_a_single_one(pattern: str) -> None:
    assert "control characters" in refusal({"pattern": pattern})


def test_depth_and_size_have_limits() -> None:
    deep: Any = {}
    for _ in range(DEEPEST + 1):
        deep = {"items": deep}
    assert "levels deep" in refusal(deep)
    assert "more than" in refusal({"properties": {str(n): {} for n in range(MOST + 1)}})


def test_the_innermost_place_comes_first() -> None:
    assert list(places({"properties": {"a": {"items": {"type": "null"}}}})) == [
        "#/properties/a/items",
        "#/properties/a",
        "#",
    ]
