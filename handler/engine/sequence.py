"""One answer: what it has, what it guesses, and what it accepts."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handler.engine.cancellation import Cancellation
from handler.engine.constraint import Constraint
from handler.engine.drafting import Drafter
from handler.engine.sampling import ALL_EXACT, Choice, Sampler, SamplingParams, log_probabilities


@dataclass(frozen=True)
class Token:
    """A generated token.

    Attributes:
        id: in the vocabulary.
        logprob: natural logarithm of its probability by the model's own distribution, if it was asked for.
        top_logprobs: the likeliest tokens at its place, likeliest first.
        cached_tokens: how many tokens of the prompt were found in the cache.
        whole: whether nothing may follow it.
    """

    id: int
    logprob: float | None = None
    top_logprobs: tuple[tuple[int, float], ...] = ()
    cached_tokens: int = 0
    whole: bool = False


class Answer:
    """An answer on its way.

    Attributes:
        ids: of prompt and answer, as far as they are known.
        prompt_length: how many of them are the prompt's.
        position: how many of them the cache holds.
        slot: where.
        cached_tokens: how many the cache held at first.
        cancellation: ends it from outside.
        ready: tokens that nobody has taken yet.
        ended: whether no more will come.
        error: what ended it, if not itself.
    """

    def __init__(
        self,
        prompt_ids: Sequence[int],
        slot: int,
        cached_tokens: int,
        sampler: Sampler,
        params: SamplingParams,
        max_tokens: int,
        stop_ids: Collection[int],
        cancellation: Cancellation,
        drafter: Drafter,
        constraint: Constraint | None,
    ) -> None:
        """Begin an answer whose prompt's first `cached_tokens` are in the slot."""
        self.ids = list(prompt_ids)
        self.prompt_length = len(prompt_ids)
        self.position = self.cached_tokens = cached_tokens
        self.slot = slot
        self.cancellation = cancellation
        self.ready: deque[Token] = deque()
        self.ended = False
        self.error: Exception | None = None
        self._sampler = sampler
        self._top_logprobs = params.top_logprobs
        self._left = max_tokens
        self._may_end_at = max_tokens - params.min_tokens  # while more are left, it may not end
        self._stop_ids = stop_ids
        self._drafter = drafter
        self._constraint = constraint
        self._guess: Sequence[int] = ()
        self._drafted = False

    @property
    def chance(self) -> float:
        """That a guess is right, as it was lately."""
        return self._drafter.chance

    @property
    def prefilling(self) -> bool:
        """Whether tokens of the prompt are still to be run before there can be a first token."""
        return self.position < self.prompt_length and not self.ended

    @property
    def decoding(self) -> bool:
        """Whether a step would give a next token."""
        return self.position >= self.prompt_length and not self.ended

    @property
    def reusable(self) -> Sequence[int]:
        """The ids that needn't be run where a cache holds them."""
        return self.ids

    @property
    def choice(self) -> Choice:
        """Which logits must be exact for the next tokens."""
        bound = self._constraint is not None or self._left > self._may_end_at
        return ALL_EXACT if bound else self._sampler.choice

    def wanted(self, count: int) -> Sequence[int]:
        """Which of the prompt's next `count` tokens logits are computed for: the last one of all."""
        return [count - 1] if self.position + count == self.prompt_length else []

    def next_ids(self, most: int, most_forced: int, long: bool = False) -> Sequence[int]:
        """What the next step runs: the latest token, and guesses of those that follow it.

        Args:
            most: guesses.
            most_forced: tokens that a constraint forces; they can't be wrong.
            long: whether the step takes so long that the constraint had better work meanwhile.
        """
        constraint = self._constraint
        forced = constraint.forced() if constraint is not None else ()
        guess = forced[:most_forced] if forced else self._drafter.guess(most)
        guess = guess[: self._left - 1]
        if constraint is not None:
            if not forced and guess:
                guess = guess[: constraint.fitting(guess)]
            if long:
                constraint.prepare()
        self._guess, self._drafted = guess, not forced
        return [self.ids[-1], *guess]

    def accept(self, logits: NDArray[np.float32]) -> None:
        """Choose tokens, row by row, until a guess is wrong.

        Every row is sampled as if it were alone, with penalties, constraint and random numbers as the rows before
        left them. A guess only decides whether the next row means anything; so tokens have the sampler's own
        distribution, and a seed gives the same ones whatever is guessed.

        Args:
            logits: float32 `(n, vocab_size)`: after the latest token, then after each guess.
        """
        guess, chosen = self._guess, []
        for row in range(len(logits)):
            token = self._choose(logits[row])
            chosen.append(token)
            if self.ended or row == len(guess) or token != guess[row]:
                break
        right = sum(1 for token, guessed in zip(chosen, guess, strict=False) if token == guessed)
        self.ids += chosen
        # The last one's keys and values come with the next step; those of a wrong guess are overwritten by it.
        self.position = len(self.ids) - 1
        self._drafter.observe(chosen, *(len(guess), right) if self._drafted else (0, 0))
        self._guess = ()

    def _choose(self, logits: NDArray[np.float32]) -> int:
        token = self._next(logits)
        if token in self._stop_ids:
            self.ended = True
            return token
        if self._constraint is not None:
            self._constraint.advance(token)
        whole = self._constraint is not None and self._constraint.ended
        if self._top_logprobs is None:
            self.ready.append(Token(token, cached_tokens=self.cached_tokens, whole=whole))
        else:
            logprob, top = log_probabilities(logits, token, self._top_logprobs)
            self.ready.append(Token(token, logprob, top, self.cached_tokens, whole))
        self._left -= 1
        self.ended = whole or self._left == 0
        return token

    def _next(self, logits: NDArray[np.float32]) -> int:
        constraint = self._constraint
        avoided = self._stop_ids if self._left > self._may_end_at else ()
        if constraint is None:
            return self._sampler.sample(logits, avoided=avoided)
        forced = constraint.forced()
        return self._sampler.take(forced[0]) if forced else self._sampler.sample(logits, constraint.allowed(), avoided)
