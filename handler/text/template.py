"""The checkpoint's chat template, rendered as `transformers` renders it, in jinja2's sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NoReturn

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from handler.errors import TemplateFailed, TemplateInvalid
from handler.text.announcing import Given, ways
from handler.text.families import Formats, detect
from handler.text.tools import Tools

MARK = "<<this message goes on>>"  # no text of anybody's
RESERVED_VARIABLES = frozenset({"messages", "tools", "documents", "add_generation_prompt"})


class ChatTemplate:
    """A compiled chat template.

    Args:
        source: The text of chat_template.jinja.
        special_tokens: The variables bos_token, eos_token, … with their texts.
        formats: How the model writes calls and thoughts; told by the source, if nobody else says.

    Attributes:
        formats: The same.

    Raises:
        TemplateInvalid: The source isn't a jinja2 template.
    """

    def __init__(self, source: str, special_tokens: Mapping[str, str], formats: Formats | None = None) -> None:
        try:
            self._template = _environment().from_string(source)
        except TemplateSyntaxError as error:
            raise TemplateInvalid(f"chat_template.jinja, line {error.lineno}: {error.message}") from error
        self._special_tokens = dict(special_tokens)
        self.formats = formats or detect(source)

    @property
    def reserved(self) -> frozenset[str]:
        """Names of variables that a request may not set."""
        return RESERVED_VARIABLES | self._special_tokens.keys()

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        variables: Mapping[str, Any],
        tools: Tools | None = None,
        opening: Literal["answer", "message", "nothing"] = "answer",
    ) -> str:
        """Write a conversation down, up to where the assistant's answer begins.

        Args:
            messages: `{"role", "content"}` each, with `tool_calls`, `tool_call_id`, … as OpenAI has them, but arguments
                are objects.
            variables: Further variables of the template, such as enable_thinking.
            tools: What may be called; announced in words if the template has no place for them.
            opening: What the model is to go on with: a new answer; the last message, whose end is then cut off; or
                nothing that the template announces.

        Raises:
            TemplateFailed: The template refuses the messages or can't deal with them.
        """
        first: TemplateFailed | None = None
        for given in ways(messages, tools, self.formats.tool_format):
            try:
                return self._render(given, variables, opening)
            except TemplateFailed as error:
                first = first or error
        assert first is not None
        raise first

    def _render(self, given: Given, variables: Mapping[str, Any], opening: str) -> str:
        values = {
            **self._special_tokens,
            **variables,
            "messages": [dict(message) for message in given.messages],
            "tools": given.tools,
            "documents": None,
            "add_generation_prompt": opening == "answer",
        }
        if opening == "message":
            return self._continued(values)
        return self._rendered(values)

    def _continued(self, values: dict[str, Any]) -> str:
        """Write a conversation down as far as the end of its last message's content."""
        *before, last = values["messages"]
        content = last.get("content") or ""
        mark = MARK
        while mark in content:
            mark += MARK
        text = self._rendered({**values, "messages": [*before, {**last, "content": content + mark}]})
        if mark not in text:
            raise TemplateFailed("the last message's content isn't written down as it is, so it can't be continued")
        return text[: text.rindex(mark)]

    def _rendered(self, values: Mapping[str, Any]) -> str:
        try:
            return self._template.render(values)
        except Exception as error:  # A template is a program: it can fail in every way that Python can.
            raise TemplateFailed(_reason(error)) from error


class GenerationTag(Extension):
    """`{% generation %}…{% endgeneration %}` marks an answer for training; here it adds nothing."""

    tags = {"generation"}  # noqa: RUF012  # jinja2's way

    def parse(self, parser: Parser) -> nodes.Node:
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_pass_on"), [], [], body).set_lineno(lineno)

    def _pass_on(self, caller: Callable[[], str]) -> str:
        return caller()


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja2's own filter escapes <, > and & for HTML, which no model has been trained on.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(format: str) -> str:
    from datetime import datetime

    return datetime.now().strftime(format)


def _reason(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
