from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from handler.errors import TemplateFailed
from handler.text.announcing import announce
from handler.text.families import TOOL_FORMATS
from handler.text.template import ChatTemplate
from handler.text.tools import Tool, Tools
from tests.handler.text.chat_families import DEEPSEEK, GEMMA, LLAMA, MISTRAL, QWEN

ADD = Tool("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}}, False, "tools[0]")
SUB = Tool("sub", None, {"type": "object"}, False, "tools[1]")
TOOLS = Tools((ADD, SUB))
USER = {"role": "user", "content": "hi"}


def call(id: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calling(*calls: dict[str, Any], content: str = "") -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


def result(id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


ONE = (USER, calling(call("c1", "add", a=1)), result("c1", "5"))
TWO = (USER, calling(call("c1", "add", a=1), call("c2", "sub")), result("c2", "6"), result("c1", "5"))


def render(source: str, messages: Sequence[Mapping[str, Any]], tools: Tools | None = None, **variables: Any) -> str:
    return ChatTemplate(source, {"bos_token": "<s>", "eos_token": "</s>"}).render(messages, variables, tools)


def test_a_template_that_knows_tools_gets_openais_list() -> None:
    text = render("{{ tools | tojson }}<tool_call>", [USER], TOOLS)
    assert json.loads(text.removesuffix("<tool_call>")) == [ADD.declared(), SUB.declared()]
    assert ADD.declared()["function"] == {"name": "add", "description": "Adds.", "parameters": ADD.parameters}


@pytest.mark.parametrize("source", [QWEN, LLAMA, MISTRAL, DEEPSEEK, GEMMA])
def test_tools_that_may_not_be_called_are_not_shown(source: str) -> None:
    assert render(source, [USER], Tools((ADD,), "none")) == render(source, [USER])


def test_calls_are_written_as_the_family_writes_them() -> None:
    assert '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>' in render(QWEN, ONE)


def test_what_was_thought_is_shown_to_the_template() -> None:
    said = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    assert "<think>\nhm\n</think>\n\nx" in render(QWEN, [USER, said])


def test_calls_come_one_by_one_where_a_message_may_have_only_one() -> None:
    text = render(LLAMA, TWO)
    places = [text.index(piece) for piece in ('"add"', "\n\n5<", '"sub"', "\n\n6<")]
    assert places == sorted(places)


def test_results_without_a_call_stay_where_they_are() -> None:
    assert render(LLAMA, [USER, result("c9", "5")]).count("\n\n5<") == 1


def test_ids_are_shortened_where_they_have_to_be() -> None:
    text = render(MISTRAL, ONE)
    told = text.split('"id": "')[1][:9]
    assert told.isalnum()
    assert f'"call_id": "{told}"' in text
    assert '"id": "VvvODy9mT"' in render(MISTRAL, [USER, calling(call("VvvODy9mT", "add"))])


def test_a_result_has_its_tools_name() -> None:
    source = "{% for m in messages %}{{ m.name }}{% endfor %}{{ tools }}<tool_call>"
    assert render(source, ONE).startswith("add")
    assert render(source, [*ONE[:2], {**ONE[2], "name": "own"}]).startswith("own")


def test_arguments_are_text_where_a_template_puts_texts_together() -> None:
    written = "{% for c in m.tool_calls %}{{ 'with ' + c.function.arguments }}{% endfor %}"
    text = render("{{ tools }}<tool_call>{% for m in messages %}" + written + "{% endfor %}", ONE)
    assert text.endswith('with {"a": 1}')


@pytest.mark.parametrize("messages", [ONE, TWO])
def test_a_template_without_tools_is_told_of_them_in_words(messages: Sequence[Mapping[str, Any]]) -> None:
    text = render(DEEPSEEK, messages, TOOLS)
    assert announce(TOOLS, TOOL_FORMATS["generic"]) in text
    assert '<Assistant><tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>' in text
    assert "<tool_response>\n5\n</tool_response>" in text


def test_the_announcement_follows_the_system_prompt() -> None:
    text = render("{{ messages[0].content }}", [{"role": "system", "content": "Be nice."}, USER], TOOLS)
    assert text == "Be nice.\n\n" + announce(TOOLS, TOOL_FORMATS["generic"])


def test_it_comes_with_the_users_words_where_there_is_no_system_prompt() -> None:
    text = render(GEMMA, [*TWO, {"role": "user", "content": "and?"}], TOOLS)
    assert text.startswith(f"<user>{announce(TOOLS, TOOL_FORMATS['generic'])}\n\nhi<assistant>")
    assert text.endswith("<user><tool_response>\n6\n</tool_response>\n<tool_response>\n5\n</tool_response>\nand?")


def test_the_announcement_has_the_format_and_all_tools() -> None:
    text = announce(TOOLS, TOOL_FORMATS["generic"])
    assert '<tool_call>\n{"name": "TOOL", "arguments": ' in text
    assert all(json.dumps(tool.declared()["function"]) in text for tool in TOOLS.offered)
    assert "several" not in announce(Tools((ADD,), parallel=False), TOOL_FORMATS["generic"])


def test_the_first_reason_is_told() -> None:
    with pytest.raises(TemplateFailed, match="no system role"):
        render(GEMMA, [{"role": "system", "content": "x"}, USER], TOOLS)
