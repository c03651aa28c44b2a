"""One more pass over a rounded weight: every value, then every scale, for the least error of the layer's output.

Feedback can't mend what comes after it was done. Here each value is rounded again with all other errors known, and each
block's scale is then fitted to its values: coordinate descent on tr(E H Eᵀ), as in QuantEase (Behdin et al., 2023).
No step makes the error larger, but for the rounding of a scale to f16, or to 8 bits. The latter isn't done before: only
after feedback is a row's largest scale known, of which there are 127 steps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_export.feedback import PANEL, Array, Factors, Rounded, inverted, nearest_levels
from model_export.parallel import slices
from model_export.quantize import F16_MAX, snap


def refine(weight: Array, rounded: Rounded, factors: Factors, block_size: int, units: Array | None = None) -> None:
    """Improve a rounded weight in place.

    Args:
        weight: float32 `(K, N)`.
        rounded: of it, from `model_export.feedback.round_with_feedback`.
        factors: the same as there.
        block_size: weights that share a scale.
        units: float32 `(N,)` from `model_export.quantize.scale_units`, whose multiples scales become; None for any.
    """
    hessian, errors = factors.hessian, rounded.errors
    for panel in slices(len(weight), max(PANEL, block_size)):
        gradient = hessian[panel] @ errors
        for inner in slices(panel.stop - panel.start, block_size):
            block = slice(panel.start + inner.start, panel.start + inner.stop)
            before, here = errors[block].copy(), gradient[inner].copy()
            near, at = hessian[block, block], block.start // block_size
            scales = rounded.scales[at] if units is None else snap(rounded.scales[at], units)
            levels = _round_again(weight[block], before, here, near, scales)
            fitted = _fit(levels, here, near, scales)
            rounded.scales[at] = fitted if units is None else snap(fitted, units)
            rounded.codes[block] = (levels + np.float32(8)).astype(np.uint8)
            errors[block] = weight[block] - levels * rounded.scales[at].astype(np.float32)
            gradient += hessian[panel, block] @ (errors[block] - before)


def _round_again(weight: Array, errors: Array, gradient: Array, hessian: Array, scale: NDArray[np.float16]) -> Array:
    """Round each column of a block `(columns, N)` for the errors of all others.

    Args:
        weight: float32 `(columns, N)`.
        errors: of it so far, the same shape.
        gradient: H E at these columns, the same shape; changed in place.
        hessian: float32 `(columns, columns)`.
        scale: float16 `(N,)`.

    Returns:
        the new levels, float32 `(columns, N)`.
    """
    scales, inverses = inverted(scale)
    levels = np.empty_like(weight)
    for column in range(len(weight)):
        before = weight[column] - errors[column]
        target = gradient[column] / hessian[column, column]
        target += before
        nearest_levels(target, inverses, levels[column])
        before -= levels[column] * scales  # the errors' change
        gradient += hessian[:, column, None] * before
    return levels


def _fit(levels: Array, gradient: Array, hessian: Array, scale: NDArray[np.float16]) -> NDArray[np.float16]:
    """The scales `(N,)` that go best with a block's levels, where f16 has them."""
    product = np.einsum("kn,kn->n", gradient, levels)
    square = np.einsum("kn,kn->n", hessian @ levels, levels)
    step = np.divide(product, square, out=np.zeros_like(product), where=square > 0)
    fitted = np.clip(scale.astype(np.float32) + step, -F16_MAX, F16_MAX).astype(np.float16)
    usable = np.abs(fitted) >= np.finfo(np.float16).smallest_normal
    return np.where(usable, fitted, scale)
