"""Rounding with error feedback: each column of a weight makes up for the errors of the columns before it.

The error that matters is that of the layer's output, tr(E H Eᵀ) with E the weights' errors and H = XᵀX over the
layer's calibration inputs. With H = U D Uᵀ, U unit upper triangular, column k is rounded after Σ_{j<k} E_j U_jk was
added to it, and then costs D_k times its squared rounding error. That is GPTQ (Frantar et al., 2022) in the form of
LDLQ (Chee et al., QuIP, 2023, which proves the two equal), and needs no inverse. A block's scale is the one of several
candidates that costs least after its columns' own feedback.

Arrays are transposed here, `(K, N)`: a column of the weight is then a row of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export.parallel import ROWS, Workers, slices
from model_export.quantize import F16_MAX, block_scales
from model_export.search import HIGHEST, LOWEST, candidate_scales

Array = NDArray[np.float32]
# Of the mean of H's diagonal, added to it: so much do errors count that no input of the text has shown. Between 0.01
# and 0.3 it makes no difference to a text like the calibration's; to other texts, more is better.
DAMPING = 0.1
PANEL = 256  # columns that get the errors of all columns before them in one product


@dataclass(frozen=True)
class Factors:
    """What a layer's inputs say about errors of its weight.

    Attributes:
        hessian: H, damped, float32 `(K, K)`.
        upper: U, float32 `(K, K)`, unit upper triangular.
        diagonal: D, float32 `(K,)`.
    """

    hessian: Array
    upper: Array
    diagonal: Array


@dataclass(frozen=True)
class Rounded:
    """Columns of a weight in 4 bits.

    Attributes:
        codes: uint8 `(K, N)`, the values plus the zero point.
        scales: float16 `(blocks, N)`.
        errors: float32 `(K, N)`, the weight less what it was rounded to.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float16]
    errors: Array


def factorize(hessian: NDArray[np.float64], damping: float = DAMPING) -> Factors:
    """Damp H and factor it as U D Uᵀ.

    Args:
        hessian: float64 `(K, K)`, symmetric, positive semidefinite; changed in place.
        damping: of the mean of its diagonal, added to it.
    """
    diagonal = np.einsum("kk->k", hessian)
    mean = float(diagonal.mean())
    hessian /= mean if mean > 0 else 1.0
    diagonal += damping if mean > 0 else 1.0
    return _factors(hessian)


def damp_further(factors: Factors, more: float) -> Factors:
    """Factor H again with more of the mean of its diagonal added to that; in float32, which is enough then."""
    hessian = factors.hessian.copy()
    np.einsum("kk->k", hessian)[...] += np.float32(more)
    return _factors(hessian)


def _factors(hessian: NDArray[np.floating[Any]]) -> Factors:
    # The Cholesky factor of the matrix in reverse order, reversed, is upper triangular.
    factor = np.linalg.cholesky(hessian[::-1, ::-1])[::-1, ::-1]
    ends = np.diagonal(factor).copy()
    return Factors(
        hessian.astype(np.float32, copy=False),
        (factor / ends).astype(np.float32, copy=False),
        (ends**2).astype(np.float32, copy=False),
    )


def solve(factors: Factors, right: Array, workers: Workers) -> Array:
    """Solve H X = R by the factors of H.

    Args:
        factors: from `factorize`.
        right: R, float32 `(K, columns)`; becomes X.
        workers: threads.
    """
    upper, panels = factors.upper, slices(len(right), PANEL)
    inverses = [np.linalg.inv(upper[panel, panel]) for panel in panels]

    def portion(columns: slice) -> None:
        part = right[:, columns].copy()
        for panel, inverse in zip(reversed(panels), reversed(inverses), strict=True):
            part[panel] = inverse @ (part[panel] - upper[panel, panel.stop :] @ part[panel.stop :])
        part /= factors.diagonal[:, None]
        for panel, inverse in zip(panels, inverses, strict=True):
            part[panel] = inverse.T @ (part[panel] - upper[: panel.start, panel].T @ part[: panel.start])
        right[:, columns] = part

    workers.map(portion, slices(right.shape[1], ROWS))
    return right


def rounding_order(squares: NDArray[np.float64], block_size: int) -> NDArray[np.intp]:
    """The order to round columns in: the blocks with the largest inputs first, as all others can make up for them.

    Args:
        squares: the diagonal of H, `(K,)`.
        block_size: weights that share a scale; a last block that is shorter stays the last.

    Returns:
        the columns' numbers, `(K,)`.
    """
    whole = len(squares) // block_size
    sums = squares[: whole * block_size].reshape(whole, block_size).sum(axis=1)
    blocks = np.argsort(-sums, kind="stable")
    columns = (blocks[:, None] * block_size + np.arange(block_size)).reshape(-1)
    return np.concatenate([columns, np.arange(whole * block_size, len(squares))])


def round_with_feedback(weight: Array, factors: Factors, block_size: int, name: str) -> Rounded:
    """Round a weight to 4 bits, block by block along K.

    Args:
        weight: float32 `(K, N)`.
        factors: from `factorize`.
        block_size: weights that share a scale.
        name: what to call the tensor in an error.

    Raises:
        QuantizationRange: a weight is so large that its scale is no f16.
    """
    k, rows = weight.shape
    codes, errors = np.full((k, rows), 8, dtype=np.uint8), np.zeros_like(weight)
    scales = []
    for panel in slices(k, max(PANEL, block_size)):
        upper = factors.upper[: panel.stop, panel]
        target = weight[panel] + upper[: panel.start].T @ errors[: panel.start]
        for inner in slices(panel.stop - panel.start, block_size):
            block = slice(panel.start + inner.start, panel.start + inner.stop)
            near = slice(panel.start, block.start)
            blocks = target[inner] + upper[near, inner].T @ errors[near]
            feedback, costs = factors.upper[block, block], factors.diagonal[block]
            candidates = _candidates(blocks, costs, block_size, name)
            codes[block], best, errors[block] = _best(blocks, weight[block], feedback, costs, candidates)
            scales.append(best)
    return Rounded(codes, np.stack(scales), errors)


def _candidates(blocks: Array, costs: Array, block_size: int, name: str) -> NDArray[np.float16]:
    """Scales to try for blocks `(block_size, N)`: float16 `(candidates, N)`."""
    padded = np.zeros((blocks.shape[1], block_size), dtype=np.float32)
    padded[:, : len(blocks)] = blocks.T
    weights = np.zeros(block_size, dtype=np.float32)
    weights[: len(blocks)] = costs
    nearest = block_scales(padded[:, None, :], 4, name, "nearest")[:, 0]
    found = np.clip(candidate_scales(padded, weights), -F16_MAX, F16_MAX).astype(np.float16)
    # Below f16's normal numbers a scale is too coarse for its neighbours to matter.
    return np.where(np.abs(found) >= np.finfo(np.float16).smallest_normal, found, nearest)


def _best(
    blocks: Array, weight: Array, feedback: Array, costs: Array, candidates: NDArray[np.float16]
) -> tuple[NDArray[np.uint8], NDArray[np.float16], Array]:
    """Round blocks `(columns, N)` with every candidate scale and keep the cheapest: codes, scales, errors."""
    columns, (count, rows) = len(blocks), candidates.shape
    scales, inverses = inverted(candidates)
    levels = np.empty((columns, count, rows), dtype=np.float32)
    errors = np.empty_like(levels)
    flat, total = errors.reshape(columns, -1), np.zeros((count, rows), dtype=np.float32)
    for column in range(columns):
        target = (feedback[:column, column] @ flat[:column]).reshape(count, rows)
        target += blocks[column]
        nearest_levels(target, inverses, levels[column])
        rounded = levels[column] * scales
        np.subtract(weight[column], rounded, out=errors[column])
        target -= rounded
        target *= target
        target *= costs[column]
        total += target
    best = total.argmin(axis=0)[None, :]
    kept, left = (np.take_along_axis(array, best[None], axis=1)[:, 0] for array in (levels, errors))
    return (kept + np.float32(8)).astype(np.uint8), np.take_along_axis(candidates, best, axis=0)[0], left


def inverted(scales: NDArray[np.float16]) -> tuple[Array, Array]:
    """Scales in float32, and their inverses; the inverse of 0 is 0."""
    wide = scales.astype(np.float32)
    return wide, np.divide(np.float32(1), wide, out=np.zeros_like(wide), where=wide != 0)


def nearest_levels(target: Array, inverses: Array, out: Array) -> None:
    """Round to the nearest of the sixteen levels, into `out`."""
    np.multiply(target, inverses, out=out)
    np.rint(out, out=out)
    np.maximum(out, LOWEST, out=out)
    np.minimum(out, HIGHEST, out=out)
