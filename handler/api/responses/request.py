"""A body of /v1/responses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from handler.api.conversation import Conversation
from handler.api.events import Envelope
from handler.api.forms import following
from handler.api.members import Members, check_text
from handler.api.options import Options, Served, parse_options
from handler.api.prompt import Prompts, TextTask
from handler.api.rendering import parse_variables
from handler.api.responses.answer import ResponseAnswer
from handler.api.responses.calls import parse_calls, told_tools
from handler.api.responses.format import parse_form
from handler.api.responses.input import parse_input
from handler.api.thinking import effort_variables
from handler.errors import InvalidType, InvalidValue
from handler.text.meter import Meter
from handler.text.tools import Tools

MAX_TOP_LOGPROBS = 20
LOGPROBS = "message.output_text.logprobs"
MAX_METADATA, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512


@dataclass(frozen=True)
class ResponseRequest:
    """A body of /v1/responses.

    Attributes:
        conversation: What is said so far, and what may be called.
        options: What all endpoints understand.
        told: What the answer repeats of the request.
    """

    id_prefix: ClassVar[str] = "resp_"

    conversation: Conversation
    options: Options
    told: Mapping[str, Any]

    @property
    def logged(self) -> object:
        return self.conversation.messages

    def tasks(self, prompts: Prompts) -> Sequence[TextTask]:
        return [self.conversation.task(prompts, self.options)]

    def answer(self, envelope: Envelope, meter: Meter) -> ResponseAnswer:
        return ResponseAnswer(envelope, meter, self.told)


def parse_response(values: Mapping[str, Any], served: Served) -> ResponseRequest:
    """Check a body of /v1/responses.

    Raises:
        ApiError: It is refused; the error names the parameter and the bad value.
    """
    members = Members(values)
    _refuse(members)
    tools, form = parse_calls(members), parse_form(members)
    top_logprobs = _top_logprobs(members, tools)
    limit = members.integer("max_output_tokens", 1)
    options = following(
        parse_options(members, served, limit if limit is not None else served.max_tokens, top_logprobs), form.grammar
    )
    instructions = members.text("instructions")
    effort = Members(members.mapping("reasoning") or {}, "reasoning.").text("effort")
    variables = {**effort_variables(effort, "reasoning.effort"), **parse_variables(members)}
    conversation = Conversation(parse_input(members.get("input"), instructions), tools, variables, "input")
    told = {
        "instructions": instructions,
        "max_output_tokens": limit,
        "metadata": _metadata(members),
        "parallel_tool_calls": tools is None or tools.parallel,
        "reasoning": {"effort": effort, "summary": None},
        "temperature": options.sampling.temperature,
        "text": form.told,
        "tool_choice": members.get("tool_choice") or "auto",
        "tools": told_tools(tools),
        "top_logprobs": top_logprobs or 0,
        "top_p": options.sampling.top_p,
        **ALWAYS,
    }
    return ResponseRequest(conversation, options, told)


# What asks for nothing else than what is done here.
ALWAYS: Mapping[str, Any] = {
    "background": False,
    "previous_response_id": None,
    "service_tier": "default",
    "store": False,
    "truncation": "disabled",
}


def _refuse(members: Members) -> None:
    members.refuse("previous_response_id", "nothing is stored here, so the whole conversation has to be in input")
    members.refuse("conversation", "nothing is stored here, so the whole conversation has to be in input")
    members.refuse("prompt", "nothing is stored here, so there are no prompts to refer to")
    members.refuse("store", "nothing is stored here", False)
    members.refuse("background", "a response is made while its client waits", False)
    members.refuse("truncation", "an input that is too long is refused, not cut", "disabled")
    members.refuse("context_management", "an input that is too long is refused, not cut", [])
    members.refuse("moderation", "nothing is moderated here")
    members.refuse("n", "a response has one answer", 1)
    members.refuse("max_tokens", "use max_output_tokens")
    members.refuse("max_completion_tokens", "use max_output_tokens")


def _top_logprobs(members: Members, tools: Tools | None) -> int | None:
    include = [check_text(value, f"include[{index}]") for index, value in enumerate(members.array("include") or [])]
    top = members.integer("top_logprobs", 0, MAX_TOP_LOGPROBS)
    if LOGPROBS not in include:
        if top:
            raise InvalidValue("top_logprobs", f"given with {LOGPROBS} in include only", top)
        return None
    if tools is not None and tools.callable:
        # The scores of a call's tokens would have no place.
        raise InvalidValue("include", f"without {LOGPROBS} where tools may be called", include)
    return top or 0


def _metadata(members: Members) -> Mapping[str, str]:
    metadata = members.mapping("metadata") or {}
    if len(metadata) > MAX_METADATA:
        raise InvalidValue("metadata", f"at most {MAX_METADATA} members", metadata)
    for key, value in metadata.items():
        check_text(key, "metadata")
        if len(key) > LONGEST_KEY:
            raise InvalidValue("metadata", f"an object whose keys have at most {LONGEST_KEY} characters", key)
        if not isinstance(value, str):
            raise InvalidType(f"metadata.{key}", "a string", value)
        if len(check_text(value, f"metadata.{key}")) > LONGEST_VALUE:
            raise InvalidValue(f"metadata.{key}", f"a string of at most {LONGEST_VALUE} characters", value)
    return metadata
