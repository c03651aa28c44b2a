"""What the HTTP side needs of a loaded model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from handler.api.options import Served
from handler.api.prompt import Prompts
from handler.billing import Bill
from handler.engine.cancellation import Cancellable
from handler.engine.constraint import Constraint
from handler.engine.memory import Room
from handler.engine.sampling import SamplingParams
from handler.text.deltas import Token, Vocabulary

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Generate(Protocol):
    """The engine's `answer`: tokens, and None where it takes a step to go on."""

    def __call__(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams,
        max_tokens: int,
        stop_ids: Collection[int],
        cancellation: Any,
        constraint: Constraint | None = None,
        /,
    ) -> Generator[Token | None, None, None]: ...


class Embedded(Protocol):
    """An input that became a vector."""

    @property
    def vector(self) -> NDArray[np.float32]:
        """float32 `(hidden_size,)`, pooled and not normalized."""
        ...

    @property
    def cached_tokens(self) -> int:
        """How many of its tokens were found in the cache."""
        ...


class Embed(Protocol):
    """The engine's `embed`: one vector, and None where it takes a step to go on."""

    def __call__(self, prompt_ids: Sequence[int], cancellation: Any, /) -> Generator[Embedded | None, None, None]: ...


class Score(Protocol):
    """The engine's `score`: a prompt's tokens from the second one on, and None where it takes a step to go on."""

    def __call__(
        self, prompt_ids: Sequence[int], top_logprobs: int, cancellation: Any, /
    ) -> Generator[Token | None, None, None]: ...


@dataclass(frozen=True)
class Model:
    """A model that can make a token."""

    served: Served
    prompts: Prompts
    vocabulary: Vocabulary
    generate: Generate
    score: Score
    embed: Embed
    step: Callable[[], None]
    slots: int  # answers at a time
    new_cancellation: Callable[[], Cancellable]
    stop_ids: frozenset[int]
    fingerprint: str | None
    created: int  # Unix seconds
    context_length: int
    prefixes: tuple[int, ...] = ()  # tokens of each that was loaded
    room: Room | None = None  # what the answers may take of the memory; None for as much as they want
    bill: Bill = field(default_factory=Bill)  # what this environment costs
    forget_times: Callable[[], None] = lambda: None  # the engine's measurements, after a restore from a snapshot
