from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from handler.errors import TemplateFailed, TemplateInvalid
from handler.text.template import ChatTemplate

# As transformers 4.57.6 renders them: `render_jinja_template([messages], chat_template=template, …)`.
RENDERED = json.loads(Path(__file__).with_name("chat_templates.json").read_text(encoding="utf-8"))
MESSAGES = [{"role": "user", "content": "hi"}]


def render(source: str, messages: Any = MESSAGES, **variables: Any) -> str:
    return ChatTemplate(source, {"bos_token": "<s>"}).render(messages, variables)


@pytest.mark.parametrize("golden", RENDERED)
def test_templates_render_as_in_transformers(golden: dict[str, Any]) -> None:
    template = ChatTemplate(golden["template"], {"bos_token": "<s>", "eos_token": "</s>"})
    assert template.render(golden["messages"], golden["variables"]) == golden["rendered"]


def test_messages_and_special_tokens_are_variables() -> None:
    assert render("{{ bos_token }}{{ messages[0].role }}:{{ messages[0]['content'] }}") == "<s>user:hi"


def test_a_missing_special_token_is_empty() -> None:
    assert render("[{{ pad_token }}]") == "[]"


def test_the_prompt_for_an_answer_is_wanted() -> None:
    assert render("{{ add_generation_prompt }} {{ tools is none }} {{ documents is none }}") == "True True True"


def test_blocks_take_their_line_with_them() -> None:
    assert render("a\n  {% if true %}\nb\n  {% endif %}\nc") == "a\nb\nc"


def test_loops_can_be_left() -> None:
    assert render("{% for i in range(5) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}") == "01"


def test_the_generation_tag_passes_its_body_on() -> None:
    assert render("{% generation %}{{ messages[0].content }}{% endgeneration %}!") == "hi!"


def test_json_is_not_escaped_for_html() -> None:
    assert render("{{ value | tojson }}", value=[{"a": "<é&'>"}]) == '[{"a": "<é&\'>"}]'


def test_json_may_be_indented() -> None:
    assert render("{{ {'b': 1, 'a': 2} | tojson(indent=1, sort_keys=True) }}") == '{\n "a": 2,\n "b": 1\n}'


def test_the_date_can_be_asked_for() -> None:
    assert len(render("{{ strftime_now('%Y') }}")) == 4


def test_a_request_may_set_variables() -> None:
    assert render("{{ enable_thinking }}", enable_thinking=False) == "False"


CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<a>{% endif %}"
)
TURNS = [{"role": "u", "content": "hi"}, {"role": "a", "content": " so </s> it "}]


@pytest.mark.parametrize(
    ("opening", "text"),
    [
        ("answer", "<u>hi</s><a>so </s> it</s><a>"),
        ("nothing", "<u>hi</s><a>so </s> it</s>"),
        ("message", "<u>hi</s><a>so </s> it "),
    ],
)
def test_a_model_goes_on_with_an_answer_a_message_or_nothing(opening: Any, text: str) -> None:
    assert ChatTemplate(CHAT, {}).render(TURNS, {}, opening=opening) == text


def test_a_message_that_the_template_hides_cannot_go_on() -> None:
    with pytest.raises(TemplateFailed, match="can't be continued"):
        ChatTemplate("{{ messages[0].content }}", {}).render(TURNS, {}, opening="message")


def test_variables_of_the_request_itself_are_reserved() -> None:
    assert {"messages", "tools", "bos_token"} <= ChatTemplate("", {"bos_token": "<s>"}).reserved


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[5].content.x }}", "no element 5"),
        ("{{ 1 + messages }}", "unsupported operand"),
        ("{{ 1 // 0 }}", "division"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{% for i in range(10 ** 9) %}{% endfor %}", "Range too big"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recursion"),
    ],
)
def test_a_template_that_fails_is_the_requests_fault(source: str, reason: str) -> None:
    with pytest.raises(TemplateFailed, match=reason) as caught:
        render(source)
    assert (caught.value.status, caught.value.param) == (400, "messages")


def test_a_template_that_is_none_is_refused_at_start() -> None:
    with pytest.raises(TemplateInvalid, match="line 2"):
        ChatTemplate("\n{% if %}", {})
