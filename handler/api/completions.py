"""/v1/completions: a raw text, or token ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from handler.api.chunks import Chunks, finite
from handler.api.contents import parse_prompt
from handler.api.endpoint import Endpoint
from handler.api.events import Envelope
from handler.api.members import Members
from handler.api.options import Options, Served, parse_options
from handler.api.prompt import Prompts, TextTask
from handler.text.deltas import Delta, ScoredToken
from handler.text.meter import Meter

if TYPE_CHECKING:
    from handler.api.schemas import Description

MAX_LOGPROBS = 5
DEFAULT_MAX_TOKENS = 16  # What OpenAI's legacy endpoint gives when a request names no number.


@dataclass(frozen=True)
class CompletionRequest:
    """A body of /v1/completions; the prompt is a text or token ids."""

    id_prefix: ClassVar[str] = "cmpl-"

    prompt: str | tuple[int, ...]
    options: Options

    @property
    def logged(self) -> object:
        return self.prompt

    def tasks(self, prompts: Prompts) -> Sequence[TextTask]:
        return [prompts.text_task(self.prompt_ids(prompts), self.options, "prompt")]

    def prompt_ids(self, prompts: Prompts) -> Sequence[int]:
        """Encode a text; ids are taken as they are.

        Raises:
            ApiError: The tokenizer refuses the text.
        """
        given = self.prompt
        return prompts.tokenizer.encode_prompt(given) if isinstance(given, str) else given

    def answer(self, envelope: Envelope, meter: Meter) -> CompletionAnswer:
        return CompletionAnswer(envelope, meter, self.options.include_usage)


def parse_completion(values: Mapping[str, Any], served: Served) -> CompletionRequest:
    """Check a body of /v1/completions.

    Raises:
        ApiError: It is refused; the error names the parameter and the bad value.
    """
    members = Members(values)
    _refuse(members)
    max_tokens = members.integer("max_tokens", 1)
    return CompletionRequest(
        prompt=parse_prompt(members.get("prompt"), served.vocab_size),
        options=parse_options(
            members,
            served,
            max_tokens=max_tokens or served.max_tokens or DEFAULT_MAX_TOKENS,
            top_logprobs=members.integer("logprobs", 0, MAX_LOGPROBS),
        ),
    )


def _refuse(members: Members) -> None:
    members.refuse("n", "only one choice a request is supported", 1)
    members.refuse("best_of", "only one choice a request is supported", 1)
    members.refuse("echo", "the prompt can't be echoed", False)
    members.refuse("suffix", "text can't be inserted before a suffix", "")


class CompletionAnswer:
    """A text that goes on, then the finish reason."""

    def __init__(self, envelope: Envelope, meter: Meter, include_usage: bool) -> None:
        self._chunks = Chunks("text_completion", envelope, meter, include_usage)

    def events(self, delta: Delta) -> Iterator[bytes]:
        if delta.text or delta.tokens:
            yield self._chunks.chunk(delta.index, {"text": delta.text, "logprobs": self.logprobs(delta.tokens)})
        if delta.finish_reason:
            yield self._chunks.chunk(delta.index, {"text": "", "logprobs": None}, delta.finish_reason)

    def end(self) -> Iterator[bytes]:
        return self._chunks.end()

    def whole(self, choices: Sequence[Delta]) -> dict[str, Any]:
        return self._chunks.whole("text_completion", [self._choice(delta) for delta in choices])

    def _choice(self, delta: Delta) -> dict[str, Any]:
        return {
            "index": delta.index,
            "text": delta.text,
            "logprobs": self.logprobs(delta.tokens),
            "finish_reason": delta.finish_reason,
        }

    def logprobs(self, tokens: tuple[ScoredToken, ...]) -> dict[str, Any] | None:
        if not tokens:
            return None
        alternatives = [
            {text.decode(errors="replace"): finite(logprob) for text, logprob in token.alternatives} for token in tokens
        ]
        return {
            "tokens": [token.raw.decode(errors="replace") for token in tokens],
            "token_logprobs": [finite(token.logprob) for token in tokens],
            "top_logprobs": alternatives if any(alternatives) else None,
            "text_offset": [token.offset for token in tokens],
        }


def _describe() -> Description:
    from handler.api import schemas
    from handler.api.schemas import array, nullable, object_of, reference

    token_ids = array(reference("TokenId"), minItems=1)
    one_of = {"minItems": 1, "maxItems": 1}
    prompt = {"anyOf": [schemas.STRING, array(schemas.STRING, **one_of), token_ids, array(token_ids, **one_of)]}
    request = object_of(
        ["model", "prompt"],
        prompt=prompt,
        logprobs=nullable("integer", minimum=0, maximum=MAX_LOGPROBS),
        echo={"enum": [False, None]},
        suffix={"enum": ["", None]},
        best_of=schemas.ONE,
        **schemas.OPTIONS,
    )
    return schemas.Description(
        summary="Continue a text",
        request="CompletionRequest",
        answer="CompletionAnswer",
        schemas={
            "CompletionRequest": request,
            "CompletionAnswer": schemas.answer("text_completion", text=schemas.STRING),
        },
    )


COMPLETIONS = Endpoint("/v1/completions", parse_completion, _describe)
