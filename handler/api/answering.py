"""How an answer is held and read: the grammar that it must follow, and who tells thoughts, words and calls apart."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from handler.api.prompt import Prompts
from handler.errors import GrammarRefused, UnsupportedParameter
from handler.text.call_grammar import ANY_OBJECT, Callee, Form, Thinking, closed, not_python, rule_of, write_grammar
from handler.text.calls import CallReader
from handler.text.families import ReasoningFormat
from handler.text.grammar import Grammar
from handler.text.reading import Reader
from handler.text.thoughts import ThoughtReader, Words
from handler.text.tools import Tool, Tools


@dataclass(frozen=True)
class Answering:
    """What an answer's text is held to, and how it is read.

    Attributes:
        grammar: None for free text.
        reader: Makes who reads it; None where all of it is words.
        shown: Special tokens that it has to see: their texts by their ids.
    """

    grammar: Grammar | None = None
    reader: Callable[[], Reader] | None = None
    shown: Mapping[int, bytes] = field(default_factory=dict)


def plan_answer(prompts: Prompts, text: str, tools: Tools | None, grammar: Grammar | None) -> Answering:
    """Decide how an answer is held and read.

    Args:
        prompts: What the model's prompts are made with.
        text: The prompt, rendered.
        tools: None where there are none.
        grammar: What the request wants words to follow; None for free text.

    Raises:
        GrammarRefused: A strict tool's schema, or the words' grammar, can't be followed.
        UnsupportedParameter: The grammar can't be joined with calls, or the family has no way to write a call.
    """
    thoughts = prompts.chat_template().formats.reasoning_format
    thinking = _thinking(text, thoughts)
    if tools is None or not tools.callable:
        return _of_words(prompts, thoughts, thinking, grammar)
    return _of_calls(prompts, thoughts, thinking, tools, grammar)


def _thinking(text: str, thoughts: ReasoningFormat | None) -> Thinking:
    """Whether thoughts come first: some templates begin them, or say that there were none."""
    if thoughts is None or text.rstrip().endswith(thoughts.end):
        return "no"
    return "begun" if text.rstrip().endswith(thoughts.begin) else "may"


def _of_words(
    prompts: Prompts, thoughts: ReasoningFormat | None, thinking: Thinking, grammar: Grammar | None
) -> Answering:
    if thoughts is None or thinking == "no":
        return Answering(grammar)
    if grammar is not None:
        words = rule_of(grammar)
        if words is None:
            return Answering(grammar)  # All of it is what the grammar says: there is no place for thoughts.
        form = Form(None, (), False, False, words, thoughts, thinking)
        grammar = Grammar("lark", write_grammar(form, prompts.tokenizer.special_id), grammar.param)
    texts = (thoughts.begin, thoughts.end)
    return Answering(grammar, lambda: ThoughtReader(thoughts, thinking == "begun", Words()), _shown(prompts, texts))


def _of_calls(
    prompts: Prompts, thoughts: ReasoningFormat | None, thinking: Thinking, tools: Tools, grammar: Grammar | None
) -> Answering:
    words = None if grammar is None else rule_of(grammar)
    if grammar is not None and words is None:
        what = "only a JSON Schema or a regular expression goes together with tools that may be called"
        raise UnsupportedParameter(grammar.param, what, grammar.source)
    written, callees = prompts.chat_template().formats.tool_format, tools.callable
    form = Form(written, (), tools.choice == "required", tools.parallel, words, thoughts, thinking)
    # Without a marker, a bracket at the beginning is what tells a call: it is only forbidden to words if it has to be.
    certain = form.required or words is not None or bool(written.marker) or any(tool.strict for tool in callees)
    held = _held(prompts, form, callees, grammar) if certain else None
    names = frozenset(tool.name for tool in callees)

    def reader() -> Reader:
        calls = CallReader(
            written,
            names,
            parallel=tools.parallel,
            certain=certain,
            # Without a marker, what begins as a call may be what a schema wants.
            halves=not certain or (words is not None and not form.required and not written.marker),
            words=not form.required,
        )
        return calls if thoughts is None or thinking == "no" else ThoughtReader(thoughts, thinking == "begun", calls)

    texts = () if thoughts is None else (thoughts.begin, thoughts.end)
    return Answering(held, reader, _shown(prompts, (*written.shown, *texts)))


def _held(prompts: Prompts, form: Form, tools: Sequence[Tool], grammar: Grammar | None) -> Grammar:
    """Write the grammar down; what can't be followed of a schema that isn't strict is left to the model."""
    if form.tools is not None and form.tools.style == "pythonic":
        _check_names(tools)
    param = tools[0].path.partition("[")[0] if grammar is None else grammar.param
    callees = [Callee(tool.name, closed(tool.parameters)) for tool in tools]
    written = Grammar("lark", write_grammar(form.calling(callees), prompts.tokenizer.special_id), param)
    try:
        prompts.grammars.compile(written)
        return written
    except GrammarRefused:
        if grammar is not None:
            prompts.grammars.compile(grammar)
    callees = [Callee(tool.name, _followable(prompts, tool)) for tool in tools]
    return Grammar("lark", write_grammar(form.calling(callees), prompts.tokenizer.special_id), param)


def _followable(prompts: Prompts, tool: Tool) -> Mapping[str, object]:
    schema = closed(tool.parameters)
    try:
        prompts.grammars.compile(Grammar("json_schema", json.dumps(schema), tool.path))
    except GrammarRefused:
        if tool.strict:
            raise
        return ANY_OBJECT
    return schema


def _check_names(tools: Sequence[Tool]) -> None:
    for tool in tools:
        name = not_python(tool.name, tool.parameters)
        if name is not None:
            raise UnsupportedParameter(tool.path, "the model writes calls as Python does, which has no such name", name)


def _shown(prompts: Prompts, texts: Sequence[str]) -> Mapping[int, bytes]:
    ids = {text: prompts.tokenizer.special_id(text) for text in texts}
    return {id: text.encode() for text, id in ids.items() if id is not None}
