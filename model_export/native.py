"""The native layout: quantized weights as our kernels read them, one sequential stream of records.

A weight of N rows and K columns is a tensor U8 `(ceil(N / 16), ceil(K / 64), record)`. Record (g, r) holds rows
16 g … 16 g + 15 and columns 64 r … 64 r + 63: first 64 bytes of scales, f16 `[block][row]` for two blocks of 32
columns, then the values with the zero point added (8 for 4 bits, 128 for 8):

- 4 bits, a record of 576 bytes: `[block][j][row][i]` with j in 0…3 and i in 0…3; the low nibble is column
  `32 block + 8 j + i`, the high nibble column `32 block + 8 j + 4 + i`.
- 8 bits, a record of 1,088 bytes: `[block][j][row][i]` with j in 0…7; the byte is column `32 block + 4 j + i`.

Rows beyond N and columns beyond K hold the zero point, and blocks that are nothing else have the scale 0, so that the
same values are always the same bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_export.quantize import pack as pack_pairs
from model_export.quantize import unpack as unpack_pairs

ROWS = 16
COLUMNS = 64
BLOCK_SIZE = 32
BLOCKS = COLUMNS // BLOCK_SIZE
SCALE_BYTES = 2 * BLOCKS * ROWS
RECORD_BYTES = {4: SCALE_BYTES + ROWS * COLUMNS // 2, 8: SCALE_BYTES + ROWS * COLUMNS}


def record_shape(n: int, k: int, bits: int) -> tuple[int, int, int]:
    """Shape of the tensor that holds an `(n, k)` weight: groups of rows, records of a group, bytes of a record."""
    return -(-n // ROWS), -(-k // COLUMNS), RECORD_BYTES[bits]


def pack(values: NDArray[np.uint8], scales: NDArray[np.float16], bits: int) -> NDArray[np.uint8]:
    """Arrange quantized rows in records.

    Args:
        values: uint8 `(N, blocks, 32 * bits / 8)`, as `model_export.quantize.quantize` gives them.
        scales: float16 `(N, blocks)`.
        bits: 4 or 8.

    Returns:
        uint8 `(groups, records, record)`.
    """
    n, blocks = scales.shape
    groups, records, record = record_shape(n, blocks * BLOCK_SIZE, bits)
    codes = np.full((groups * ROWS, records * BLOCKS, BLOCK_SIZE), 2 ** (bits - 1), dtype=np.uint8)
    codes[:n, :blocks] = unpack_pairs(values, bits)
    padded = np.zeros((groups * ROWS, records * BLOCKS), dtype="<f2")
    padded[:n, :blocks] = scales
    packed = np.empty((groups, records, record), dtype=np.uint8)
    by_record = np.ascontiguousarray(padded.reshape(groups, ROWS, records, BLOCKS).transpose(0, 2, 3, 1))
    packed[:, :, :SCALE_BYTES] = by_record.reshape(groups, records, -1).view(np.uint8)
    packed[:, :, SCALE_BYTES:] = _interleave(codes, bits).reshape(groups, records, -1)
    return packed


def unpack(packed: NDArray[np.uint8], n: int, k: int, bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Undo `pack`.

    Args:
        packed: uint8 `(groups, records, record)`.
        n: rows without padding.
        k: columns without padding.
        bits: 4 or 8.

    Returns:
        values, uint8 `(n, blocks, 32 * bits / 8)`, and scales, float16 `(n, blocks)`.

    Raises:
        ValueError: the shape isn't that of such a weight, a scale is no number, or the padding isn't what `pack`
            writes; the message says which.
    """
    expected = record_shape(n, k, bits)
    if packed.shape != expected:
        raise ValueError(f"records of shape {list(packed.shape)} instead of {list(expected)}")
    groups, records, _ = expected
    blocks = -(-k // BLOCK_SIZE)
    by_record = np.ascontiguousarray(packed[:, :, :SCALE_BYTES]).view("<f2").reshape(groups, records, BLOCKS, ROWS)
    scales = by_record.transpose(0, 3, 1, 2).reshape(groups * ROWS, records * BLOCKS)
    codes = _deinterleave(packed[:, :, SCALE_BYTES:], bits)
    if not np.isfinite(scales).all():
        raise ValueError("a scale is NaN or infinite")
    if scales.view("<u2")[n:].any() or scales.view("<u2")[:, blocks:].any():  # -0 isn't what `pack` writes
        raise ValueError("a scale of the padding isn't 0")
    zero_point = 2 ** (bits - 1)
    columns = codes.reshape(groups * ROWS, -1)
    if (columns[n:] != zero_point).any() or (columns[:, k:] != zero_point).any():
        raise ValueError(f"a value of the padding isn't the zero point {zero_point}")
    return pack_pairs(codes[:n, :blocks], bits), scales[:n, :blocks].astype(np.float16)


def _interleave(codes: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Values `(rows, blocks, 32)`, padded, in the order of the records."""
    groups, records = len(codes) // ROWS, codes.shape[1] // BLOCKS
    if bits == 8:
        split = codes.reshape(groups, ROWS, records, BLOCKS, 8, 4)  # (g, row, r, block, j, i)
        return np.ascontiguousarray(split.transpose(0, 2, 3, 4, 1, 5))
    halves = codes.reshape(groups, ROWS, records, BLOCKS, 4, 2, 4)  # (g, row, r, block, j, nibble, i)
    nibbles = halves[..., 0, :] | (halves[..., 1, :] << np.uint8(4))
    return np.ascontiguousarray(nibbles.transpose(0, 2, 3, 4, 1, 5))


def _deinterleave(body: NDArray[np.uint8], bits: int) -> NDArray[np.uint8]:
    """Undo `_interleave`: `(groups, records, bytes)` → `(rows, blocks, 32)`."""
    groups, records, _ = body.shape
    ordered = body.reshape(groups, records, BLOCKS, -1, ROWS, 4).transpose(0, 4, 1, 2, 3, 5)  # (g, row, r, block, j, i)
    if bits == 4:
        ordered = np.stack([ordered & 15, ordered >> 4], axis=-2)  # (…, j, nibble, i)
    return np.ascontiguousarray(ordered).reshape(groups * ROWS, records * BLOCKS, BLOCK_SIZE)
