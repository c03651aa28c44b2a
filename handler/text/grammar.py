"""What an answer must follow: a grammar as the request wrote it, checked and not compiled yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Grammar:
    """A language that the answer's text is a word of.

    Attributes:
        kind: What the source is written in: a JSON Schema, a regular expression, llguidance's Lark, or llama.cpp's GBNF.
        source: Its text; a JSON Schema is JSON.
        param: The request's member that it came from, for errors.
    """

    kind: Literal["json_schema", "regex", "lark", "gbnf"]
    source: str
    param: str
