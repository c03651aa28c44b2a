"""The native layout: quantized weights as our kernels read them, one sequential stream of records.

Rows lie in groups of 16. Three forms of a weight of N rows and K columns, blocks being 32 columns:

- 4 bits, scales in f16: U8 `(ceil(N / 16), ceil(K / 64), 576)`. Record (g, r) holds rows 16 g … 16 g + 15 and columns
  64 r … 64 r + 63: first 64 bytes of scales, f16 `[block][row]` for two blocks, then the values with the zero point 8
  added, `[block][j][row][i]` with j in 0…3 and i in 0…3; the low nibble is column `32 block + 8 j + i`, the high nibble
  column `32 block + 8 j + 4 + i`.
- 4 bits, scales in 8 bits ("lean"): U8 `(ceil(N / 16), group)`. A group begins with 16 units, f32, one a row; its
  records hold 128 columns: 64 bytes of scales, i8 `[block][row]` for four blocks, which times the row's unit are the
  scales, then four blocks as above. If the columns, padded to 64, are an odd number of 64, the last record has the 64
  bytes and two blocks; the scales of the others are 0. The unit is the greatest common divisor of the row's scales.
- 8 bits, scales in f16: U8 `(ceil(N / 16), ceil(K / 64), 1088)`. As the first, but a byte a value, zero point 128:
  `[block][j][row][i]` with j in 0…7; the byte is column `32 block + 4 j + i`.

A head of 8 bits lies in planes: the high nibbles are a weight in one of the first two forms, whose zero point is 8 as
well; the low nibbles a tensor U8 `(ceil(N / 16), ceil(K / 64), 512)` of blocks as above; and `spreads`, F32 `(N,)`, are
what the low nibbles, padded with 0, add: the largest root mean square of `scale * (nibble - 7.5)` over a row's blocks.

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
NIBBLE_BYTES = ROWS * BLOCK_SIZE // 2
LEAN_BLOCKS = 4
UNIT_BYTES = 4 * ROWS
LARGEST_SCALE = 127
FIXED_POINT = 2.0**24  # f16 numbers times this are whole
RECORD_BYTES = {4: SCALE_BYTES + ROWS * COLUMNS // 2, 8: SCALE_BYTES + ROWS * COLUMNS}


def record_shape(n: int, k: int, bits: int) -> tuple[int, int, int]:
    """Shape of the tensor that holds an `(n, k)` weight: groups of rows, records of a group, bytes of a record."""
    return -(-n // ROWS), -(-k // COLUMNS), RECORD_BYTES[bits]


def pack(
    values: NDArray[np.uint8], scales: NDArray[np.float16], bits: int, padding: int | None = None
) -> NDArray[np.uint8]:
    """Arrange quantized rows in records.

    Args:
        values: uint8 `(N, blocks, 32 * bits / 8)`, as `model_export.quantize.quantize` gives them.
        scales: float16 `(N, blocks)`.
        bits: 4 or 8.
        padding: what rows and blocks beyond hold; None for the zero point.

    Returns:
        uint8 `(groups, records, record)`.
    """
    n, blocks = scales.shape
    groups, records, record = record_shape(n, blocks * BLOCK_SIZE, bits)
    filler = 2 ** (bits - 1) if padding is None else padding
    codes = np.full((groups * ROWS, records * BLOCKS, BLOCK_SIZE), filler, dtype=np.uint8)
    codes[:n, :blocks] = unpack_pairs(values, bits)
    padded = np.zeros((groups * ROWS, records * BLOCKS), dtype="<f2")
    padded[:n, :blocks] = scales
    packed = np.empty((groups, records, record), dtype=np.uint8)
    by_record = np.ascontiguousarray(padded.reshape(groups, ROWS, records, BLOCKS).transpose(0, 2, 3, 1))
    packed[:, :, :SCALE_BYTES] = by_record.reshape(groups, records, -1).view(np.uint8)
    packed[:, :, SCALE_BYTES:] = _interleave(codes, bits).reshape(groups, records, -1)
    return packed


def unpack(
    packed: NDArray[np.uint8], n: int, k: int, bits: int, padding: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Undo `pack`.

    Args:
        packed: uint8 `(groups, records, record)`.
        n: rows without padding.
        k: columns without padding.
        bits: 4 or 8.
        padding: what rows and columns beyond hold; None for the zero point.

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
    filler = 2 ** (bits - 1) if padding is None else padding
    columns = codes.reshape(groups * ROWS, -1)
    if (columns[n:] != filler).any() or (columns[:, k:] != filler).any():
        raise ValueError(f"a value of the padding isn't {filler}")
    return pack_pairs(codes[:n, :blocks], bits), scales[:n, :blocks].astype(np.float16)


def lean_shape(n: int, k: int) -> tuple[int, int]:
    """Shape of the tensor that holds an `(n, k)` weight with scales in 8 bits: groups of rows, bytes of a group."""
    blocks = -(-k // COLUMNS) * BLOCKS
    return -(-n // ROWS), UNIT_BYTES + -(-blocks // LEAN_BLOCKS) * SCALE_BYTES + blocks * NIBBLE_BYTES


def low_shape(n: int, k: int) -> tuple[int, int, int]:
    """Shape of the tensor that holds the low nibbles of an `(n, k)` weight."""
    return -(-n // ROWS), -(-k // COLUMNS), BLOCKS * NIBBLE_BYTES


def pack_lean(values: NDArray[np.uint8], scales: NDArray[np.float16]) -> NDArray[np.uint8]:
    """Arrange quantized rows of 4 bits in groups with scales in 8 bits.

    Args:
        values: uint8 `(N, blocks, 16)`, as `model_export.quantize.quantize` gives them.
        scales: float16 `(N, blocks)`, snapped by `model_export.quantize.snap`.

    Returns:
        uint8 `(groups, group)`.

    Raises:
        ValueError: a row's scales aren't multiples, up to 127 times, of one number.
    """
    n, blocks = scales.shape
    multiples, units = _multiples(scales)
    groups, width = lean_shape(n, blocks * BLOCK_SIZE)
    plain = pack(values, np.ones_like(scales), 4)
    body = plain[:, :, SCALE_BYTES:].reshape(groups, -1, NIBBLE_BYTES)  # (g, block, bytes)
    count = body.shape[1]
    records = -(-count // LEAN_BLOCKS)
    headers = np.zeros((groups * ROWS, records * LEAN_BLOCKS), dtype=np.int8)
    headers[:n, :blocks] = multiples
    # (g, row, r, block) → (g, r, block, row)
    ordered = headers.reshape(groups, ROWS, records, LEAN_BLOCKS).transpose(0, 2, 3, 1).reshape(groups, records, -1)
    packed = np.empty((groups, width), dtype=np.uint8)
    padded = np.zeros(groups * ROWS, dtype="<f4")
    padded[:n] = units
    packed[:, :UNIT_BYTES] = padded.view(np.uint8).reshape(groups, -1)
    for r, (scale, block) in enumerate(_lean_records(count)):
        packed[:, scale : scale + SCALE_BYTES] = ordered[:, r].view(np.uint8)
        part = body[:, r * LEAN_BLOCKS : (r + 1) * LEAN_BLOCKS].reshape(groups, -1)
        packed[:, block : block + part.shape[1]] = part
    return packed


def unpack_lean(packed: NDArray[np.uint8], n: int, k: int) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Undo `pack_lean`.

    Args:
        packed: uint8 `(groups, group)`.
        n: rows without padding.
        k: columns without padding.

    Returns:
        values, uint8 `(n, blocks, 16)`, and scales, float16 `(n, blocks)`.

    Raises:
        ValueError: the shape isn't that of such a weight, a unit isn't what `pack_lean` writes, or the padding isn't;
            the message says which.
    """
    expected = lean_shape(n, k)
    if packed.shape != expected:
        raise ValueError(f"groups of shape {list(packed.shape)} instead of {list(expected)}")
    groups, blocks = expected[0], -(-k // BLOCK_SIZE)
    count = -(-k // COLUMNS) * BLOCKS
    places = _lean_records(count)
    units = np.ascontiguousarray(packed[:, :UNIT_BYTES]).view("<f4").reshape(-1)
    ordered = np.stack([packed[:, scale : scale + SCALE_BYTES] for scale, _ in places], axis=1).view(np.int8)
    multiples = ordered.reshape(groups, len(places), LEAN_BLOCKS, ROWS).transpose(0, 3, 1, 2).reshape(groups * ROWS, -1)
    if not np.isfinite(units).all():
        raise ValueError("a unit is NaN or infinite")
    if units.view("<u4")[n:].any() or multiples[n:].any() or multiples[:, blocks:].any():
        raise ValueError("a scale of the padding isn't 0")
    with np.errstate(over="ignore"):
        scales = (multiples[:n, :blocks] * units[:n, None]).astype(np.float16)
    try:
        again = _multiples(scales)
    except ValueError:
        again = None
    if again is None or (again[0] != multiples[:n, :blocks]).any() or (again[1] != units[:n]).any():
        raise ValueError("a unit isn't the greatest common divisor of its row's scales")
    body = np.concatenate(
        [packed[:, at : at + LEAN_BLOCKS * NIBBLE_BYTES] for _, at in places], axis=1
    )  # the slice of a short last record ends with the group
    plain = np.zeros(record_shape(n, k, 4), dtype=np.uint8)
    plain[:, :, SCALE_BYTES:] = body.reshape(*plain.shape[:2], -1)
    return unpack(plain, n, k, 4)[0], scales


def _lean_records(blocks: int) -> list[tuple[int, int]]:
    """Where in a group each record's scales and values begin."""
    record = SCALE_BYTES + LEAN_BLOCKS * NIBBLE_BYTES
    starts = [UNIT_BYTES + r * record for r in range(-(-blocks // LEAN_BLOCKS))]
    return [(start, start + SCALE_BYTES) for start in starts]


def _multiples(scales: NDArray[np.float16]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Scales `(N, blocks)` as whole multiples, int8 `(N, blocks)`, of units, float32 `(N,)`."""
    whole = np.rint(scales.astype(np.float64) * FIXED_POINT).astype(np.int64)
    units = np.gcd.reduce(whole, axis=1)
    multiples = whole // np.maximum(units, 1)[:, None]
    exact = (units / FIXED_POINT).astype(np.float32)
    if np.abs(multiples).max(initial=0) > LARGEST_SCALE or (exact.astype(np.float64) * FIXED_POINT != units).any():
        raise ValueError(f"a row's scales aren't multiples of one number, up to {LARGEST_SCALE} times")
    return multiples.astype(np.int8), exact


def split(
    values: NDArray[np.uint8], scales: NDArray[np.float16]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Take values of 8 bits apart.

    Args:
        values: uint8 `(N, blocks, 32)`.
        scales: float16 `(N, blocks)`.

    Returns:
        the high nibbles as values of 4 bits, uint8 `(N, blocks, 16)`; the low nibbles as they are stored, uint8
        `(groups, records, 512)`; and the rows' spreads, float32 `(N,)`.
    """
    low: NDArray[np.uint8] = values & np.uint8(15)
    left_out = scales.astype(np.float64) ** 2 * ((low.astype(np.float64) - 7.5) ** 2).mean(axis=2)
    spreads = np.sqrt(left_out.max(axis=1)).astype(np.float32)
    stored = pack(pack_pairs(low, 4), scales, 4, padding=0)[:, :, SCALE_BYTES:]
    return pack_pairs(values >> np.uint8(4), 4), stored, spreads


def join(
    high: NDArray[np.uint8], low: NDArray[np.uint8], spreads: NDArray[np.float32], scales: NDArray[np.float16], k: int
) -> NDArray[np.uint8]:
    """Undo `split`.

    Args:
        high: uint8 `(n, blocks, 16)`.
        low: uint8 `(groups, records, 512)`.
        spreads: float32 `(n,)`.
        scales: float16 `(n, blocks)`.
        k: columns without padding.

    Returns:
        uint8 `(n, blocks, 32)`.

    Raises:
        ValueError: the low nibbles' padding or a spread isn't what `split` gives; the message says which.
    """
    n = len(scales)
    plain = np.zeros(record_shape(n, k, 4), dtype=np.uint8)
    if low.shape != low_shape(n, k):
        raise ValueError(f"low nibbles of shape {list(low.shape)} instead of {list(low_shape(n, k))}")
    plain[:, :, SCALE_BYTES:] = low
    values = unpack_pairs(high, 4) << np.uint8(4) | unpack_pairs(unpack(plain, n, k, 4, padding=0)[0], 4)
    if (split(values, scales)[2] != spreads).any():
        raise ValueError("a spread isn't that of its row")
    return values


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
