"""The members of a body that ask for a form of the answer: OpenAI's, vLLM's and llama.cpp's names for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from handler.api.members import Members, check_text
from handler.errors import InvalidType, InvalidValue, MissingParameter, UnsupportedParameter
from handler.text.grammar import Grammar

ANY_OBJECT = {"type": "object"}
FORMATS = ("text", "json_object", "json_schema")
MOST_CHOICES = 10_000
# What distinguishes llama.cpp's GBNF from Lark, whose rules have a colon.
_GBNF_RULE = re.compile(r"^\s*[\w-]+\s*::=", re.MULTILINE)
_NOT_LITERAL = re.compile(r"[^\w ]", re.ASCII)


def parse_grammar(members: Members) -> Grammar | None:
    """Find what an answer must follow; None for free text.

    Raises:
        ApiError: A member has the wrong type or value, or there are two that want different things.
    """
    found = list(_grammars(members))
    if len(found) > 1:
        first, second = found[0].param, found[1].param
        raise UnsupportedParameter(
            second, f"an answer can follow one grammar only, and {first} gives one", found[1].source
        )
    return found[0] if found else None


def _grammars(members: Members) -> Iterator[Grammar]:
    yield from _response_format(members)
    for name, read in _NAMES.items():
        value = members.get(name)
        if value is not None:
            yield read(value, name)
    outputs = members.mapping("structured_outputs") or {}
    Members(outputs, "structured_outputs.").refuse("structural_tag", "structural tags are not supported")
    if outputs and not outputs.keys() & _STRUCTURED_OUTPUTS.keys():
        raise InvalidValue("structured_outputs", f"an object with one of {', '.join(_STRUCTURED_OUTPUTS)}", outputs)
    for name, read in _STRUCTURED_OUTPUTS.items():
        value = outputs.get(name)
        if value is not None and value is not False:
            yield read(value, f"structured_outputs.{name}")


def _response_format(members: Members) -> Iterator[Grammar]:
    form = members.mapping("response_format")
    if form is None:
        return
    inner = Members(form, "response_format.")
    kind = inner.text("type")
    if kind is None:
        raise MissingParameter("response_format.type")
    if kind not in FORMATS:
        raise InvalidValue("response_format.type", f"one of {', '.join(FORMATS)}", kind)
    if kind == "json_schema":
        yield _json_schema_format(inner)
    elif kind == "json_object":
        # llama.cpp takes a schema here too.
        schema = form.get("schema")
        yield _schema(ANY_OBJECT, "response_format") if schema is None else _schema(schema, "response_format.schema")


def _json_schema_format(form: Members) -> Grammar:
    given = form.mapping("json_schema")
    if given is None:
        raise MissingParameter("response_format.json_schema")
    inner = Members(given, "response_format.json_schema.")
    # The schema holds, strict or not: what OpenAI calls strict only says which schemas it takes.
    inner.boolean("strict")
    inner.text("name")
    inner.text("description")
    schema = inner.get("schema")
    if schema is None:
        raise MissingParameter("response_format.json_schema.schema")
    return _schema(schema, "response_format.json_schema.schema")


def _schema(value: object, param: str) -> Grammar:
    if isinstance(value, str):
        try:
            value = json.loads(check_text(value, param))
        except (ValueError, RecursionError) as error:
            raise InvalidValue(param, "a JSON Schema, as an object or as JSON in a string", value) from error
    if not isinstance(value, dict | bool):
        raise InvalidType(param, "a JSON Schema, which is an object", value)
    try:
        source = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise InvalidValue(param, "a JSON Schema of finite numbers, not nested too deeply", value) from error
    return Grammar("json_schema", check_text(source, param), param)


def _regex(value: object, param: str) -> Grammar:
    return Grammar("regex", check_text(value, param, "a regular expression, which is a string"), param)


def _choice(value: object, param: str) -> Grammar:
    if not isinstance(value, list):
        raise InvalidType(param, "an array of strings", value)
    if not 1 <= len(value) <= MOST_CHOICES:
        raise InvalidValue(param, f"1 to {MOST_CHOICES} strings", value)
    texts = [check_text(text, f"{param}[{index}]") for index, text in enumerate(value)]
    return Grammar("regex", "|".join(map(_literal, texts)), param)


def _literal(text: str) -> str:
    return _NOT_LITERAL.sub(lambda found: f"\\x{{{ord(found[0]):x}}}", text)


def _gbnf(value: object, param: str) -> Grammar:
    return Grammar("gbnf", check_text(value, param, "a grammar, which is a string"), param)


def _grammar(value: object, param: str) -> Grammar:
    text = check_text(value, param, "a grammar, which is a string")
    return Grammar("gbnf" if _GBNF_RULE.search(text) else "lark", text, param)


def _json_object(value: object, param: str) -> Grammar:
    if value is not True:
        raise InvalidType(param, "true or false", value)
    return _schema(ANY_OBJECT, param)


_NAMES: Mapping[str, Callable[[Any, str], Grammar]] = {
    "guided_json": _schema,
    "guided_regex": _regex,
    "guided_choice": _choice,
    "guided_grammar": _grammar,
    "json_schema": _schema,
    "grammar": _gbnf,
}
_STRUCTURED_OUTPUTS: Mapping[str, Callable[[Any, str], Grammar]] = {
    "json": _schema,
    "json_object": _json_object,
    "regex": _regex,
    "choice": _choice,
    "grammar": _grammar,
}
