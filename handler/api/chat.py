"""/v1/chat/completions: messages through the model's chat template."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from handler.api.chunks import Chunks, finite
from handler.api.contents import parse_message
from handler.api.endpoint import Endpoint
from handler.api.events import Envelope
from handler.api.members import Members
from handler.api.options import Options, Served, parse_options
from handler.api.prompt import Prompts, TextTask
from handler.errors import InvalidValue, MissingParameter
from handler.text.deltas import Delta, ScoredToken
from handler.text.meter import Meter

if TYPE_CHECKING:
    from handler.api.schemas import Description

MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True)
class ChatRequest:
    """A body of /v1/chat/completions."""

    id_prefix: ClassVar[str] = "chatcmpl-"

    messages: tuple[Mapping[str, str], ...]
    options: Options
    template_variables: Mapping[str, Any] = field(default_factory=dict)

    @property
    def logged(self) -> object:
        return self.messages

    def tasks(self, prompts: Prompts) -> Sequence[TextTask]:
        return [prompts.text_task(self.prompt_ids(prompts), self.options, "messages")]

    def prompt_ids(self, prompts: Prompts) -> Sequence[int]:
        """Render the messages and encode them.

        Raises:
            ApiError: There is no template, or it or the tokenizer refuses them.
        """
        template = prompts.chat_template()
        taken = sorted(template.reserved & self.template_variables.keys())
        if taken:
            expected = "an object without the variables that the request itself fills"
            raise InvalidValue("chat_template_kwargs", expected, taken[0])
        grammar = self.options.grammar
        # For templates that have a place for it; a request's own variable of this name comes first.
        announced = {"json_schema": grammar.schema if grammar is not None else None}
        text = template.render(self.messages, {**announced, **self.template_variables})
        # The template writes the BOS itself; like Hugging Face's apply_chat_template, nothing is added to it.
        return prompts.tokenizer.encode(text, special=True, param="messages")

    def answer(self, envelope: Envelope, meter: Meter) -> ChatAnswer:
        return ChatAnswer(envelope, meter, self.options.include_usage)


def parse_chat(values: Mapping[str, Any], served: Served) -> ChatRequest:
    """Check a body of /v1/chat/completions.

    Raises:
        ApiError: It is refused; the error names the parameter and the bad value.
    """
    members = Members(values)
    _refuse(members)
    messages = members.array("messages")
    if messages is None:
        raise MissingParameter("messages")
    if not messages:
        raise InvalidValue("messages", "at least one message", messages)
    wanted = members.boolean("logprobs") or False
    top = members.integer("top_logprobs", 0, MAX_TOP_LOGPROBS)
    if top is not None and not wanted:
        raise InvalidValue("top_logprobs", "given with logprobs = true only", top)
    newer = members.integer("max_completion_tokens", 1)
    older = members.integer("max_tokens", 1)
    return ChatRequest(
        messages=tuple(parse_message(item, f"messages[{index}]") for index, item in enumerate(messages)),
        template_variables=members.mapping("chat_template_kwargs") or {},
        options=parse_options(
            members,
            served,
            max_tokens=next((n for n in (newer, older, served.max_tokens) if n is not None), None),
            top_logprobs=(top or 0) if wanted else None,
        ),
    )


def _refuse(members: Members) -> None:
    members.refuse("tools", "tools are not supported yet", [])
    members.refuse("functions", "functions are not supported yet", [])
    members.refuse("tool_choice", "tools are not supported yet", "none", "auto")
    members.refuse("function_call", "functions are not supported yet", "none", "auto")
    members.refuse("audio", "audio is not supported")
    members.refuse("modalities", "only text is supported", ["text"])
    members.refuse("n", "only one choice a request is supported", 1)


class ChatAnswer:
    """An answer to a chat: the role, then text, then the finish reason."""

    def __init__(self, envelope: Envelope, meter: Meter, include_usage: bool) -> None:
        self._chunks = Chunks("chat.completion.chunk", envelope, meter, include_usage)
        self._begun: set[int] = set()

    def events(self, delta: Delta) -> Iterator[bytes]:
        # The role comes with the first token, so that a failed prefill can still end as a status of its own.
        chunk, index = self._chunks.chunk, delta.index
        if index not in self._begun:
            self._begun.add(index)
            yield chunk(index, {"delta": {"role": "assistant", "content": ""}, "logprobs": None})
        if delta.text or delta.tokens:
            yield chunk(index, {"delta": {"content": delta.text}, "logprobs": self.logprobs(delta.tokens)})
        if delta.finish_reason:
            yield chunk(index, {"delta": {}, "logprobs": None}, delta.finish_reason)

    def end(self) -> Iterator[bytes]:
        return self._chunks.end()

    def whole(self, choices: Sequence[Delta]) -> dict[str, Any]:
        return self._chunks.whole("chat.completion", [self._choice(delta) for delta in choices])

    def _choice(self, delta: Delta) -> dict[str, Any]:
        return {
            "index": delta.index,
            "message": {"role": "assistant", "content": delta.text, "refusal": None},
            "logprobs": self.logprobs(delta.tokens),
            "finish_reason": delta.finish_reason,
        }

    def logprobs(self, tokens: tuple[ScoredToken, ...]) -> dict[str, Any] | None:
        return {"content": [_token(token) for token in tokens], "refusal": None} if tokens else None


def _token(token: ScoredToken) -> dict[str, Any]:
    return _scored(token.raw, token.logprob) | {"top_logprobs": [_scored(*other) for other in token.alternatives]}


def _scored(text: bytes, logprob: float) -> dict[str, Any]:
    return {"token": text.decode(errors="replace"), "logprob": finite(logprob), "bytes": list(text)}


def _describe() -> Description:
    from handler.api import schemas
    from handler.api.schemas import array, nullable, object_of, reference

    nothing = nullable("array", maxItems=0)
    no_choice = {"enum": ["none", "auto", None]}
    text_part = object_of(["type", "text"], type={"const": "text"}, text=schemas.STRING)
    message = object_of(
        ["role", "content"],
        role={"enum": ["system", "developer", "user", "assistant"]},
        content={"oneOf": [schemas.STRING, array(text_part, minItems=1)]},
        tool_calls=nothing,
    )
    top_logprobs = nullable("integer", minimum=0, maximum=MAX_TOP_LOGPROBS, description="With logprobs = true only.")
    request = object_of(
        ["model", "messages"],
        messages=array(reference("Message"), minItems=1),
        max_completion_tokens=nullable("integer", minimum=1),
        logprobs=nullable("boolean"),
        top_logprobs=top_logprobs,
        chat_template_kwargs=nullable("object", description="An extension: more variables for the chat template."),
        tools=nothing,
        functions=nothing,
        tool_choice=no_choice,
        function_call=no_choice,
        **schemas.OPTIONS,
    )
    said = object_of(["role", "content"], role={"const": "assistant"}, content=schemas.STRING, refusal={"type": "null"})
    return schemas.Description(
        summary="Answer a conversation",
        request="ChatRequest",
        answer="ChatAnswer",
        schemas={
            "Message": message,
            "ChatRequest": request,
            "ChatAnswer": schemas.answer("chat.completion", message=said),
        },
    )


CHAT = Endpoint("/v1/chat/completions", parse_chat, _describe)
