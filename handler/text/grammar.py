"""What an answer must follow: a grammar as the request wrote it, checked and not compiled yet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Grammar:
    """A language that the answer's text is a word of.

    Lark is llguidance's dialect (https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md). Beside rules and
    terminals it may have

    - `%json {…}`: a value by a JSON Schema, written as those of kind "json_schema" are: its separators are added.
    - `<tool_call>`, `<|python_tag|>`, `<[128010]>`: a special token by its text or id, in rules, not in terminals.
    - `head[lazy]: TEXT "<function="` with `TEXT: /(.|\\n)*/`: any text until a word; what follows is constrained.

    Special are the tokens that leave no text when they are decoded; their text never stands for them. So `<tool_call>`
    is a token where the tokenizer has it as a special one. Qwen2.5 and 3 have it as text: write `"<tool_call>"`, which
    takes the token and its spelling. `Grammars.is_special` tells.

    Attributes:
        kind: What the source is written in: a JSON Schema, a regular expression, llguidance's Lark, llama.cpp's GBNF.
        source: Its text; a JSON Schema is JSON.
        param: The request's member that it came from, for errors.
    """

    kind: Literal["json_schema", "regex", "lark", "gbnf"]
    source: str
    param: str

    @property
    def schema(self) -> Any:
        """The JSON Schema, for a chat template that announces it; None for another kind of grammar."""
        return json.loads(self.source) if self.kind == "json_schema" else None
