"""Token ids → text deltas; closing the deltas closes the engine's generator."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Literal, Protocol

from handler.errors import TimeUp
from handler.text.detokenizer import Detokenizer, StopStrings

FinishReason = Literal["stop", "length", "tool_calls"]


class Token(Protocol):
    """What the engine yields."""

    @property
    def id(self) -> int: ...
    @property
    def logprob(self) -> float | None: ...
    @property
    def top_logprobs(self) -> tuple[tuple[int, float], ...]: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def whole(self) -> bool: ...


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
class CallDelta:
    """What is added to the call of a tool.

    Attributes:
        index: Which of the answer's calls, from 0.
        id: The call's, in its first delta.
        name: The tool's, in its first delta.
        arguments: A piece of the arguments' JSON.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True)
class Delta:
    """What one more token adds; the last one of a choice has the finish reason.

    Attributes:
        text: Of the answer.
        tokens: Their scores, if they were asked for.
        finish_reason: Why there will be no more.
        index: Which choice it belongs to.
        reasoning: Text that was thought before the answer.
        calls: Of tools.
    """

    text: str
    tokens: tuple[ScoredToken, ...] = ()
    finish_reason: FinishReason | None = None
    index: int = 0
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()


def joined(deltas: Iterable[Delta]) -> tuple[Delta, ...]:
    """Put all deltas of an answer together: each choice is one large delta."""
    choices: dict[int, list[Delta]] = {}
    for delta in deltas:
        choices.setdefault(delta.index, []).append(delta)
    return tuple(_joined(choices[index]) for index in sorted(choices))


def _joined(given: Sequence[Delta]) -> Delta:
    return Delta(
        text="".join(delta.text for delta in given),
        tokens=tuple(token for delta in given for token in delta.tokens),
        finish_reason=given[-1].finish_reason,
        index=given[-1].index,
        reasoning="".join(delta.reasoning for delta in given),
        calls=_joined_calls(call for delta in given for call in delta.calls),
    )


def _joined_calls(given: Iterable[CallDelta]) -> tuple[CallDelta, ...]:
    calls: dict[int, CallDelta] = {}
    for part in given:
        call = calls.get(part.index, CallDelta(part.index))
        calls[part.index] = CallDelta(
            part.index, call.id or part.id, call.name or part.name, call.arguments + part.arguments
        )
    return tuple(calls[index] for index in sorted(calls))


def text_deltas(
    tokens: Generator[Token | None, None, None], vocabulary: Vocabulary, stop: Sequence[str], max_tokens: int
) -> Generator[Delta | None, None, None]:
    """Turn tokens into text.

    Args:
        tokens: The engine's; closed at the end, and as soon as a stop string is complete.
        vocabulary: The model's tokenizer.
        stop: The stop strings.
        max_tokens: As many tokens mean that the engine was cut off, unless the last one makes the answer whole.

    Yields:
        A delta a token, possibly empty, then one with the finish reason and what was held back: "length" if `tokens`
        raises `TimeUp`. None for None.
    """
    detokenizer, stop_strings, scores = Detokenizer(vocabulary), StopStrings(stop), _Scores(vocabulary)
    count = decoded = sent = 0
    whole = False
    reason: FinishReason = "length"
    with closing(tokens), suppress(TimeUp):
        for token in tokens:
            if token is None:
                yield None
                continue
            count, whole = count + 1, token.whole
            scores.add(token, decoded)
            text = detokenizer.push(token.id)
            decoded += len(text)
            text = stop_strings.push(text)
            sent += len(text)
            yield Delta(text, scores.take(sent))
            if stop_strings.found:
                yield Delta("", finish_reason="stop")
                return
        reason = "length" if count >= max_tokens and not whole else "stop"
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
