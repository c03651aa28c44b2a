"""What may come next: a mask over the vocabulary, and tokens that must come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Constraint(Protocol):
    """The state of one answer's grammar; the grammar itself, which knows text, lives elsewhere."""

    def allowed(self) -> NDArray[np.bool_] | None:
        """Whether each token may come next, bool `(vocab_size,)`, at least one of them true; None allows all."""
        ...

    def forced(self) -> Sequence[int]:
        """Tokens that must come next, one after the other; none where there is a choice."""
        ...

    def advance(self, token: int) -> None:
        """A token has come; it was allowed."""
        ...
