"""/v1/chat/completions: messages through the model's chat template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from handler.api.chunks import Chunks, scores
from handler.api.contents import parse_message
from handler.api.conversation import Conversation, Message
from handler.api.endpoint import Endpoint
from handler.api.events import Envelope
from handler.api.members import Members
from handler.api.options import Options, Served, parse_options
from handler.api.prompt import Prompts, TextTask
from handler.api.refused import CHAT as CHAT_ONLY
from handler.api.refused import refuse
from handler.api.rendering import Opening, parse_opening, parse_variables
from handler.api.tools import parse_functions, parse_tools
from handler.errors import InvalidValue, MissingParameter, UnsupportedParameter
from handler.text.deltas import CallDelta, Delta, ScoredToken
from handler.text.meter import Meter
from handler.text.tools import Tools

if TYPE_CHECKING:
    from handler.api.schemas import Description

MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True)
class ChatRequest:
    """A body of /v1/chat/completions."""

    id_prefix: ClassVar[str] = "chatcmpl-"

    messages: tuple[Message, ...]
    options: Options
    template_variables: Mapping[str, Any] = field(default_factory=dict)
    tools: Tools | None = None
    functions: bool = False  # the older form of tools, in which the answer is then written
    opening: Opening = "answer"
    add_special: bool = False  # whether the rendered text gets what the checkpoint puts around a raw one

    @property
    def logged(self) -> object:
        return self.messages

    @property
    def conversation(self) -> Conversation:
        """What is said so far, and what may be called."""
        return Conversation(
            self.messages, self.tools, self.template_variables, opening=self.opening, add_special=self.add_special
        )

    def tasks(self, prompts: Prompts) -> Sequence[TextTask]:
        return self.conversation.task(prompts, self.options).choices(self.options.n)

    def prompt_ids(self, prompts: Prompts) -> Sequence[int]:
        """Render the messages and encode them.

        Raises:
            ApiError: There is no template, or it or the tokenizer refuses them.
        """
        return self.conversation.prompt_ids(prompts, self.options.grammar)

    def answer(self, envelope: Envelope, meter: Meter) -> ChatAnswer:
        return ChatAnswer(envelope, meter, self.options.include_usage, self.functions)


def parse_chat(values: Mapping[str, Any], served: Served) -> ChatRequest:
    """Check a body of /v1/chat/completions.

    Raises:
        ApiError: It is refused; the error names the parameter and the bad value.
    """
    members = Members(values)
    refuse(members, CHAT_ONLY)
    messages = members.array("messages")
    if messages is None:
        raise MissingParameter("messages")
    if not messages:
        raise InvalidValue("messages", "at least one message", messages)
    wanted = members.boolean("logprobs") or False
    top = members.integer("top_logprobs", 0, MAX_TOP_LOGPROBS)
    if top is not None and not wanted:
        raise InvalidValue("top_logprobs", "given with logprobs = true only", top)
    tools, functions = parse_tools(members), parse_functions(members)
    if tools is not None and functions is not None:
        raise UnsupportedParameter(
            "functions", "tools are the newer form of functions, and one of them is enough", "both"
        )
    newer = members.integer("max_completion_tokens", 1)
    older = members.integer("max_tokens", 1)
    parsed = tuple(parse_message(item, f"messages[{index}]") for index, item in enumerate(messages))
    return ChatRequest(
        messages=parsed,
        template_variables=parse_variables(members),
        tools=tools if functions is None else functions,
        functions=functions is not None,
        opening=parse_opening(members, parsed[-1]["role"]),
        add_special=members.boolean("add_special_tokens") or False,
        options=parse_options(
            members,
            served,
            max_tokens=next((n for n in (newer, older, served.max_tokens) if n is not None), None),
            top_logprobs=(top or 0) if wanted else None,
        ),
    )


class ChatAnswer:
    """An answer to a chat: the role, then thoughts, words and calls, then the finish reason.

    Args:
        envelope: What all chunks share.
        meter: Counts the answer's tokens and takes its times.
        include_usage: Whether a last chunk has the usage.
        functions: Whether a call is written in the older form, of which there is one at most.
    """

    def __init__(self, envelope: Envelope, meter: Meter, include_usage: bool, functions: bool = False) -> None:
        self._chunks = Chunks("chat.completion.chunk", envelope, meter, include_usage)
        self._functions = functions
        self._begun: set[int] = set()

    def events(self, delta: Delta) -> Iterator[bytes]:
        self._chunks.thoughts += delta.thoughts
        # The role comes with the first token, so that a failed prefill can still end as a status of its own.
        if delta.index not in self._begun:
            self._begun.add(delta.index)
            yield self._chunk(delta, {"role": "assistant", "content": ""})
        if delta.reasoning:
            yield self._chunk(delta, {"reasoning_content": delta.reasoning})
        if delta.text or delta.tokens:
            yield self._chunk(delta, {"content": delta.text}, self.logprobs(delta.tokens))
        for call in delta.calls:
            yield self._chunk(delta, self._call_delta(call))
        if delta.finish_reason:
            yield self._chunk(delta, {}, finish_reason=self._finish_reason(delta))

    def _chunk(
        self,
        delta: Delta,
        said: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> bytes:
        return self._chunks.chunk(delta.index, {"delta": said, "logprobs": logprobs}, finish_reason)

    def _call_delta(self, call: CallDelta) -> dict[str, Any]:
        named = {"name": call.name} if call.name is not None else {}
        function = {**named, "arguments": call.arguments}
        if self._functions:
            return {"function_call": function}
        begun = {"id": call.id, "type": "function"} if call.id is not None else {}
        return {"tool_calls": [{"index": call.index, **begun, "function": function}]}

    def _finish_reason(self, delta: Delta) -> str | None:
        called = self._functions and delta.finish_reason == "tool_calls"
        return "function_call" if called else delta.finish_reason

    def end(self) -> Iterator[bytes]:
        return self._chunks.end()

    def whole(self, choices: Sequence[Delta]) -> dict[str, Any]:
        self._chunks.thoughts = sum(delta.thoughts for delta in choices)
        return self._chunks.whole("chat.completion", [self._choice(delta) for delta in choices])

    def _choice(self, delta: Delta) -> dict[str, Any]:
        return {
            "index": delta.index,
            "message": self._message(delta),
            "logprobs": self.logprobs(delta.tokens),
            "finish_reason": self._finish_reason(delta),
        }

    def _message(self, delta: Delta) -> dict[str, Any]:
        content = None if delta.calls and not delta.text else delta.text
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if delta.reasoning:
            message["reasoning_content"] = delta.reasoning
        calls = [tool_call(call) for call in delta.calls]
        if calls and self._functions:
            message["function_call"] = calls[0]["function"]
        elif calls:
            message["tool_calls"] = calls
        return message

    def logprobs(self, tokens: tuple[ScoredToken, ...]) -> dict[str, Any] | None:
        return {"content": scores(tokens), "refusal": None} if tokens else None


def tool_call(call: CallDelta) -> dict[str, Any]:
    """Write a whole call."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _describe() -> Description:
    from handler.api import schemas, tool_schemas
    from handler.api.schemas import array, nullable, object_of, reference

    top_logprobs = nullable("integer", minimum=0, maximum=MAX_TOP_LOGPROBS, description="With logprobs = true only.")
    request = object_of(
        ["messages"],
        messages=array(reference("Message"), minItems=1),
        max_completion_tokens=nullable("integer", minimum=1),
        logprobs=nullable("boolean"),
        top_logprobs=top_logprobs,
        **schemas.RENDERING,
        **tool_schemas.REQUEST,
        **schemas.OPTIONS,
    )
    return schemas.Description(
        summary="Answer a conversation",
        request="ChatRequest",
        answer="ChatAnswer",
        schemas={
            "Message": tool_schemas.MESSAGE,
            "ChatRequest": request,
            "ChatAnswer": schemas.answer("chat.completion", tool_schemas.ENDINGS, message=tool_schemas.SAID),
        },
    )


CHAT = Endpoint("/v1/chat/completions", parse_chat, _describe)
