"""What a weight should be, before it is rounded, for the inputs that the rounded layers before it give.

Those inputs X̃ aren't the unrounded model's X. The weight whose outputs X̃ Vᵀ are nearest to X Wᵀ is not W but
V = W + W (X - X̃)ᵀ X̃ (X̃ᵀX̃)⁻¹ (Li et al., GPTAQ, 2025). A layer that adds to the hidden states can also add what they
lack by then: R (X̃ᵀX̃)⁻¹ more, with R = (hidden states - rounded model's)ᵀ X̃. Both are fitted to the text, and promise
more than another text gets, the more so the fewer tokens there are for an input; so they are damped more then.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_export.feedback import Array, Factors, damp_further, factorize, rounding_order, solve
from model_export.parallel import ROWS, Workers, slices
from model_export.rows import Rows

# Of the mean of the moments' diagonal, added to it: DAMPING times the layer's inputs over the text's tokens, as that is
# how a fit's share of noise grows; at least what the moments have for the rounding, at most what was tried.
DAMPING, MOST = 20.0, 1.0


@dataclass(frozen=True)
class Moments:
    """The second moments of a layer's inputs.

    Attributes:
        order: to round columns in, from `model_export.feedback.rounding_order`.
        mean: of the diagonal.
        damping: of the mean, added to the diagonal.
        factors: of the moments in this order, over the mean, damped.
    """

    order: NDArray[np.intp]
    mean: float
    damping: float
    factors: Factors

    @classmethod
    def of(cls, inputs: Array, block_size: int, damping: float, workers: Workers) -> Moments:
        """Gather them: inputs are float32 `(tokens, K)`."""
        moments = workers.moments(inputs, inputs)
        diagonal = np.diagonal(moments)
        order, mean = rounding_order(diagonal, block_size), float(diagonal.mean())
        return cls(order, mean, damping, factorize(moments[np.ix_(order, order)], damping))


@dataclass(frozen=True)
class Aim:
    """What a linear layer shall give.

    Attributes:
        exact: its inputs in the unrounded model, float32 `(tokens, K)`.
        missing: what its outputs are added to lacks, float32 `(tokens, N)`; None where they aren't added.
    """

    exact: Array
    missing: Array | None


@dataclass(frozen=True)
class Shift:
    """The way from a weight to what it should be, in the order of rounding.

    Attributes:
        factor: float32 `(K, K)`, or None.
        addend: float32 `(K, N)`, or None.
    """

    factor: Array | None
    addend: Array | None

    @classmethod
    def towards(
        cls, aim: Aim, inputs: Array, weight: Rows, moments: Moments, workers: Workers, damping: float | None = None
    ) -> Shift:
        """Find it.

        Args:
            aim: what to give.
            inputs: for which, float32 `(tokens, K)`.
            weight: `(N, K)`.
            moments: of the inputs.
            workers: threads.
            damping: to use, if more than the moments have; None for what so many tokens need.
        """
        more = (_damping(*inputs.shape) if damping is None else damping) - moments.damping
        factors = damp_further(moments.factors, more) if more > 0 else moments.factors

        def solved(right: NDArray[np.float64]) -> Array:
            return solve(factors, (right / moments.mean).astype(np.float32), workers)

        wrong, order, addend = aim.exact - inputs, moments.order, aim.missing
        rows, columns = weight.shape
        if rows >= columns:
            factor = solved(workers.moments(inputs, wrong)[np.ix_(order, order)])
            return cls(factor, None if addend is None else solved(workers.moments(inputs, addend)[order]))
        # With fewer outputs than inputs it takes less time to go by way of what the outputs lack.
        matrix = weight.read(0, rows)
        lacking = np.concatenate(workers.map(lambda part: wrong[part] @ matrix.T, slices(len(wrong), ROWS)))
        if addend is not None:
            lacking += addend
        return cls(None, solved(workers.moments(inputs, lacking)[order]))

    def apply(self, matrix: Array, rows: slice) -> None:
        """Change these rows of a weight in place, as `(K, N)` in the order of rounding."""
        change = np.zeros_like(matrix) if self.factor is None else self.factor @ matrix
        if self.addend is not None:
            change += self.addend[:, rows]
        matrix += change


def _damping(tokens: int, columns: int) -> float:
    return min(MOST, DAMPING * columns / tokens)


def missing(hidden: Array) -> Array:
    """What the rounded model's hidden states lack: `(2, tokens, hidden_size)` of both models → `(tokens, hidden_size)`.

    A few tokens' states can be a hundred times as large as all others; norms make them equal again, and so does this.
    """
    exact, rounded = hidden
    squares = np.mean(rounded * rounded, axis=1, keepdims=True)
    ordinary = np.median(squares)
    result: Array = (exact - rounded) * np.minimum(1, ordinary / np.maximum(squares, np.finfo(np.float32).tiny))
    return result
