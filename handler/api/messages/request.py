"""A body of /v1/messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from handler.api.conversation import Conversation, Message
from handler.api.events import Envelope
from handler.api.forms import following, json_grammar
from handler.api.members import Members, check_text
from handler.api.messages.answer import MessageAnswer
from handler.api.messages.calls import parse_calls
from handler.api.messages.content import parse_messages
from handler.api.options import Options, Served, parse_options
from handler.api.prompt import Prompts, TextTask
from handler.api.rendering import Opening, parse_variables
from handler.api.thinking import effort_variables
from handler.errors import InvalidValue, MissingParameter, ThreadsUnsupported
from handler.text.grammar import Grammar
from handler.text.meter import Meter

MAX_STOPS = 64
# What the template is told; of adaptive thinking it decides by itself.
THINKING: Mapping[str, Mapping[str, Any]] = {
    "enabled": {"enable_thinking": True},
    "disabled": {"enable_thinking": False},
    "adaptive": {},
    "between_tools": {},
}


@dataclass(frozen=True)
class MessageRequest:
    """A body of /v1/messages."""

    id_prefix: ClassVar[str] = "msg_"

    conversation: Conversation
    options: Options

    @property
    def logged(self) -> object:
        return self.conversation.messages

    def tasks(self, prompts: Prompts) -> Sequence[TextTask]:
        return [self.conversation.task(prompts, self.options)]

    def answer(self, envelope: Envelope, meter: Meter) -> MessageAnswer:
        return MessageAnswer(envelope, meter)


def parse_message(values: Mapping[str, Any], served: Served) -> MessageRequest:
    """Check a body of /v1/messages.

    Raises:
        ApiError: It is refused; the error names the parameter and the bad value.
    """
    members = Members(values)
    members.refuse("mcp_servers", "this server calls no others", [])
    members.refuse("container", "nothing is run here")
    members.refuse("n", "a message has one answer", 1)
    if members.get("thread") is not None:
        raise ThreadsUnsupported(members.get("thread"))
    max_tokens = members.integer("max_tokens", 1)
    if max_tokens is None:
        raise MissingParameter("max_tokens")
    members.number("temperature", 0.0, 1.0)
    options = parse_options(members, served, max_tokens, top_logprobs=None)
    options = replace(options, stop=(*options.stop, *_stop_sequences(members)))
    return MessageRequest(parse_conversation(members), following(options, parse_form(members)))


def parse_conversation(members: Members) -> Conversation:
    """Check what the prompt is made of.

    Raises:
        ApiError: It is refused; the error names the parameter and the bad value.
    """
    messages = parse_messages(members.get("messages"), members.get("system"))
    effort = Members(members.mapping("output_config") or {}, "output_config.").text("effort")
    variables = {**effort_variables(effort, "output_config.effort"), **_thinking(members), **parse_variables(members)}
    return Conversation(messages, parse_calls(members), variables, opening=_opening(messages))


def _opening(messages: Sequence[Message]) -> Opening:
    last = messages[-1]
    if "tool_calls" in last:
        raise InvalidValue("messages", "ended by the tool_result of each tool_use", messages)
    return "message" if last["role"] == "assistant" else "answer"  # What the client has begun goes on.


def _thinking(members: Members) -> Mapping[str, Any]:
    given = members.mapping("thinking")
    if given is None:
        return {}
    thinking = Members(given, "thinking.")
    kind = thinking.required("type")
    if kind not in THINKING:
        raise InvalidValue("thinking.type", f"one of {', '.join(THINKING)}", kind)
    thinking.integer("budget_tokens", 1)  # A wish: a model thinks for as long as it does.
    return THINKING[kind]


def parse_form(members: Members) -> Grammar | None:
    """Check what the answer must follow; None for free text.

    Raises:
        ApiError: It is refused; the error names the parameter and the bad value.
    """
    config = Members(members.mapping("output_config") or {}, "output_config.")
    newer, older = config.mapping("format"), members.mapping("output_format")
    given, path = (newer, "output_config.format") if newer is not None else (older, "output_format")
    if given is None:
        return None
    form = Members(given, f"{path}.")
    kind, schema = form.required("type"), form.mapping("schema")
    if kind != "json_schema":
        raise InvalidValue(f"{path}.type", "json_schema", kind)
    if schema is None:
        raise MissingParameter(f"{path}.schema")
    return json_grammar(schema, f"{path}.schema")


def _stop_sequences(members: Members) -> tuple[str, ...]:
    given = members.array("stop_sequences") or []
    if len(given) > MAX_STOPS:
        raise InvalidValue("stop_sequences", f"at most {MAX_STOPS} strings", given)
    for index, value in enumerate(given):
        if not check_text(value, f"stop_sequences[{index}]"):
            raise InvalidValue(f"stop_sequences[{index}]", "a string of at least one character", value)
    return tuple(given)
