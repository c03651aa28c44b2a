from __future__ import annotations

import pytest

from handler.text.families import REASONING_FORMATS, TOOL_FORMATS, Formats, detect
from tests.handler.text.chat_families import DEEPSEEK, GEMMA, LLAMA, MISTRAL, QWEN

ARGS = MISTRAL.replace("[TOOL_CALLS][", "[TOOL_CALLS]{{ name }}[ARGS]")
PYTHONIC = LLAMA.replace(
    "Environment: ipython", "Write calls as [func_name1(params_name1=params_value1), func_name2()]."
)
XML = QWEN.replace("Calls go", "<function=name><parameter=key>")


@pytest.mark.parametrize(
    ("template", "tools", "reasoning"),
    [
        (QWEN, "hermes", "think"),
        (LLAMA, "llama3_json", "none"),
        (PYTHONIC, "pythonic", "none"),
        (MISTRAL, "mistral", "none"),
        (ARGS, "mistral_args", "none"),
        (ARGS + "[THINK][/THINK]", "mistral_args", "mistral"),
        (DEEPSEEK, "generic", "think"),
        (GEMMA, "generic", "none"),
        (XML, "generic", "think"),
        ("no tools, {{ messages }}, but <tool_call>", "generic", "none"),
        ("{% for tool in tools %}{{ tool }}{% endfor %} in a way that nobody knows", "generic", "none"),
    ],
)
def test_a_template_tells_its_family(template: str, tools: str, reasoning: str) -> None:
    assert detect(template) == Formats(tools, reasoning)


def test_every_row_can_be_told() -> None:
    for tools in TOOL_FORMATS:
        for reasoning in REASONING_FORMATS:
            formats = Formats(tools, reasoning)
            assert formats.tool_format.head.count("NAME") == 1
            assert (formats.reasoning_format is None) == (reasoning == "none")


def test_a_marker_is_what_its_calls_begin_with() -> None:
    for row in TOOL_FORMATS.values():
        assert (row.begin or row.head).startswith(row.marker)
