"""Forms of answers as other endpoints than chats ask for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from handler.api.options import Options
from handler.errors import UnsupportedParameter
from handler.text.grammar import Grammar


def json_grammar(schema: Mapping[str, Any], param: str) -> Grammar:
    """Make the grammar of JSON by a schema.

    Args:
        schema: A JSON Schema.
        param: The body's member that it came from, for errors.
    """
    return Grammar("json_schema", json.dumps(schema, ensure_ascii=False), param)


def following(options: Options, grammar: Grammar | None) -> Options:
    """Return options whose answer follows a grammar, if there is one.

    Raises:
        UnsupportedParameter: It has to follow another one already.
    """
    if grammar is not None and options.grammar is not None:
        what = f"an answer can follow one grammar only, and {options.grammar.param} gives one"
        raise UnsupportedParameter(grammar.param, what, grammar.source)
    return options if grammar is None else replace(options, grammar=grammar)
