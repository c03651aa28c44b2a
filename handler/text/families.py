"""How families of models write calls and thoughts: one table, and what in a chat template tells a family.

Sources: the chat templates that the families' checkpoints come with. A new family is a row here; another way to write
needs a candidate in `handler.text.candidates` too.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ToolFormat:
    """How calls of tools are written.

    Attributes:
        marker: What calls begin with and no other text does; "" where they begin an answer without one.
        optional: What may stand before calls that need no marker.
        begin: All calls begin with it, the marker included.
        head: A call begins with it; `NAME` stands for the tool's name. The arguments follow.
        tail: A call ends with it.
        between: Calls are separated by it.
        end: All calls end with it.
        closing: What may stand behind a call, and says nothing.
        others: Further special tokens that a call may hold.
        native: Whether the chat template shows the tools; otherwise the prompt announces them in our words.
        style: JSON objects, or a Python list of calls.
        one_call: Whether the template refuses messages with several calls.
        short_ids: Whether the template takes ids of nine letters and digits only.
    """

    marker: str = ""
    optional: str = ""
    begin: str = ""
    head: str = '{"name": "NAME", "arguments": '
    tail: str = "}"
    between: str = ""
    end: str = ""
    closing: str = ""
    others: tuple[str, ...] = ()
    native: bool = True
    style: Literal["json", "pythonic"] = "json"
    one_call: bool = False
    short_ids: bool = False

    @property
    def shown(self) -> tuple[str, ...]:
        """Texts that have to be seen even where they are special tokens."""
        return tuple(text for text in (self.marker, self.optional, self.closing, *self.others) if text)


HERMES = ToolFormat(
    marker="<tool_call>",
    head='<tool_call>\n{"name": "NAME", "arguments": ',
    tail="}\n</tool_call>",
    between="\n",
    closing="</tool_call>",
)
TOOL_FORMATS: Mapping[str, ToolFormat] = {
    # Hermes 2 and 3, Qwen 2.5, Qwen 3, SmolLM 2, and the demo model.
    "hermes": HERMES,
    # Llama 3.1 to 3.3: bare JSON, behind <|python_tag|> at times.
    "llama3_json": ToolFormat(
        optional="<|python_tag|>", head='{"name": "NAME", "parameters": ', between="; ", one_call=True
    ),
    # Llama 3.2 and others with a prompt of their own: [get_weather(city="Oslo"), get_time()].
    "pythonic": ToolFormat(optional="<|python_tag|>", begin="[", end="]", between=", ", style="pythonic"),
    # Mistral 7B v0.3, Nemo, Large 2407.
    "mistral": ToolFormat(marker="[TOOL_CALLS]", begin="[TOOL_CALLS][", end="]", between=", ", short_ids=True),
    # Mistral Small 3.1 and 3.2, Devstral, Magistral.
    "mistral_args": ToolFormat(
        marker="[TOOL_CALLS]",
        head="[TOOL_CALLS]NAME[ARGS]",
        tail="",
        others=("[ARGS]", "[CALL_ID]"),
        short_ids=True,
    ),
    # Everything else: announced in the prompt, written as Hermes does.
    "generic": ToolFormat(
        marker=HERMES.marker,
        head=HERMES.head,
        tail=HERMES.tail,
        between=HERMES.between,
        closing=HERMES.closing,
        native=False,
    ),
}


@dataclass(frozen=True)
class ReasoningFormat:
    """How thoughts are told from the answer that follows them.

    Attributes:
        begin: What thoughts begin with, at the answer's beginning; the prompt may have it already.
        end: What ends them.
    """

    begin: str
    end: str


REASONING_FORMATS: Mapping[str, ReasoningFormat | None] = {
    "none": None,
    # Qwen 3, DeepSeek R1's distillations, QwQ.
    "think": ReasoningFormat("<think>", "</think>"),
    # Magistral.
    "mistral": ReasoningFormat("[THINK]", "[/THINK]"),
}


@dataclass(frozen=True)
class Formats:
    """A model's rows.

    Attributes:
        tools: A key of `TOOL_FORMATS`.
        reasoning: A key of `REASONING_FORMATS`.
    """

    tools: str
    reasoning: str

    @property
    def tool_format(self) -> ToolFormat:
        """How it writes calls."""
        return TOOL_FORMATS[self.tools]

    @property
    def reasoning_format(self) -> ReasoningFormat | None:
        """How it writes thoughts; None for a model that has none."""
        return REASONING_FORMATS[self.reasoning]


# The first that is found in a template decides; those of a family that isn't known make it a generic one.
_TOOL_MARKS: tuple[tuple[str, str], ...] = (
    (r"<function=|<parameter=|<\|tool▁|<｜tool▁|<\|tool_call>|<\|tool_call\|>|<\|channel\|>", "generic"),
    (r"<tool_call>", "hermes"),
    (r"\[ARGS\]", "mistral_args"),
    (r"\[TOOL_CALLS\]", "mistral"),
    (r"\[func_name1?\(|\[func1?\(|\[function_name\(|\w+\(params_name1?=", "pythonic"),
    (r"<\|start_header_id\|>(?s:.*)[\"']parameters[\"']|<\|python_tag\|>", "llama3_json"),
)
_TOOLS_USED = re.compile(r"\btools\b")


def detect(template: str) -> Formats:
    """Tell a model's formats by its chat template.

    Args:
        template: Its Jinja source.
    """
    return Formats(_tools(template), _reasoning(template))


def _tools(template: str) -> str:
    if not any(_TOOLS_USED.search(code) for code in re.findall(r"\{[{%](?s:.*?)[}%]\}", template)):
        return "generic"
    return next((name for mark, name in _TOOL_MARKS if re.search(mark, template)), "generic")


def _reasoning(template: str) -> str:
    for name, form in REASONING_FORMATS.items():
        if form is not None and form.end in template:
            return name
    return "none"


def main() -> None:
    """Tell the formats of the chat template on the standard input, as firebrick.json has them: the exporter asks."""
    formats = detect(sys.stdin.read())
    print(json.dumps({"tool_format": formats.tools, "reasoning_format": formats.reasoning}))


if __name__ == "__main__":
    main()
