"""/v1/completions: a raw text, or token ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from handler.api.chunks import Chunks, finite
from handler.api.contents import MAX_PROMPTS, Prompt, parse_prompts
from handler.api.endpoint import Endpoint
from handler.api.events import Envelope
from handler.api.members import Members
from handler.api.options import MAX_CHOICES, Options, Served, parse_options
from handler.api.prompt import Echo, Prompts, TextTask
from handler.api.refused import COMPLETION, refuse
from handler.errors import UnsupportedParameter
from handler.text.deltas import Delta, ScoredToken
from handler.text.detokenizer import located
from handler.text.meter import Meter
from handler.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from handler.api.schemas import Description

MAX_LOGPROBS = 5
DEFAULT_MAX_TOKENS = 16  # What OpenAI's legacy endpoint gives when a request names no number.


@dataclass(frozen=True)
class CompletionRequest:
    """A body of /v1/completions.

    Attributes:
        prompts: Texts, or token ids.
        options: What all endpoints understand.
        echo: Whether each answer begins with its prompt.
        add_special: Whether a text gets what the checkpoint puts around one, such as a BOS.
    """

    id_prefix: ClassVar[str] = "cmpl-"

    prompts: tuple[Prompt, ...]
    options: Options
    echo: bool = False
    add_special: bool = True

    @property
    def logged(self) -> object:
        return self.prompts if len(self.prompts) > 1 else self.prompts[0]

    def tasks(self, prompts: Prompts) -> Sequence[TextTask]:
        return [task for prompt in self.prompts for task in self._task(prompt, prompts).choices(self.options.n)]

    def _task(self, prompt: Prompt, prompts: Prompts) -> TextTask:
        ids = self._ids(prompt, prompts)
        echo = _echo(prompt, ids, prompts.tokenizer, self.options.ending.special) if self.echo else None
        return prompts.text_task(ids, self.options, "prompt", echo=echo)

    def prompt_ids(self, prompts: Prompts) -> Sequence[int]:
        """Encode the first prompt.

        Raises:
            ApiError: The tokenizer refuses the text.
        """
        return self._ids(self.prompts[0], prompts)

    def _ids(self, prompt: Prompt, prompts: Prompts) -> Sequence[int]:
        if not isinstance(prompt, str):
            return prompt
        tokenizer = prompts.tokenizer
        return tokenizer.encode_prompt(prompt) if self.add_special else tokenizer.encode(prompt)

    def answer(self, envelope: Envelope, meter: Meter) -> CompletionAnswer:
        return CompletionAnswer(envelope, meter, self.options.include_usage)


def _echo(prompt: Prompt, ids: Sequence[int], tokenizer: Tokenizer, special: bool) -> Echo:
    if not isinstance(prompt, str):
        return Echo(*located(tokenizer, ids, special))
    # Special tokens that the text spells are part of it; those that were put around it aren't.
    spelt = tokenizer.encode(prompt)
    before = next(at for at in range(len(ids) - len(spelt) + 1) if list(ids[at : at + len(spelt)]) == spelt)
    _, offsets = located(tokenizer, spelt, special=True)
    after = len(ids) - before - len(spelt)
    return Echo(prompt, [*[0] * before, *(min(at, len(prompt)) for at in offsets), *[len(prompt)] * after])


def parse_completion(values: Mapping[str, Any], served: Served) -> CompletionRequest:
    """Check a body of /v1/completions.

    Raises:
        ApiError: It is refused; the error names the parameter and the bad value.
    """
    members = Members(values)
    refuse(members, COMPLETION)
    prompts = parse_prompts(members.get("prompt"), served.vocab_size)
    echo = members.boolean("echo") or False
    request = CompletionRequest(
        prompts=prompts,
        options=parse_options(
            members,
            served,
            max_tokens=_max_tokens(members, served, echo),
            top_logprobs=members.integer("logprobs", 0, MAX_LOGPROBS),
        ),
        echo=echo,
        add_special=members.boolean("add_special_tokens") is not False,
    )
    best_of = members.integer("best_of", 1)
    if best_of is not None and best_of != request.options.n:
        raise UnsupportedParameter("best_of", "answers aren't judged; use n, of which best_of may be the same", best_of)
    return request


def _max_tokens(members: Members, served: Served, echo: bool) -> int:
    given = members.integer("max_tokens", 0 if echo else 1)
    if given is not None:
        return given
    return served.max_tokens or max(DEFAULT_MAX_TOKENS, members.integer("min_tokens", 0) or 0)


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
        alternatives = [_alternatives(token) for token in tokens]
        return {
            "tokens": [token.raw.decode(errors="replace") for token in tokens],
            "token_logprobs": [finite(token.logprob) for token in tokens],
            "top_logprobs": alternatives if any(alternatives) else None,
            "text_offset": [token.offset for token in tokens],
        }


def _alternatives(token: ScoredToken) -> dict[str, float | None] | None:
    if token.logprob is None:
        return None
    # Halves of characters look alike: the likeliest of them, which comes first, stands for all.
    return {text.decode(errors="replace"): finite(logprob) for text, logprob in reversed(token.alternatives)}


def _describe() -> Description:
    from handler.api import schemas
    from handler.api.schemas import array, nullable, object_of, reference

    token_ids = array(reference("TokenId"), minItems=1)
    several = {"minItems": 1, "maxItems": MAX_PROMPTS}
    one = {"anyOf": [schemas.STRING, token_ids]}
    prompt = {"anyOf": [schemas.STRING, token_ids, array(one, **several)]}
    request = object_of(
        ["prompt"],
        prompt=prompt,
        logprobs=nullable("integer", minimum=0, maximum=MAX_LOGPROBS),
        echo=nullable("boolean", description="The prompt comes before its answer."),
        best_of=nullable("integer", minimum=1, maximum=MAX_CHOICES, description="The same as n, if it is given."),
        add_special_tokens=nullable("boolean", description="An extension, for a BOS; true by default."),
        **schemas.OPTIONS,
    )
    request["properties"]["max_tokens"] = nullable("integer", minimum=0, description="0 with echo only.")
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
