"""Token ids → text deltas; closing the deltas closes the engine's generator."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

from handler.errors import TimeUp
from handler.text.detokenizer import Detokenizer, StopStrings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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

    def decode_bytes(self, ids: Sequence[int], *, special: bool = False) -> bytes: ...
    def token_bytes(self, id: int) -> bytes: ...


@dataclass(frozen=True)
class ScoredToken:
    """One token with its log probability, and where its text begins in the answer.

    The first token of a prompt that is echoed has no probability: it follows nothing.
    """

    raw: bytes
    logprob: float | None
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
        offset: Where the call stands in the answer's text, in characters; known once the answer's deltas are joined.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    offset: int = 0


@dataclass(frozen=True)
class Delta:
    """What one more token adds; the last one of a choice has the finish reason.

    Attributes:
        text: Of the answer.
        tokens: Their scores, if they were asked for.
        finish_reason: Why there will be no more.
        index: Which choice it belongs to.
        reasoning: Text that was thought before the answer.
        thoughts: How many of its tokens are such text's.
        calls: Of tools; they come after the delta's text.
        stopped_by: The stop string that ended the text, if one did.
        embedding: float32 `(hidden_size,)`, pooled and not normalized, where the answer is no text.
    """

    text: str
    tokens: tuple[ScoredToken, ...] = ()
    finish_reason: FinishReason | None = None
    index: int = 0
    reasoning: str = ""
    thoughts: int = 0
    calls: tuple[CallDelta, ...] = ()
    stopped_by: str | None = None
    embedding: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Ending:
    """What else there is to say of an answer's end.

    Attributes:
        stop_ids: Tokens that end it, beside the model's own.
        ignore_eos: Whether the model's own don't.
        min_tokens: No stop string counts before so many; tokens that end it aren't even chosen.
        include_stop: Whether a stop string is part of the answer.
        special: Whether special tokens are, with their names.
    """

    stop_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False
    min_tokens: int = 0
    include_stop: bool = False
    special: bool = False


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
        thoughts=sum(delta.thoughts for delta in given),
        calls=_joined_calls(given),
        stopped_by=given[-1].stopped_by,
        embedding=given[-1].embedding,
    )


def _joined_calls(given: Iterable[Delta]) -> tuple[CallDelta, ...]:
    calls: dict[int, CallDelta] = {}
    written = 0
    for delta in given:
        written += len(delta.text)
        for part in delta.calls:
            call = calls.get(part.index) or CallDelta(part.index, offset=written)
            calls[part.index] = replace(
                call, id=call.id or part.id, name=call.name or part.name, arguments=call.arguments + part.arguments
            )
    return tuple(calls[index] for index in sorted(calls))


def text_deltas(
    tokens: Generator[Token | None, None, None],
    vocabulary: Vocabulary,
    stop: Sequence[str],
    max_tokens: int,
    ending: Ending | None = None,
    offset: int = 0,
) -> Generator[Delta | None, None, None]:
    """Turn tokens into text.

    Args:
        tokens: The engine's; closed at the end, and as soon as a stop string is complete.
        vocabulary: The model's tokenizer.
        stop: The stop strings.
        max_tokens: As many tokens mean that the engine was cut off, unless the last one makes the answer whole.
        ending: What else there is to say of the end.
        offset: Characters before the answer's text, where it comes behind its prompt.

    Yields:
        A delta a token, possibly empty, then one with the finish reason and what was held back: "length" if `tokens`
        raises `TimeUp`. None for None.
    """
    ending = ending or Ending()
    detokenizer = Detokenizer(vocabulary, ending.special)
    stop_strings, scores = StopStrings(stop, ending.include_stop), _Scores(vocabulary, offset)
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
            text = stop_strings.push(text) if count > ending.min_tokens else text
            sent += len(text)
            yield Delta(text, scores.take(sent))
            if stop_strings.found is not None:
                yield Delta("", finish_reason="stop", stopped_by=stop_strings.found)
                return
        reason = "length" if count >= max_tokens and not whole else "stop"
    yield Delta(stop_strings.flush(), scores.take(None), reason)


def prompt_scores(
    tokens: Sequence[Token], vocabulary: Vocabulary, first_id: int, offsets: Sequence[int]
) -> tuple[ScoredToken, ...]:
    """Name the tokens of a prompt.

    Args:
        tokens: All but the first, with their scores.
        vocabulary: The model's tokenizer.
        first_id: The first, which has no score.
        offsets: Where the text of each begins, of the first as well.
    """
    first = ScoredToken(vocabulary.token_bytes(first_id), None, (), offsets[0])
    return first, *(_scored(token, vocabulary, at) for token, at in zip(tokens, offsets[1:], strict=True))


def _scored(token: Token, vocabulary: Vocabulary, offset: int) -> ScoredToken:
    name = vocabulary.token_bytes
    alternatives = tuple((name(id), logprob) for id, logprob in token.top_logprobs)
    return ScoredToken(name(token.id), token.logprob, alternatives, offset)


class _Scores:
    """Holds each token's score back until the first character of its text is sent."""

    def __init__(self, vocabulary: Vocabulary, start: int) -> None:
        self._vocabulary = vocabulary
        self._start = start
        self._waiting: list[ScoredToken] = []

    def add(self, token: Token, offset: int) -> None:
        if token.logprob is not None:
            self._waiting.append(_scored(token, self._vocabulary, self._start + offset))

    def take(self, sent: int | None) -> tuple[ScoredToken, ...]:
        """Take the scores of tokens that begin before `sent` characters; None takes all."""
        count = sum(1 for token in self._waiting if sent is None or token.offset < self._start + sent)
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return tuple(taken)
