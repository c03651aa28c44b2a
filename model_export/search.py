"""Block scales by search: for each block the scale that leaves the smallest squared error.

The weight of largest magnitude is mapped to -8, whatever its sign, so that all sixteen levels are in use; scales
around that are tried, and for each rounding the best scale follows in closed form: with integers q, the error of s·q
is least at s = Σwq / Σq², and is then Σw² - (Σwq)² / Σq². So the largest (Σwq)² / Σq² wins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What the weight of largest magnitude is mapped to, before rounding and clipping; 8 comes first, to win ties.
CANDIDATES = (8.0, 7.75, 8.25, 7.5, 8.5, 7.25, 8.75, 7.0, 9.0, 6.75, 9.25, 6.5, 9.5)
LOWEST, HIGHEST = np.float32(-8), np.float32(7)

Array = NDArray[np.float32]


def search_scales(grouped: Array) -> Array:
    """Choose the scales of 4-bit blocks.

    Args:
        grouped: float32 `(N, blocks, block_size)`.

    Returns:
        float32 `(N, blocks)`; negative where a block's largest magnitude is a positive weight, 0 where all are 0.
    """
    unit, extreme = normalize(grouped)
    best, scales = np.zeros_like(extreme), np.zeros_like(extreme)
    for target in CANDIDATES:
        fitted, gain = fit(unit, target)
        better = gain > best
        best[better], scales[better] = gain[better], fitted[better]
    result: Array = scales * extreme
    return result


def candidate_scales(blocks: Array, importance: Array) -> Array:
    """Give every scale that is worth trying for 4-bit blocks.

    Args:
        blocks: float32 `(N, block_size)`.
        importance: float32 `(block_size,)`, the weights of the squared errors.

    Returns:
        float32 `(candidates, N)`.
    """
    unit, extreme = normalize(blocks)
    return np.stack([fit(unit, target, importance)[0] * extreme for target in CANDIDATES])


def normalize(blocks: Array) -> tuple[Array, Array]:
    """Divide blocks `(…, block_size)` by their extremes `(…)`, so that none over- or underflows when squared."""
    at = np.abs(blocks).argmax(axis=-1)[..., None]
    extreme = np.take_along_axis(blocks, at, axis=-1)[..., 0]
    safe = np.where(extreme == 0, np.float32(1), extreme).astype(np.float32, copy=False)
    unit: Array = blocks / safe[..., None]
    return unit, extreme


def fit(unit: Array, target: float, importance: Array | None = None) -> tuple[Array, Array]:
    """Round with the extreme at `-target`, and fit the scale to that.

    Args:
        unit: float32 `(…, block_size)`, from `normalize`.
        target: one of `CANDIDATES`.
        importance: of the squared errors, float32 `(block_size,)`.

    Returns:
        the scales, and how much of the blocks' squares they explain, both `(…)`.
    """
    levels = unit * np.float32(-target)
    np.rint(levels, out=levels)
    np.clip(levels, LOWEST, HIGHEST, out=levels)
    counted = levels if importance is None else levels * importance
    product = np.einsum("...k,...k->...", unit, counted)
    square = np.einsum("...k,...k->...", levels, counted)
    fitted = np.divide(product, square, out=np.zeros_like(product), where=square > 0)
    return fitted, fitted * product
