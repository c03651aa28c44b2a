"""Grammars as requests write them → as llguidance reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from handler.errors import GrammarRefused
from handler.text.grammar import Grammar
from handler.text.keywords import SchemaRefused
from handler.text.schemas import enforceable, places

# As json.dumps and chat templates write it, and so as models know it. Without a choice of blanks, keys are forced and
# no answer is a run of them. Without \u there is one spelling of a name, so none comes twice in disguise.
JSON_STYLE = {
    "item_separator": ", ",
    "key_separator": ": ",
    "whitespace_flexible": False,
    "json_allowed_escapes": 'nrbtf\\"',
}
# What may hold "%json" without meaning it, and what means it.
_LARK = re.compile(r'"(?:\\.|[^"\\\n])*"|(?:#|//)[^\n]*|/(?:\\.|[^/\\\n])+/|(?P<json>%json\b\s*)')
# llguidance's advice is about options that a request doesn't have.
_OTHER_WORDS = {
    "oneOf constraints are not supported. Enable 'coerce_one_of' option to approximate oneOf with anyOf": (
        "oneOf can only be enforced where its schemas can be told apart, by their types or by a required property "
        "with another const in each; or use anyOf"
    ),
    "NoExtensionBias": "it is nothing but references that lead back to it",
}
MOST_TRIES = 200  # to find the place of an error
Try = Callable[[str], str]


def source_of(grammar: Grammar, error_of: Try) -> str:
    """Write a grammar for llguidance.

    Args:
        grammar: As the request has it.
        error_of: Compiles such a source and says what is wrong with it; an empty text for nothing.

    Raises:
        GrammarRefused: It is malformed, or says something that can't be enforced.
    """
    write = {"json_schema": _json_schema, "regex": _regex, "lark": _lark, "gbnf": _gbnf}[grammar.kind]
    try:
        return write(grammar.source, error_of)
    except SchemaRefused as error:
        raise GrammarRefused(grammar.param, str(error)) from None


def _json_schema(source: str, error_of: Try) -> str:
    schema = json.loads(source)
    text = _styled_schema(schema)
    if error := error_of(text):
        raise SchemaRefused(*_innermost(schema, error, error_of))
    return text


def _styled_schema(schema: object, place: str = "#") -> str:
    return _grammars(json_schema=_styled(schema, place))


def _styled(schema: object, place: str = "#") -> Any:
    rewritten = enforceable(schema, place)
    if isinstance(rewritten, bool):
        rewritten = {} if rewritten else {"enum": []}
    return {**rewritten, "x-guidance": JSON_STYLE}


def _innermost(schema: object, error: str, error_of: Try) -> tuple[str, str]:
    """Find a schema that can't be done though all of its parts can: there is what is wrong."""
    for place in places(schema)[:MOST_TRIES]:
        if found := error_of(_styled_schema(schema, place)):
            return place, _OTHER_WORDS.get(found, found)
    return "#", _OTHER_WORDS.get(error, error)


def _regex(source: str, error_of: Try) -> str:
    from llguidance import LLMatcher

    if not source:
        raise SchemaRefused("the expression", "it is empty")
    return LLMatcher.grammar_from_regex(source)


def _lark(source: str, error_of: Try) -> str:
    parts, at = [], 0
    while found := _LARK.search(source, at):
        parts.append(source[at : found.end()])
        at = found.end()
        if found["json"]:
            schema, at = _value(source, at)
            parts.append(json.dumps(_styled(schema), ensure_ascii=False))
    return _grammars(lark_grammar="".join(parts) + source[at:])


def _value(source: str, at: int) -> tuple[Any, int]:
    try:
        return json.JSONDecoder().raw_decode(source, at)
    except (ValueError, RecursionError) as error:
        raise SchemaRefused("#", f"behind %json there must be JSON: {error}") from None


def _gbnf(source: str, error_of: Try) -> str:
    from llguidance.gbnf_to_lark import gbnf_to_lark

    try:
        return _grammars(lark_grammar=gbnf_to_lark(source))
    except Exception as error:  # it has no class of its own for every mistake
        raise SchemaRefused("the grammar", " ".join(str(error).split())) from None


def _grammars(**grammar: Any) -> str:
    return json.dumps({"grammars": [grammar]}, ensure_ascii=False)
