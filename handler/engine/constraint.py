"""What may come next: a mask over the vocabulary, and tokens that must come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Constraint(Protocol):
    """The state of one answer's grammar; the grammar itself, which knows text, lives elsewhere."""

    @property
    def ended(self) -> bool:
        """Whether nothing may follow but the end."""
        ...

    def forced(self) -> Sequence[int]:
        """Tokens that must come next, one after the other; none where there is a choice."""
        ...

    def allowed(self) -> NDArray[np.uint8]:
        """Whether each token may come next, a bit each: uint8 `(ceil(vocab_size / 8),)` or more, lowest bit first.

        At least one may. It isn't asked where a token is forced or the answer has ended, and is good until `advance`.
        """
        ...

    def prepare(self) -> None:
        """A long step begins behind which `allowed` is asked: it may be computed meanwhile."""
        ...

    def fitting(self, tokens: Sequence[int]) -> int:
        """How many tokens of a guess may come, one after the other."""
        ...

    def advance(self, token: int) -> None:
        """A token has come; it was allowed or forced."""
        ...
