"""Tools → the grammar of an answer that may call them: thoughts, words, and calls as the model's family writes them.

In llguidance's Lark. Where calls have a marker, words stay free until it comes, and what follows is a call.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from handler.text.families import ReasoningFormat, ToolFormat
from handler.text.grammar import Grammar

Thinking = Literal["no", "may", "begun"]
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
# What else says which properties there may be.
_COMPOSED = ("$ref", "allOf", "anyOf", "oneOf", "if", "not", "patternProperties", "dependentSchemas",
             "additionalProperties", "unevaluatedProperties", "propertyNames")  # fmt: skip


@dataclass(frozen=True)
class Callee:
    """A tool as the grammar has it.

    Attributes:
        name: The tool's.
        parameters: The schema of its arguments.
    """

    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """What an answer is made of.

    Attributes:
        tools: How calls are written, and which there may be; None for none.
        callees: Those that may be called.
        required: Whether there must be a call.
        parallel: Whether there may be several.
        words: What the answer must be where it calls nothing, as a Lark expression; None for free text.
        thoughts: How thoughts are written; None for a model that has none.
        thinking: Whether they come first.
    """

    tools: ToolFormat | None
    callees: Sequence[Callee]
    required: bool
    parallel: bool
    words: str | None
    thoughts: ReasoningFormat | None
    thinking: Thinking

    def calling(self, callees: Sequence[Callee]) -> Form:
        """Return the same with these to call."""
        return replace(self, callees=callees)


def closed(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out arguments that a schema doesn't speak of: a function couldn't take them."""
    speaks = "properties" in schema and not any(key in schema for key in _COMPOSED)
    return {**schema, "additionalProperties": False} if speaks else schema


def json_rule(schema: object) -> str:
    """Return a Lark expression for a value by a JSON Schema."""
    return f"%json {json.dumps(schema)}"


def regex_rule(pattern: str) -> str:
    """Return a Lark expression for text by a regular expression."""
    return "/" + re.sub(r"\\.|/|\n", lambda found: {"/": r"\/", "\n": r"\n"}.get(found[0], found[0]), pattern) + "/"


def rule_of(grammar: Grammar) -> str | None:
    """Return a Lark expression for what follows a grammar; None for one that can't be part of another."""
    if grammar.kind == "json_schema":
        return json_rule(json.loads(grammar.source))
    return regex_rule(grammar.source) if grammar.kind == "regex" else None


def not_python(name: str, parameters: Mapping[str, Any]) -> str | None:
    """Return a name that Python has no call for: the tool's own, or a parameter's."""
    names = [*name.split("."), *parameters.get("properties", {})]
    return next((name for name in names if not name.isidentifier() or keyword.iskeyword(name)), None)


def write_grammar(form: Form, special: Callable[[str], int | None]) -> str:
    """Write a grammar down.

    Args:
        form: What an answer is made of.
        special: Gives the id of a special token by its text; None for what is written as text.
    """
    return "\n".join(_Writer(form, special).rules()) + "\n"


class _Writer:
    def __init__(self, form: Form, special: Callable[[str], int | None]) -> None:
        self._form = form
        self._special = special
        self._free = form.words is None and not form.required

    def rules(self) -> Iterator[str]:
        thoughts, thinking = self._form.thoughts, self._form.thinking
        if thoughts is None or thinking == "no":
            yield "start: body"
        else:
            yield from self._thinking(thoughts)
        yield from self._body("body", "TEXT")
        if self._form.callees:
            yield from self._calls()
        yield r"TEXT: /(.|\n)*/"

    def _thinking(self, thoughts: ReasoningFormat) -> Iterator[str]:
        yield self._until("thought", "TEXT", thoughts.end)
        yield r"GAP: /\n{1,2}/"
        if self._form.thinking == "begun":
            yield "start: thought GAP? body"
            return
        begin = self._written(thoughts.begin)
        if not self._free:
            yield f"start: ({begin} thought GAP?)? body"
            return
        # Words don't begin as thoughts do, so that a call's marker within thoughts is no call.
        yield f"start: {begin} thought GAP? body | lead"
        yield "LEAD: TEXT" + (
            "" if self._special(thoughts.begin) is not None else rf" & ~/{_escaped(thoughts.begin)}(.|\n)*/"
        )
        yield from self._body("lead", "LEAD")

    def _body(self, name: str, text: str) -> Iterator[str]:
        """An answer behind its thoughts, and the terminal that its free words are."""
        form, tools = self._form, self._form.tools
        if tools is None or not form.callees:
            yield f"{name}: {form.words or text}"
        elif form.required:
            yield f"{name}: calls"
        elif form.words is not None:
            yield f"{name}: calls | {form.words}"
        elif not tools.marker:
            # A bracket at the beginning is a call's: nothing else tells it.
            bracket = re.escape(tools.begin or "{")
            yield f"{name}: calls | {text}_WORDS"
            yield rf"{text}_WORDS: {text} & /(\s*[^\s{bracket}](.|\n)*)?/"
        else:
            yield self._until(f"{name}_mark", text, tools.marker)
            several = form.parallel and not tools.begin  # with words between them, since each has its marker
            yield f"{name}: {text} | {name}_mark behind" + (" (body_mark behind)* TEXT" if several else "")

    def _calls(self) -> Iterator[str]:
        form, tools = self._form, self._form.tools
        assert tools is not None
        for index, callee in enumerate(form.callees):
            yield from self._call(index, callee, tools)
        numbers = range(len(form.callees))
        yield "call: " + " | ".join(f"call_{index}" for index in numbers)
        several = f"({self._written(tools.between)} call)*" if form.parallel else ""
        optional = self._special(tools.optional)
        tag = f"<[{optional}]>? " if optional is not None else ""
        yield f"calls: {tag}{self._written(tools.begin)} call {several} {self._written(tools.end)}"
        if tools.begin:
            yield f"behind: {self._written(tools.begin[len(tools.marker) :])} call {several} {self._written(tools.end)}"
        else:
            yield "behind: " + " | ".join(f"behind_{index}" for index in numbers)

    def _call(self, index: int, callee: Callee, tools: ToolFormat) -> Iterator[str]:
        if tools.style == "pythonic":
            yield from _python_call(index, callee)
            return
        head = tools.head.replace("NAME", callee.name)
        yield f"call_{index}: {self._written(head)} arguments_{index} {self._written(tools.tail)}"
        yield f"arguments_{index}: {json_rule(callee.parameters)}"
        if not tools.begin:
            behind = self._written(head[len(tools.marker) :])
            yield f"behind_{index}: {behind} arguments_{index} {self._written(tools.tail)}"

    def _until(self, name: str, text: str, marker: str) -> str:
        """Text up to a marker, and the marker."""
        id = self._special(marker)
        return f"{name}[lazy]: {text} {_quoted(marker)}" if id is None else f"{name}: {text} <[{id}]>"

    def _written(self, text: str) -> str:
        """A text whose special tokens are tokens."""
        form, names = self._form, list[str]()
        if form.tools is not None:
            names += form.tools.shown
        if form.thoughts is not None:
            names += [form.thoughts.begin, form.thoughts.end]
        pieces = re.split("(" + "|".join(map(re.escape, names)) + ")", text)
        ids = [self._special(piece) if piece in names else None for piece in pieces]
        return " ".join(
            _quoted(piece) if id is None else f"<[{id}]>" for piece, id in zip(pieces, ids, strict=True) if piece
        )


def _python_call(index: int, callee: Callee) -> Iterator[str]:
    """`name(first=…, second=…)`: arguments in the schema's order, those that aren't required left out or not."""
    properties = callee.parameters.get("properties", {})
    required = callee.parameters.get("required", ())
    definitions = {key: callee.parameters[key] for key in ("$defs", "definitions") if key in callee.parameters}
    yield f"call_{index}: {_quoted(callee.name + '(')} first_{index}_0 {_quoted(')')}"
    for at, (name, schema) in enumerate(properties.items()):
        schema = {**schema, **definitions} if isinstance(schema, dict) else schema
        yield f"value_{index}_{at}: {_quoted(name + '=')} {json_rule(schema)}"
        after = f"rest_{index}_{at + 1}"
        left_out = name not in required
        yield f"first_{index}_{at}: value_{index}_{at} {after}" + (f" | first_{index}_{at + 1}" if left_out else "")
        yield f"rest_{index}_{at}: {_quoted(', ')} value_{index}_{at} {after}" + (f" | {after}" if left_out else "")
    count = len(properties)
    yield f'first_{index}_{count}: ""'
    yield f'rest_{index}_{count}: ""'


def _quoted(text: str) -> str:
    return json.dumps(text)


def _escaped(text: str) -> str:
    return re.escape(text).replace("/", r"\/")
