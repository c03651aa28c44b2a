"""A text on its way to a vector: which hidden states it wants of each part, and what it makes of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handler.artefact import Pooling
from handler.engine.cancellation import Cancellation


@dataclass(frozen=True)
class Embedded:
    """A pooled vector.

    Attributes:
        vector: float32 `(hidden_size,)`, not normalized.
        cached_tokens: how many tokens of the text were found in the cache.
    """

    vector: NDArray[np.float32]
    cached_tokens: int


class Embedding:
    """A text on its way to a vector.

    Attributes:
        ids: of the text.
        prompt_length: how many there are.
        position: how many of them the cache holds.
        slot: where.
        cached_tokens: how many the cache held at first.
        cancellation: ends it from outside.
        ready: the vector, until somebody takes it.
        ended: whether it is done.
        error: what ended it, if not itself.
    """

    def __init__(
        self, ids: Sequence[int], slot: int, cached_tokens: int, pooling: Pooling, cancellation: Cancellation
    ) -> None:
        """Begin with a text whose first `cached_tokens` are in the slot."""
        self.ids = list(ids)
        self.prompt_length = len(ids)
        self.position = self.cached_tokens = cached_tokens
        self.slot = slot
        self.cancellation = cancellation
        self.ready: deque[Embedded] = deque()
        self.ended = False
        self.error: Exception | None = None
        self._pooling = pooling
        self._sum: NDArray[np.float64] | None = None

    @property
    def reusable(self) -> Sequence[int]:
        """The ids that needn't be run where a cache holds them."""
        return reusable(self.ids, self._pooling)

    @property
    def prefilling(self) -> bool:
        """Whether tokens are still to be run."""
        return not self.ended

    def wanted(self, count: int) -> Sequence[int]:
        """Which hidden states of the next `count` tokens are wanted, by their places among them."""
        if self._pooling == "mean":
            return range(count)
        return [count - 1] if self.position + count == self.prompt_length else []

    def accept(self, states: NDArray[np.float32]) -> None:
        """Take hidden states, after `position` was set behind them.

        Args:
            states: float32 `(n, hidden_size)`: those that were wanted.
        """
        for row in states:  # one by one, so that the sum doesn't depend on where a text was cut
            self._sum = row.astype(np.float64) if self._sum is None else self._sum + row
        if self.position == self.prompt_length and self._sum is not None:
            count = self.prompt_length if self._pooling == "mean" else 1
            self.ready.append(Embedded((self._sum / count).astype(np.float32), self.cached_tokens))
            self.ended = True


def reusable(ids: Sequence[int], pooling: Pooling) -> Sequence[int]:
    """The ids of a text that needn't be run where a cache holds them: a mean wants the hidden states of all."""
    return () if pooling == "mean" else ids
