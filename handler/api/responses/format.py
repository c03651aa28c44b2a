"""What `text` of a response's request asks for: the form of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from handler.api.forms import json_grammar
from handler.api.members import Members
from handler.errors import InvalidValue, MissingParameter
from handler.text.grammar import Grammar

FORMATS = ("text", "json_object", "json_schema")
VERBOSITY = ("low", "medium", "high")


@dataclass(frozen=True)
class Form:
    """The form of an answer.

    Attributes:
        grammar: What it must follow; None for free text.
        told: What the answer repeats of it.
    """

    grammar: Grammar | None
    told: Mapping[str, Any]


def parse_form(members: Members) -> Form:
    """Check `text` of a request.

    Raises:
        ApiError: It is refused; the error names the member and the bad value.
    """
    text = Members(members.mapping("text") or {}, "text.")
    verbosity = text.text("verbosity")  # for models that were trained on it
    if verbosity is not None and verbosity not in VERBOSITY:
        raise InvalidValue("text.verbosity", f"one of {', '.join(VERBOSITY)}", verbosity)
    given = text.mapping("format")
    grammar, told = (None, {"type": "text"}) if given is None else _format(Members(given, "text.format."))
    return Form(grammar, {"format": told, "verbosity": verbosity or "medium"})


def _format(members: Members) -> tuple[Grammar | None, dict[str, Any]]:
    kind = members.required("type")
    if kind not in FORMATS:
        raise InvalidValue("text.format.type", f"one of {', '.join(FORMATS)}", kind)
    if kind == "text":
        return None, {"type": kind}
    if kind == "json_object":
        return json_grammar({"type": "object"}, "text.format"), {"type": kind}
    name, schema = members.required("name"), members.mapping("schema")
    if schema is None:
        raise MissingParameter("text.format.schema")
    description = members.text("description")
    others = {"strict": members.boolean("strict") or False, **({"description": description} if description else {})}
    # The schema holds, strict or not: what OpenAI calls strict only says which schemas it takes.
    return json_grammar(schema, "text.format.schema"), {"type": kind, "name": name, "schema": schema, **others}
