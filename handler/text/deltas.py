"""Token ids → text deltas, counted and timed; closing the deltas closes the engine's generator."""

import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

from handler.errors import TimeUp
from handler.text.detokenizer import Detokenizer, StopStrings

FinishReason = Literal["stop", "length"]


class Token(Protocol):
    """What the engine yields."""

    @property
    def id(self) -> int: ...
    @property
    def logprob(self) -> float | None: ...
    @property
    def top_logprobs(self) -> tuple[tuple[int, float], ...]: ...


class Vocabulary(Protocol):
    """What text deltas need of a tokenizer."""

    def decode_bytes(self, ids: Sequence[int]) -> bytes: ...
    def token_bytes(self, id: int) -> bytes: ...


@dataclass(frozen=True)
class ScoredToken:
    """One token with its log probability, and where its text begins in the answer."""

    raw: bytes
    logprob: float
    alternatives: tuple[tuple[bytes, float], ...]
    offset: int  # characters


@dataclass(frozen=True)
class Delta:
    """What one more token adds; the last one has the finish reason."""

    text: str
    tokens: tuple[ScoredToken, ...] = ()
    finish_reason: FinishReason | None = None


def text_deltas(
    tokens: Generator[Token | None, None, None], vocabulary: Vocabulary, stop: Sequence[str], max_tokens: int
) -> Generator[Delta | None, None, None]:
    """Turn tokens into text.

    Args:
        tokens: The engine's; closed at the end, and as soon as a stop string is complete.
        vocabulary: The model's tokenizer.
        stop: The stop strings.
        max_tokens: As many tokens mean that the engine was cut off.

    Yields:
        A delta a token, possibly empty, then one with the finish reason and what was held back: "length" if `tokens`
        raises `TimeUp`. None for None.
    """
    detokenizer, stop_strings, scores = Detokenizer(vocabulary), StopStrings(stop), _Scores(vocabulary)
    count = decoded = sent = 0
    reason: FinishReason = "length"
    with closing(tokens), suppress(TimeUp):
        for token in tokens:
            if token is None:
                yield None
                continue
            count += 1
            scores.add(token, decoded)
            text = detokenizer.push(token.id)
            decoded += len(text)
            text = stop_strings.push(text)
            sent += len(text)
            yield Delta(text, scores.take(sent))
            if stop_strings.found:
                yield Delta("", finish_reason="stop")
                return
        reason = "length" if count >= max_tokens else "stop"
    yield Delta(stop_strings.flush(), scores.take(None), reason)


class _Scores:
    """Holds each token's score back until the first character of its text is sent."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._waiting: list[ScoredToken] = []

    def add(self, token: Token, offset: int) -> None:
        if token.logprob is None:
            return
        name = self._vocabulary.token_bytes
        alternatives = tuple((name(id), logprob) for id, logprob in token.top_logprobs)
        self._waiting.append(ScoredToken(name(token.id), token.logprob, alternatives, offset))

    def take(self, sent: int | None) -> tuple[ScoredToken, ...]:
        """Take the scores of tokens that begin before `sent` characters; None takes all."""
        count = sum(1 for token in self._waiting if sent is None or token.offset < sent)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return tuple(taken)


@dataclass
class Meter:
    """Counts one answer's tokens and takes its times, in seconds of `time.perf_counter`."""

    prompt_tokens: int
    received_at: float
    completion_tokens: int = 0
    queued_at: float = field(default_factory=time.perf_counter)
    started_at: float | None = None
    first_token_at: float | None = None
    last_token_at: float | None = None
    stopped_by: Literal["deadline"] | None = None

    def start(self) -> None:
        """The engine begins."""
        self.started_at = time.perf_counter()

    def count(self, tokens: Generator[Token | None, None, None]) -> Generator[Token | None, None, None]:
        """Pass the tokens on, counting them, and note if time is up."""
        with closing(tokens):
            try:
                for token in tokens:
                    if token is not None:
                        self.last_token_at = time.perf_counter()
                        self.first_token_at = self.first_token_at or self.last_token_at
                        self.completion_tokens += 1
                    yield token
            except TimeUp:
                self.stopped_by = "deadline"
                raise

    def usage(self) -> dict[str, int]:
        """Return OpenAI's usage object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }

    def timings(self) -> dict[str, float | int | str | None]:
        """Return the times so far in milliseconds, null for what didn't happen, and what cut the answer off if not its
        length."""
        decode_ms = _ms(self.first_token_at, self.last_token_at)
        # The first token belongs to the prefill, so n tokens are n - 1 steps.
        rate = (self.completion_tokens - 1) / decode_ms * 1e3 if decode_ms else None
        return {
            "queue_ms": _ms(self.queued_at, self.started_at),
            "prompt_tokens": self.prompt_tokens,
            "prefill_ms": _ms(self.started_at, self.first_token_at),
            "first_token_ms": _ms(self.received_at, self.first_token_at),
            "completion_tokens": self.completion_tokens,
            "decode_ms": decode_ms,
            "decode_tokens_per_second": rate and round(rate, 2),
            **({"stopped_by": self.stopped_by} if self.stopped_by else {}),
        }


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1e3, 3)
