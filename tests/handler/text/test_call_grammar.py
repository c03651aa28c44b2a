from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from kitoken import Kitoken
from numpy.typing import NDArray
from tokenizers import AddedToken

from handler.text.call_grammar import Callee, Form, Thinking, closed, not_python, regex_rule, write_grammar
from handler.text.calls import CallReader
from handler.text.deltas import joined
from handler.text.families import REASONING_FORMATS, TOOL_FORMATS
from handler.text.grammar import Grammar
from handler.text.grammars import Grammars
from handler.text.tokenizer import Tokenizer
from tests.handler.doubles import EOS, reference_tokenizer

SPECIAL = ("[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]", "<|python_tag|>")
WEATHER = Callee("get_weather", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})
ADD = Callee(
    "add",
    {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": [1, 2]}}, "required": ["b"]},
)
CALLEES = [Callee(one.name, closed(one.parameters)) for one in (WEATHER, ADD)]
BOTH = [("get_weather", '{"city": "Oslo"}'), ("add", '{"a": 1, "b": 2}')]


def special_tokenizer(special: Sequence[str]) -> Tokenizer:
    """The byte tokenizer with these special tokens more."""
    reference = reference_tokenizer()
    reference.add_special_tokens([AddedToken(text, special=True) for text in special])
    return Tokenizer(Kitoken.from_tokenizers(reference.to_str().encode()))


PLAIN, MARKED = special_tokenizer(()), special_tokenizer(SPECIAL)


def form(tools: str, **others: Any) -> Form:
    told: dict[str, Any] = {"required": False, "parallel": True, "words": None, "thoughts": None, "thinking": "no"}
    return Form(TOOL_FORMATS[tools], CALLEES, **{**told, **others})


def follows(given: Form, text: str, tokenizer: Tokenizer = PLAIN) -> str:
    """How a text stands to a grammar: whole, if it may end there; part, if it may go on; or what is refused."""
    grammar = Grammar("lark", write_grammar(given, tokenizer.special_id), "tools")
    constraint = Grammars(tokenizer, 300, [EOS]).compile(grammar)()
    for id in tokenizer.encode(text):
        forced = constraint.forced()
        if constraint.ended or (forced and forced[0] != id) or (not forced and not allows(constraint.allowed(), id)):
            return "no"
        constraint.advance(id)
    if constraint.forced():
        return "part"
    return "whole" if constraint.ended or allows(constraint.allowed(), EOS) else "part"


def allows(mask: NDArray[np.uint8], id: int) -> bool:
    """Whether a mask has a token."""
    return bool(mask[id // 8] >> (id % 8) & 1)


def written(tools: str, calls: Sequence[tuple[str, str]] = BOTH) -> str:
    """Calls as a family writes them."""
    row = TOOL_FORMATS[tools]
    if row.style == "pythonic":
        values = [
            ", ".join(f"{key}={json.dumps(value)}" for key, value in json.loads(args).items()) for _, args in calls
        ]
        body = [f"{name}({value})" for (name, _), value in zip(calls, values, strict=True)]
    else:
        body = [row.head.replace("NAME", name) + arguments + row.tail for name, arguments in calls]
    return row.begin + row.between.join(body) + row.end


FAMILIES = [(name, tokenizer) for name in TOOL_FORMATS for tokenizer in (PLAIN, MARKED)]


@pytest.mark.parametrize(("tools", "tokenizer"), FAMILIES)
def test_calls_that_must_come_are_the_familys_own(tools: str, tokenizer: Tokenizer) -> None:
    given = form(tools, required=True)
    assert follows(given, written(tools), tokenizer) == "whole"
    assert follows(given, written(tools, BOTH[:1]), tokenizer) == "whole"
    assert follows(given, written(tools)[:-1], tokenizer) == "part"
    assert follows(given, "Hello", tokenizer) == "no"
    assert follows(given, "", tokenizer) == "part"
    assert follows(given, written(tools, [("add", '{"a": "1", "b": 2}')]), tokenizer) == "no"
    assert follows(given, written(tools, [("sub", "{}")]), tokenizer) == "no"


@pytest.mark.parametrize(("tools", "tokenizer"), FAMILIES)
def test_one_call_may_be_all_there_is(tools: str, tokenizer: Tokenizer) -> None:
    for required in (True, False):
        given = form(tools, required=required, parallel=False)
        assert follows(given, written(tools, BOTH[1:]), tokenizer) == "whole"
        assert follows(given, written(tools), tokenizer) == "no"


@pytest.mark.parametrize(("tools", "tokenizer"), FAMILIES)
def test_words_may_come_instead_of_calls(tools: str, tokenizer: Tokenizer) -> None:
    given = form(tools)
    assert follows(given, "What do you mean by {that}, [sir]?\n", tokenizer) == "whole"
    assert follows(given, written(tools), tokenizer) == "whole"
    assert follows(given, written(tools, [("add", '{"a": "1", "b": 2}')]), tokenizer) == "no"


@pytest.mark.parametrize("tools", [name for name, row in TOOL_FORMATS.items() if row.marker])
def test_words_may_come_before_a_marker(tools: str) -> None:
    for tokenizer in (PLAIN, MARKED):
        assert follows(form(tools), f"I look.\n{written(tools)}", tokenizer) == "whole"
        assert follows(form(tools), f"I look.\n{TOOL_FORMATS[tools].marker}", tokenizer) == "part"


@pytest.mark.parametrize(("tools", "tokenizer"), FAMILIES)
@pytest.mark.parametrize("thoughts", ["think", "mistral"])
@pytest.mark.parametrize("thinking", ["may", "begun"])
def test_thoughts_come_first(tools: str, tokenizer: Tokenizer, thoughts: str, thinking: Thinking) -> None:
    row = REASONING_FORMATS[thoughts]
    assert row is not None
    begin = row.begin if thinking == "may" else ""
    marker = TOOL_FORMATS[tools].marker
    thought = f"{begin}\nIs it {marker if marker not in SPECIAL else ''}?\n{row.end}\n\n"
    for required in (True, False):
        given = form(tools, required=required, thoughts=row, thinking=thinking)
        assert follows(given, thought + written(tools), tokenizer) == "whole"
        assert follows(given, thought, tokenizer) == ("part" if required else "whole")
        assert follows(given, thought + "Hello", tokenizer) == ("no" if required else "whole")
        if thinking == "may":
            assert follows(given, written(tools), tokenizer) == "whole"
            assert follows(given, "Hello", tokenizer) == ("no" if required else "whole")


def test_words_may_be_held_to_something() -> None:
    given = form("hermes", words='%json {"type": "boolean"}')
    assert [follows(given, text) for text in ("true", written("hermes"), "Hello")] == ["whole", "whole", "no"]


def test_without_tools_only_thoughts_are_free() -> None:
    given = Form(None, (), False, False, "/[0-9]+/", REASONING_FORMATS["think"], "begun")
    assert [follows(given, text) for text in ("so 5</think>\n7", "</think>x", "7")] == ["whole", "no", "part"]


@pytest.mark.parametrize("tools", TOOL_FORMATS)
def test_what_the_grammar_lets_through_is_read_as_calls(tools: str) -> None:
    reader = CallReader(TOOL_FORMATS[tools], ["get_weather", "add"], certain=True)
    (whole,) = joined([reader.push(written(tools)), reader.end()])
    assert [(call.name, call.arguments) for call in whole.calls] == BOTH


@pytest.mark.parametrize(
    ("arguments", "stands"),
    [
        ("a=1, b=2", "whole"),
        ("b=2", "whole"),
        ("a=1", "no"),
        ("b=2, a=1", "no"),
        ("", "no"),
        ("a=1, b=3", "no"),
    ],
)
def test_pythons_arguments_may_be_left_out_where_they_are_optional(arguments: str, stands: str) -> None:
    assert follows(form("pythonic", required=True), f"[add({arguments})]") == stands


def test_a_tool_may_take_nothing() -> None:
    nothing = [Callee("now", {"type": "object", "properties": {}})]
    assert follows(form("pythonic", required=True).calling(nothing), "[now()]") == "whole"
    assert follows(form("hermes", required=True).calling(nothing), written("hermes", [("now", "{}")])) == "whole"


def test_definitions_are_found_from_each_argument() -> None:
    schema: Mapping[str, Any] = {
        "type": "object",
        "properties": {"at": {"$ref": "#/$defs/point"}},
        "required": ["at"],
        "$defs": {"point": {"enum": ["x", "y"]}},
    }
    given = form("pythonic", required=True).calling([Callee("go", schema)])
    assert [follows(given, f'[go(at="{point}")]') for point in "xz"] == ["whole", "no"]


def test_arguments_that_a_schema_does_not_speak_of_are_left_out() -> None:
    for parameters in (WEATHER.parameters, {"type": "object", "properties": {}}):
        assert closed(parameters)["additionalProperties"] is False
    schemas: list[Mapping[str, Any]] = [
        {"type": "object"},
        {"properties": {"a": {}}, "additionalProperties": True},
        {"properties": {"a": {}}, "allOf": []},
    ]
    for schema in schemas:
        assert closed(schema) == schema


@pytest.mark.parametrize(("name", "keys", "bad"), [("a.b", ["c"], None), ("a-b", [], "a-b"), ("a", ["from"], "from")])
def test_python_has_no_call_for_some_names(name: str, keys: Sequence[str], bad: str | None) -> None:
    assert not_python(name, {"properties": dict.fromkeys(keys)}) == bad


def test_a_regular_expression_may_hold_slashes() -> None:
    assert regex_rule("a/b\\/c\n") == "/a\\/b\\/c\\n/"
