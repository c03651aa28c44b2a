"""Block scales by search: data-free, for each block the scale that leaves the smallest squared error.

The weight of largest magnitude is mapped to -8, whatever its sign, so that all sixteen levels are in use; scales
around that are tried, and for each rounding the best scale follows in closed form: with integers q, the error of s·q
is least at s = Σwq / Σq², and is then Σw² - (Σwq)² / Σq². So the largest (Σwq)² / Σq² wins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# What the weight of largest magnitude is mapped to, before rounding and clipping; 8 comes first, to win ties.
CANDIDATES = (8.0, 7.75, 8.25, 7.5, 8.5, 7.25, 8.75, 7.0, 9.0, 6.75, 9.25, 6.5, 9.5)
LOWEST, HIGHEST = -8, 7


def search_scales(grouped: NDArray[np.float32]) -> NDArray[np.float32]:
    """Choose the scales of 4-bit blocks.

    Args:
        grouped: float32 ``(N, blocks, block_size)``.

    Returns:
        float32 ``(N, blocks)``; negative where a block's largest magnitude is a positive weight, 0 where all are 0.
    """
    at = np.abs(grouped).argmax(axis=2)[:, :, None]
    extreme = np.take_along_axis(grouped, at, axis=2)[:, :, 0]
    # Normalized by its extreme, no block over- or underflows when it is squared.
    safe = np.where(extreme == 0, np.float32(1), extreme)
    unit = grouped / safe[:, :, None]
    best = np.zeros(extreme.shape, dtype=np.float32)
    scales = np.zeros(extreme.shape, dtype=np.float32)
    for target in CANDIDATES:
        levels = unit * np.float32(-target)
        np.rint(levels, out=levels)
        np.clip(levels, LOWEST, HIGHEST, out=levels)
        product = np.einsum("nbk,nbk->nb", unit, levels)
        square = np.einsum("nbk,nbk->nb", levels, levels)
        fitted = np.divide(product, square, out=np.zeros_like(product), where=square > 0)
        gain = fitted * product
        better = gain > best
        best[better], scales[better] = gain[better], fitted[better]
    result: NDArray[np.float32] = scales * extreme
    return result
