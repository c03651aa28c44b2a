"""A prompt whose tokens' probabilities are wanted: run as any prompt, with logits for each of its positions."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from handler.engine.cancellation import Cancellation
from handler.engine.sampling import log_probabilities
from handler.engine.sequence import Token


class Scoring:
    """A prompt on its way.

    Attributes:
        ids: of the prompt.
        prompt_length: how many they are.
        position: how many of them the cache holds.
        slot: where.
        cached_tokens: how many it held at first.
        cancellation: ends it from outside.
        ready: tokens with their scores, from the second one on, that nobody has taken yet.
        ended: whether no more will come.
        error: what ended it, if not itself.
    """

    reusable: Sequence[int] = ()  # ids that needn't be run: what was computed before has left no logits

    def __init__(self, ids: Sequence[int], slot: int, top_logprobs: int, cancellation: Cancellation) -> None:
        """Begin with an empty slot."""
        self.ids = list(ids)
        self.prompt_length = len(ids)
        self.position = self.cached_tokens = 0
        self.slot = slot
        self.cancellation = cancellation
        self.ready: deque[Token] = deque()
        self.ended = False
        self.error: Exception | None = None
        self._top_logprobs = top_logprobs

    @property
    def prefilling(self) -> bool:
        """Whether tokens of the prompt are still to be run."""
        return not self.ended

    def wanted(self, count: int) -> Sequence[int]:
        """Which of the next `count` tokens logits are computed for."""
        return range(count)

    def accept(self, logits: NDArray[np.float32]) -> None:
        """Take the scores of the tokens that follow those which have just been run.

        Args:
            logits: float32 `(n, vocab_size)`: of the latest `n` tokens.
        """
        first = self.position - len(logits) + 1
        for row, token in zip(logits, self.ids[first : self.position + 1], strict=False):
            self.ready.append(Token(token, *log_probabilities(row, token, self._top_logprobs)))
        self.ended = self.position == self.prompt_length
