from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest

from handler.api.answering import Answering, plan_answer
from handler.api.prompt import Prompts
from handler.engine.constraint import Constraint
from handler.errors import GrammarRefused, UnsupportedParameter
from handler.text.deltas import joined
from handler.text.grammar import Grammar
from handler.text.tools import Tool, Tools
from tests.handler.doubles import byte_prompts
from tests.handler.text.chat_families import DEEPSEEK, LLAMA, MISTRAL, QWEN
from tests.handler.text.test_call_grammar import MARKED

UNENFORCEABLE = {"type": "object", "properties": {"a": {"not": {"type": "string"}}}, "required": ["a"]}
PROMPT = "<|im_start|>assistant\n"
BOOLEAN = Grammar("json_schema", '{"type": "boolean"}', "response_format")
ADDED = '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>'


def tools(
    choice: Literal["none", "auto", "required"] = "auto",
    strict: bool = False,
    schema: Any = None,
    parallel: bool = True,
) -> Tools:
    tool = Tool("add", None, schema or {"type": "object", "properties": {}}, strict, "tools[0].function.parameters")
    return Tools((tool,), choice, None, parallel)


def plan(
    template: str, offered: Tools | None = None, grammar: Grammar | None = None, text: str = PROMPT, **others: Any
) -> Answering:
    return plan_answer(replace(byte_prompts(template), **others), text, offered, grammar)


def said(planned: Answering, text: str) -> tuple[str, str, int]:
    """What the reader makes of a text: thoughts, words, and how many calls."""
    assert planned.reader is not None
    reader = planned.reader()
    (whole,) = joined([reader.push(text), reader.end()])
    return whole.reasoning, whole.text, len(whole.calls)


def test_without_tools_and_thoughts_text_is_text() -> None:
    assert plan(MISTRAL) == Answering()
    assert plan(MISTRAL, tools("none")) == Answering()
    assert plan(MISTRAL, grammar=BOOLEAN) == Answering(BOOLEAN)


def test_thoughts_are_read_where_a_model_has_them() -> None:
    assert said(plan(QWEN), "<think>a</think>b") == ("a", "b", 0)
    assert said(plan(DEEPSEEK, text="<Assistant><think>\n"), "a</think>b") == ("a", "b", 0)


def test_a_prompt_may_say_that_there_are_none() -> None:
    assert plan(QWEN, text=PROMPT + "<think>\n\n</think>\n\n").reader is None


def test_thoughts_come_before_what_a_schema_holds() -> None:
    planned = plan(DEEPSEEK, grammar=BOOLEAN, text="<Assistant><think>\n")
    assert planned.grammar is not None
    assert (planned.grammar.kind, planned.grammar.param) == ("lark", "response_format")
    assert said(planned, "hm</think>\n\ntrue") == ("hm", "true", 0)


def test_a_grammar_that_has_no_place_for_thoughts_has_all_of_the_answer() -> None:
    grammar = Grammar("lark", 'start: "x"', "guided_grammar")
    assert plan(DEEPSEEK, grammar=grammar, text="<Assistant><think>\n") == Answering(grammar)


@pytest.mark.parametrize(
    ("template", "offered", "held"),
    [
        (QWEN, tools(), True),
        (DEEPSEEK, tools(), True),
        (MISTRAL, tools(), True),
        (LLAMA, tools(), False),
        (LLAMA, tools(strict=True), True),
        (LLAMA, tools("required"), True),
    ],
)
def test_calls_are_held_where_a_marker_tells_them_or_they_have_to_be(template: str, offered: Tools, held: bool) -> None:
    assert (plan(template, offered).grammar is not None) == held


def test_calls_are_read() -> None:
    assert said(plan(QWEN, tools()), f"<think>{ADDED}</think>\nok\n{ADDED}") == (ADDED, "ok", 1)
    assert said(plan(LLAMA, tools()), '{"name": "add", "parameters": {}}') == ("", "", 1)
    assert said(plan(LLAMA, tools()), '{"name": "add", "parameters": 5}')[2] == 0


def test_a_schema_that_cannot_be_followed_is_left_to_the_model_unless_it_is_strict() -> None:
    assert plan(QWEN, tools("required", schema=UNENFORCEABLE)).grammar is not None
    with pytest.raises(GrammarRefused) as caught:
        plan(QWEN, tools("required", strict=True, schema=UNENFORCEABLE))
    assert caught.value.param == "tools[0].function.parameters"


def test_words_that_follow_a_schema_may_be_calls_instead() -> None:
    planned = plan(MISTRAL, tools(), BOOLEAN)
    assert planned.grammar is not None
    assert "boolean" in planned.grammar.source
    assert said(planned, "true") == ("", "true", 0)


def test_a_bad_grammar_of_words_is_named_as_the_request_names_it() -> None:
    bad = Grammar("json_schema", '{"type": "strange"}', "response_format.json_schema.schema")
    with pytest.raises(GrammarRefused) as caught:
        plan(QWEN, tools(), bad)
    assert caught.value.param == "response_format.json_schema.schema"


def test_other_grammars_and_calls_exclude_each_other() -> None:
    with pytest.raises(UnsupportedParameter) as caught:
        plan(QWEN, tools(), Grammar("lark", 'start: "x"', "guided_grammar"))
    assert caught.value.param == "guided_grammar"


def test_names_that_python_cannot_call_are_refused_where_it_has_to() -> None:
    pythonic = LLAMA.replace("Environment", "[func_name1(params_name1=params_value1)] Environment")
    with pytest.raises(UnsupportedParameter) as caught:
        plan(pythonic, tools("required", schema={"type": "object", "properties": {"a-b": {}}}))
    assert caught.value.param == "tools[0].function.parameters"
    assert plan(pythonic, tools(schema={"type": "object", "properties": {"a-b": {}}})).grammar is None


def test_special_markers_are_seen() -> None:
    seen = {MARKED.special_id("[TOOL_CALLS]"): b"[TOOL_CALLS]"}
    assert plan(MISTRAL, tools(), tokenizer=MARKED).shown == seen
    assert plan(MISTRAL, tools()).shown == {}


class Refusing:
    """Compiles nothing."""

    def compile(self, grammar: Grammar) -> Callable[[], Constraint]:
        raise AssertionError(grammar)


def test_nothing_is_compiled_for_free_text() -> None:
    prompts: Prompts = replace(byte_prompts(QWEN), grammars=Refusing())
    assert plan_answer(prompts, PROMPT, None, None).grammar is None
    assert plan_answer(replace(byte_prompts(LLAMA), grammars=Refusing()), PROMPT, tools(), None).grammar is None
