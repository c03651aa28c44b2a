"""Rounding with error feedback: each column of a weight makes up for the errors of the columns before it.

The error that matters is that of the layer's output, tr(E H Eᵀ) with E the weights' errors and H = XᵀX over the
layer's calibration inputs. With H = U D Uᵀ, U unit upper triangular, column k is rounded after Σ_{j<k} E_j U_jk was
added to it. That is GPTQ (Frantar et al., 2022) in the form of LDLQ (Chee et al., QuIP, 2023, which proves the two
equal), and needs no inverse.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_export.quantize import block_scales, pack, round_to_scales

DAMPING = 0.01  # of the mean of H's diagonal, added to it: directions that no input has shown may not blow up


def unit_upper(hessian: NDArray[np.float64]) -> NDArray[np.float32]:
    """Factor H, damped, as U D Uᵀ and give U.

    Args:
        hessian: float64 ``(K, K)``, symmetric, positive semidefinite; changed in place.

    Returns:
        float32 ``(K, K)``, unit upper triangular.
    """
    diagonal = np.einsum("kk->k", hessian)
    mean = float(diagonal.mean())
    diagonal += DAMPING * mean if mean > 0 else 1.0
    # The Cholesky factor of the matrix in reverse order, reversed, is upper triangular.
    factor = np.linalg.cholesky(hessian[::-1, ::-1])[::-1, ::-1]
    return (factor / np.diagonal(factor)).astype(np.float32)


def quantize_with_feedback(
    weight: NDArray[np.float32], upper: NDArray[np.float32], block_size: int, name: str
) -> tuple[NDArray[np.uint8], NDArray[np.float16], NDArray[np.float32]]:
    """Round a weight to 4 bits, block by block along K.

    Args:
        weight: float32 ``(N, K)``.
        upper: from `unit_upper`.
        block_size: weights that share a scale.
        name: what to call the tensor in an error.

    Returns:
        values and scales as `model_export.quantize.quantize` gives them, and the dequantized weight ``(N, K)``.

    Raises:
        QuantizationRange: a weight is so large that its scale is no f16.
    """
    rows, k = weight.shape
    errors = np.zeros_like(weight)
    values, scales = [], []
    for start in range(0, k, block_size):
        stop = min(start + block_size, k)
        block = np.zeros((rows, block_size), dtype=np.float32)
        block[:, : stop - start] = weight[:, start:stop] + errors[:, :start] @ upper[:start, start:stop]
        scale = block_scales(block[:, None, :], 4, name, "search")
        scales.append(scale)
        codes = np.full((rows, block_size), 8, dtype=np.uint8)
        for column in range(start, stop):
            at = column - start
            target = block[:, at] + errors[:, start:column] @ upper[start:column, column]
            codes[:, at], rounded = round_to_scales(target, scale[:, 0], 4)
            errors[:, column] = weight[:, column] - rounded
        values.append(pack(codes[:, None, :], 4))
    return np.concatenate(values, axis=1), np.concatenate(scales, axis=1), weight - errors
