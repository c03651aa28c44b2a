"""What Linear and Embedding compute, in plain numpy, written from docs/kernels.md and not from any code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
BLOCK = 32


@dataclass(frozen=True)
class Matrix:
    """A quantized weight: `levels[n, k] * scales[n, k // 32]`.

    Attributes:
        levels: int8 `(N, K)`, from -8 to 7 or from -128 to 127.
        scales: float16 `(N, ceil(K / 32))`.
        bits: 4 or 8.
    """

    levels: NDArray[np.int8]
    scales: NDArray[np.float16]
    bits: int

    @property
    def weights(self) -> Floats:
        """float32 `(N, K)`."""
        spread = np.repeat(self.scales.astype(np.float32), BLOCK, axis=1)[:, : self.levels.shape[1]]
        return self.levels.astype(np.float32) * spread

    def records(self) -> NDArray[np.uint8]:
        """The native layout: `(ceil(N / 16), ceil(K / 64), record)`."""
        (n, k), zero = self.levels.shape, 1 << (self.bits - 1)
        groups, across = -(-n // 16), -(-k // 64)
        codes = np.full((groups * 16, across * 64), zero, dtype=np.uint8)
        codes[:n, :k] = self.levels.astype(np.int16) + zero
        scales = np.zeros((groups * 16, across * 2), dtype=np.float16)
        scales[:n, : self.scales.shape[1]] = self.scales
        stored = [
            [_record(codes[g : g + 16, r : r + 64], scales[g : g + 16, r // 32 : r // 32 + 2], self.bits)]
            for g in range(0, groups * 16, 16)
            for r in range(0, across * 64, 64)
        ]
        return np.frombuffer(b"".join(piece for row in stored for piece in row), np.uint8).reshape(groups, across, -1)


def _record(codes: NDArray[np.uint8], scales: NDArray[np.float16], bits: int) -> bytes:
    pieces = [scales.T.astype("<f2").tobytes()]
    for start in range(0, 64, 8 if bits == 4 else 4):
        low, high = codes[:, start : start + 4], codes[:, start + 4 : start + 8]
        pieces.append((low | high << 4 if bits == 4 else low).tobytes())
    return b"".join(pieces)


def some_matrix(n: int, k: int, bits: int, seed: int) -> Matrix:
    """A random weight whose scales have both signs."""
    rng = np.random.default_rng(seed)
    limit = 1 << (bits - 1)
    levels = rng.integers(-limit, limit, (n, k)).astype(np.int8)
    scales = rng.standard_normal((n, -(-k // BLOCK))) / limit
    return Matrix(levels, scales.astype(np.float16), bits)


def gate(x: Floats, kind: int) -> Floats:
    """`activation(first half) * second half`: silu (1) or gelu by tanh (2)."""
    first, second = np.split(x, 2, axis=-1)
    wide = first.astype(np.float64)
    inner = np.clip(wide, -700, None) if kind == 1 else np.sqrt(2 / np.pi) * 2 * (wide + 0.044715 * wide**3)
    gated: Floats = (wide / (1 + np.exp(-np.clip(inner, -700, None))) * second).astype(np.float32)
    return gated


def linear(x: Floats, matrix: Matrix, bias: Floats | None = None) -> Floats:
    """Multiply `x (rows, K)` quantized to int8, a scale for each row and block; gives `(rows, N)`.

    The fused multiply-add rounds once: in float64 the product is exact, and the sum is as good as.
    """
    (n, k), rows = matrix.levels.shape, len(x)
    total = np.zeros((rows, n), dtype=np.float32)
    for block, start in enumerate(range(0, k, BLOCK)):
        part = x[:, start : start + BLOCK]
        largest = np.abs(part).max(axis=1, keepdims=True)
        steps = np.divide(np.float32(127), largest, out=np.zeros_like(largest), where=largest > 0)
        whole = np.rint(part * steps).astype(np.int64)
        scale = ((largest / np.float32(127)).view(np.uint32) & np.uint32(0xFFFFFF00)).view(np.float32)
        dots = whole @ matrix.levels[:, start : start + BLOCK].astype(np.int64).T
        scaled = dots.astype(np.float32) * scale
        exact = scaled.astype(np.float64) * matrix.scales[:, block].astype(np.float64)
        total = (exact + total).astype(np.float32)
    return total if bias is None else total + bias


def rounding_bound(x: Floats, matrix: Matrix) -> Floats:
    """How far int8 activations may lead from the exact product at most: half a step each, `(rows, N)`."""
    spread = [
        np.repeat(np.abs(x[:, s : s + BLOCK]).max(axis=1, keepdims=True), len(x[0, s : s + BLOCK]), axis=1)
        for s in range(0, x.shape[1], BLOCK)
    ]
    steps = np.concatenate(spread, axis=1) / np.float32(127)
    bound: Floats = (0.51 * steps @ np.abs(matrix.weights).T + 1e-5).astype(np.float32)
    return bound
