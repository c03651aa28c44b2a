"""The members of a body that all endpoints understand, checked once at the edge.

Unknown members are ignored, as OpenAI's clients expect; what is known and not done here is refused by name, see
`handler.api.refused`. A member that is null counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from handler.api.constraints import parse_grammar
from handler.api.members import Members, check_text, check_token_ids
from handler.api.refused import TEXT, refuse
from handler.engine.sampling import SamplingParams
from handler.errors import EmbeddingsOnly, InvalidType, InvalidValue, ModelNotFound
from handler.text.deltas import Ending
from handler.text.grammar import Grammar

MAX_STOPS = 4
MAX_STOP_IDS = 64
MAX_CHOICES = 16
ANY_NAME = "*"
SEED_RANGE = (-(2**63), 2**63 - 1)


class Embeddings(Protocol):
    """How texts become vectors."""

    @property
    def size(self) -> int:
        """Elements of a vector."""
        ...

    @property
    def only(self) -> bool:
        """Whether the model can do nothing else."""
        ...


class Defaults(Protocol):
    """What the model's generation config says."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def min_p(self) -> float: ...
    @property
    def repetition_penalty(self) -> float: ...


@dataclass(frozen=True)
class Served:
    """What a request may ask of the model that is served."""

    model_id: str
    vocab_size: int
    defaults: Defaults
    max_tokens: int | None = None  # for requests that name no number
    max_tokens_cap: int | None = None  # no answer gets more
    aliases: tuple[str, ...] = ()  # further names of the model; "*" for any
    embeddings: Embeddings | None = None  # None: it isn't meant for them

    @property
    def names(self) -> tuple[str, ...]:
        """What the model is called: its whole id, the last part of it, and its aliases."""
        names = (self.model_id, self.model_id.rsplit("/", 1)[-1], *self.aliases)
        return tuple(dict.fromkeys(name for name in names if name != ANY_NAME))

    def accepts(self, model: str) -> bool:
        """Whether a request's model means this one."""
        return ANY_NAME in self.aliases or model in self.names


@dataclass(frozen=True)
class Options:
    """What all endpoints understand."""

    model: str
    sampling: SamplingParams
    max_tokens: int | None  # None: as many as the context holds
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool
    grammar: Grammar | None = None  # None: free text
    n: int = 1  # choices of a prompt
    ending: Ending = field(default_factory=Ending)


def parse_options(members: Members, served: Served, max_tokens: int | None, top_logprobs: int | None) -> Options:
    """Check what all endpoints understand, and refuse what none does.

    Args:
        members: The body's.
        served: What may be asked for.
        max_tokens: What the endpoint makes of its own members; None for as many as the context holds.
        top_logprobs: Alternatives a token; None for no log probabilities at all.

    Raises:
        ApiError: A member is refused; the error names it and the bad value.
    """
    if served.embeddings is not None and served.embeddings.only:
        raise EmbeddingsOnly(served.model_id)
    refuse(members, TEXT)
    stream = members.boolean("stream") or False
    max_tokens = _capped(max_tokens, served.max_tokens_cap)
    ending = _ending(members, served.vocab_size, max_tokens)
    return Options(
        model=parse_model(members, served),
        sampling=_sampling(members, served, top_logprobs, ending.min_tokens),
        max_tokens=max_tokens,
        stop=_stop(members.get("stop")),
        stream=stream,
        include_usage=_include_usage(members, stream),
        grammar=parse_grammar(members),
        n=members.integer("n", 1, MAX_CHOICES) or 1,
        ending=ending,
    )


def _capped(max_tokens: int | None, cap: int | None) -> int | None:
    given = [number for number in (max_tokens, cap) if number is not None]
    return min(given, default=None)


def parse_model(members: Members, served: Served) -> str:
    """Return the id of the model that is served, which is the one that was asked for, if any was.

    Raises:
        ApiError: Another one was asked for.
    """
    model = members.text("model")
    if model is not None and not served.accepts(model):
        raise ModelNotFound(model, served.model_id)
    return served.model_id


def _sampling(members: Members, served: Served, top_logprobs: int | None, min_tokens: int) -> SamplingParams:
    defaults = served.defaults

    def number(name: str, low: float, high: float, default: float, above: bool = False) -> float:
        value = members.number(name, low, high, above=above)
        return default if value is None else value

    top_k = members.integer("top_k", -1)
    return SamplingParams(
        temperature=number("temperature", 0.0, 2.0, defaults.temperature),
        top_p=number("top_p", 0.0, 1.0, defaults.top_p, above=True),
        # -1 is vLLM's way to say "off"; more than the vocabulary is all of it, which is off too.
        top_k=defaults.top_k if top_k is None else top_k if 0 < top_k < served.vocab_size else 0,
        min_p=number("min_p", 0.0, 1.0, defaults.min_p),
        repetition_penalty=number("repetition_penalty", 0.01, 10.0, defaults.repetition_penalty),
        presence_penalty=number("presence_penalty", -2.0, 2.0, 0.0),
        frequency_penalty=number("frequency_penalty", -2.0, 2.0, 0.0),
        logit_bias=_logit_bias(members, served.vocab_size),
        seed=members.integer("seed", *SEED_RANGE),
        top_logprobs=top_logprobs,
        min_tokens=min_tokens,
    )


def _logit_bias(members: Members, vocab_size: int) -> Mapping[int, float]:
    given = members.mapping("logit_bias") or {}
    biases = Members(given, "logit_bias.")
    result: dict[int, float] = {}
    for key in given:
        # int() would also take blanks, signs, underscores and other scripts' digits.
        if not (key.isascii() and key.isdigit() and len(key) < 12 and int(key) < vocab_size):
            raise InvalidValue("logit_bias", f"an object whose keys are token ids below {vocab_size}", key)
        bias = biases.number(key, -100.0, 100.0)
        if bias is not None:
            result[int(key)] = bias
    return result


def _stop(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, str | list):
        raise InvalidType("stop", "a string or an array of strings", value)
    stops = [value] if isinstance(value, str) else value
    if len(stops) > MAX_STOPS:
        raise InvalidValue("stop", f"at most {MAX_STOPS} strings", stops)
    paths = ["stop"] if isinstance(value, str) else [f"stop[{index}]" for index in range(len(stops))]
    return tuple(_stop_string(stop, path) for stop, path in zip(stops, paths, strict=True))


def _stop_string(value: object, path: str) -> str:
    text = check_text(value, path)
    if not text:
        raise InvalidValue(path, "a string of at least one character", text)
    return text


def _ending(members: Members, vocab_size: int, max_tokens: int | None) -> Ending:
    min_tokens = members.integer("min_tokens", 0) or 0
    if max_tokens is not None and min_tokens > max_tokens:
        raise InvalidValue("min_tokens", f"no more than the {max_tokens} tokens that the answer may have", min_tokens)
    ids = members.array("stop_token_ids") or []
    if len(ids) > MAX_STOP_IDS:
        raise InvalidValue("stop_token_ids", f"at most {MAX_STOP_IDS} token ids", ids)
    return Ending(
        stop_ids=frozenset(check_token_ids(ids, "stop_token_ids", vocab_size)),
        ignore_eos=members.boolean("ignore_eos") or False,
        min_tokens=min_tokens,
        include_stop=members.boolean("include_stop_str_in_output") or False,
        special=members.boolean("skip_special_tokens") is False,
    )


def _include_usage(members: Members, stream: bool) -> bool:
    options = members.mapping("stream_options")
    if options is None:
        return False
    if not stream:
        raise InvalidValue("stream_options", "given with stream = true only", options)
    return Members(options, "stream_options.").boolean("include_usage") or False
