"""Symmetric block quantization along K: signed 4- or 8-bit integers with one f16 scale a block.

A block is `block_size` neighbours of one row. With scale `s` and stored value `v` the weight is
`s * (v - zero_point)`, where `zero_point` is 8 for 4 bits and 128 for 8 bits. The last block of a row is padded
with zeros. Two 4-bit values share a byte, the first in the low nibble.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_export.errors import QuantizationRange
from model_export.options import Rounding
from model_export.search import search_scales

F16_MAX = 65504.0
LARGEST_MULTIPLE = 127
SMALLEST_UNIT = 2.0**-24  # f16's smallest number


def blocks_per_row(k: int, block_size: int) -> int:
    """Number of blocks, the last one perhaps padded, that hold a row of `k` weights."""
    return -(-k // block_size)


def quantize(
    weight: NDArray[np.float32],
    bits: int,
    block_size: int,
    name: str = "tensor",
    rounding: Rounding = "nearest",
    lean: bool = False,
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Round every weight to a multiple of its block's scale.

    Args:
        weight: float32 `(N, K)`, finite.
        bits: 4 or 8.
        block_size: weights that share a scale.
        name: what to call the tensor in an error.
        rounding: "nearest" takes the scale from the block's largest magnitude; "search" looks for the scale with the
            least squared error (4 bits only: 8 bits have nothing to gain).
        lean: whether a row's scales are to be `snap`ped.

    Returns:
        values, uint8 `(N, blocks, block_size * bits / 8)`, and scales, float16 `(N, blocks)`.

    Raises:
        QuantizationRange: a weight is so large that its scale is no f16.
    """
    rows, k = weight.shape
    blocks = blocks_per_row(k, block_size)
    padded = weight
    if blocks * block_size != k:
        padded = np.zeros((rows, blocks * block_size), dtype=np.float32)
        padded[:, :k] = weight
    grouped = padded.reshape(rows, blocks, block_size)
    scales = block_scales(grouped, bits, name, rounding)
    if lean:
        scales = snap(scales, scale_units(np.abs(scales).max(axis=1, initial=0))[:, None])
    return pack(round_to_scales(grouped, scales[:, :, None], bits)[0], bits), scales


def block_scales(grouped: NDArray[np.float32], bits: int, name: str, rounding: Rounding) -> NDArray[np.float16]:
    """Choose the scale of every block.

    Args:
        grouped: float32 `(N, blocks, block_size)`.
        bits: 4 or 8.
        name: what to call the tensor in an error.
        rounding: as for `quantize`.

    Returns:
        float16 `(N, blocks)`.

    Raises:
        QuantizationRange: a weight is so large that its scale is no f16.
    """
    scales = _nearest_scales(np.maximum(grouped.max(axis=2), -grouped.min(axis=2)), bits, name)
    if rounding == "nearest" or bits == 8:
        return scales
    # "calibrated" too: what no layer's inputs reach, such as an embedding, is searched.
    searched = np.clip(search_scales(grouped), -F16_MAX, F16_MAX).astype(np.float16)
    # Below f16's normal numbers a scale is too coarse for its neighbours to matter.
    normal = np.abs(searched) >= np.finfo(np.float16).smallest_normal
    return np.where(normal, searched, scales)


def _nearest_scales(largest: NDArray[np.float32], bits: int, name: str) -> NDArray[np.float16]:
    limit = 2 ** (bits - 1) - 1
    if largest.size and float(largest.max()) / limit > F16_MAX:
        raise QuantizationRange(
            f"{name} holds a weight of {float(largest.max()):.3g}, too large for {bits} bits with an f16 scale"
        )
    scales = (largest / np.float32(limit)).astype(np.float16)
    # Near f16's smallest numbers the scale may round down so far that the block's largest weight would be clipped.
    clipped = scales.astype(np.float32) * (limit + 0.5) < largest
    scales[clipped] = np.nextafter(scales[clipped], np.float16(np.inf))
    return scales


def scale_units(largest: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Choose what scales are to be multiples of, so that 8 bits hold the factors and f16 the products.

    Args:
        largest: magnitudes of the scales that are expected, of any shape.

    Returns:
        float32 of that shape: numbers of four significant bits, at least a 127th of the largest, that f16 holds.
    """
    least = np.maximum(largest.astype(np.float64) / LARGEST_MULTIPLE, SMALLEST_UNIT)
    # Below f16's normal numbers a multiple of less than its smallest one would be rounded.
    steps = np.maximum(np.ldexp(1.0, np.frexp(least)[1] - 4), SMALLEST_UNIT)
    units: NDArray[np.float32] = (np.ceil(least / steps) * steps).astype(np.float32)
    return units


def snap(scales: NDArray[np.float16], units: NDArray[np.float32]) -> NDArray[np.float16]:
    """Take the nearest multiples of units, up to 127 times them; what isn't 0 stays so.

    A product of seven bits and four fits f16's eleven, so that the result is exact.

    Args:
        scales: float16.
        units: from `scale_units`, broadcast against them.
    """
    wide = scales.astype(np.float32)
    most = np.minimum(LARGEST_MULTIPLE, np.floor(F16_MAX / units))
    multiples = np.clip(np.rint(wide / units), -most, most)
    multiples = np.where((multiples == 0) & (wide != 0), np.sign(wide), multiples)
    snapped: NDArray[np.float16] = (multiples * units + np.float32(0)).astype(np.float16)  # no -0
    return snapped


def round_to_scales(
    weights: NDArray[np.float32], scales: NDArray[np.float16], bits: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Round weights to whole multiples of their scales.

    Args:
        weights: float32, any shape.
        scales: float16, broadcast against it.
        bits: 4 or 8.

    Returns:
        uint8 values with the zero point added, and the dequantized weights, both of the weights' shape.
    """
    zero_point = np.float32(2 ** (bits - 1))
    wide = scales.astype(np.float32)
    divisor = wide.copy()
    divisor[wide == 0] = 1
    levels = weights / divisor
    np.rint(levels, out=levels)
    np.clip(levels, -zero_point, zero_point - np.float32(1), out=levels)
    return (levels + zero_point).astype(np.uint8), levels * wide


def pack(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Put two 4-bit values into a byte, the first in the low nibble: `(…, block_size)` → `(…, bytes)`."""
    if bits == 8:
        return codes
    packed: NDArray[np.uint8] = codes[..., 0::2] | (codes[..., 1::2] << np.uint8(4))
    return packed


def unpack(values: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Undo `pack`: `(…, bytes)` → `(…, block_size)`."""
    if bits == 8:
        return values
    codes = np.empty((*values.shape[:-1], values.shape[-1] * 2), dtype=np.uint8)
    codes[..., 0::2] = values & 15
    codes[..., 1::2] = values >> 4
    return codes


def dequantize(
    values: NDArray[np.uint8], scales: NDArray[np.float16] | NDArray[np.float32], bits: int, k: int
) -> NDArray[np.float32]:
    """Undo `quantize`.

    Args:
        values: uint8 `(N, blocks, block_size * bits / 8)`.
        scales: float16 or float32 `(N, blocks)`.
        bits: 4 or 8.
        k: row length without padding.

    Returns:
        float32 `(N, k)`.
    """
    rows = len(values)
    signed = unpack(values, bits).astype(np.float32) - np.float32(2 ** (bits - 1))
    return (signed * scales.astype(np.float32)[:, :, None]).reshape(rows, -1)[:, :k]
