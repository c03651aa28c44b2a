"""What AttentionF16 and AttentionInt8 compute, in plain numpy, written from docs/kernels.md and not from any code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
EPSILON = 1e-5


@dataclass(frozen=True)
class Cache:
    """Keys and values of past tokens.

    Attributes:
        elements: of keys, then of values: float16 or int8 `(B, KV, M, D)`.
        scales: of keys, then of values: float32 `(B, KV, M)`; empty for float16.
    """

    elements: tuple[NDArray[Any], NDArray[Any]]
    scales: tuple[Floats, ...]

    def side(self, index: int) -> Doubles:
        """Keys (0) or values (1) as numbers, float64 `(B, KV, M, D)`."""
        numbers = self.elements[index].astype(np.float64)
        return numbers * self.scales[index].astype(np.float64)[..., None] if self.scales else numbers

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """In the order of the operator's inputs and outputs."""
        return (*self.elements, *self.scales)

    def copy(self) -> Cache:
        """The same in memory of its own."""
        keys, values = (array.copy() for array in self.elements)
        return Cache((keys, values), tuple(array.copy() for array in self.scales))

    def rows(self, batch: slice) -> Cache:
        """That of some of the sequences."""
        keys, values = (array[batch].copy() for array in self.elements)
        return Cache((keys, values), tuple(array[batch].copy() for array in self.scales))


@dataclass(frozen=True)
class Case:
    """A step of one layer.

    Attributes:
        heads: query heads, a multiple of the cache's heads.
        qkv: float32 `(B, S, (H + 2 KV) * D)`.
        cache: before the step.
        lengths: of each sequence, the new tokens included.
        angles: float64 `(C, D / 2)`.
        norms: of queries and of keys, float32 `(D,)`; or none.
        scale: of the scores.
        slots: where in the cache each sequence lies, int32 `(B,)`; None for the place of its number.
        window: positions that a token sees, its own included; None for all up to its own.
        softcap: of the scores, which become softcap · tanh(score / softcap).
        turned: whether positions are told apart by rotation.
    """

    heads: int
    qkv: Floats
    cache: Cache
    lengths: NDArray[np.int32]
    angles: Doubles
    norms: tuple[Floats, ...]
    scale: float
    slots: NDArray[np.int32] | None = None
    window: int | None = None
    softcap: float | None = None
    turned: bool = True

    @property
    def tokens(self) -> int:
        """New ones of each sequence."""
        return int(self.qkv.shape[1])

    @property
    def positions(self) -> NDArray[np.int64]:
        """Of the new tokens, `(B, S)`."""
        return self.lengths[:, None].astype(np.int64) - self.tokens + np.arange(self.tokens)

    def split(self) -> tuple[Doubles, Doubles, Doubles]:
        """Queries, keys and values of the new tokens, turned: float64 `(B, heads, S, D)`."""
        kv_heads, size = self.cache.elements[0].shape[1::2]
        shaped = self.qkv.astype(np.float64).reshape(*self.qkv.shape[:2], self.heads + 2 * kv_heads, size)
        query, key, value = np.split(shaped.transpose(0, 2, 1, 3), [self.heads, self.heads + kv_heads], axis=1)
        if self.norms:
            query, key = (_normalize(x, weight) for x, weight in zip((query, key), self.norms, strict=True))
        if not self.turned:
            return query, key, value
        angles = self.angles[self.positions][:, None]  # (B, 1, S, D / 2)
        return _rotate(query, angles), _rotate(key, angles), value

    def attend(self, after: Cache) -> Floats:
        """The result, over what is in the cache after the step: `(B, S, H * D)`."""
        query, _, _ = self.split()
        group = self.heads // after.elements[0].shape[1]
        out = np.empty_like(query)
        for sequence, head in np.ndindex(query.shape[:2]):
            keys, values = (after.side(side)[sequence, head // group, : self.lengths[sequence]] for side in (0, 1))
            scores = query[sequence, head] @ keys.T * self.scale
            if self.softcap is not None:
                scores = self.softcap * np.tanh(scores / self.softcap)
            distances = self.positions[sequence][:, None] - np.arange(len(keys))
            scores[(distances < 0) | (distances >= (self.window or len(keys)))] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[sequence, head] = weights @ values / weights.sum(axis=1, keepdims=True)
        return out.transpose(0, 2, 1, 3).reshape(*self.qkv.shape[:2], -1).astype(np.float32)

    def part(self, first: int, end: int, cache: Cache) -> Case:
        """The step in which only these of the new tokens come."""
        return replace(self, qkv=self.qkv[:, first:end], cache=cache, lengths=self.lengths - self.tokens + end)

    def sequence(self, index: int) -> Case:
        """The step of one sequence alone."""
        batch = slice(index, index + 1)
        return replace(self, qkv=self.qkv[batch], cache=self.cache.rows(batch), lengths=self.lengths[batch])


def _normalize(x: Doubles, weight: Floats) -> Doubles:
    normal: Doubles = x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPSILON) * weight
    return normal


def _rotate(x: Doubles, angles: Doubles) -> Doubles:
    first, second = np.split(x, 2, axis=-1)
    cosines, sines = (table.astype(np.float32).astype(np.float64) for table in (np.cos(angles), np.sin(angles)))
    return np.concatenate([first * cosines - second * sines, second * cosines + first * sines], axis=-1)


def some_case(
    kind: str,
    lengths: list[int],
    tokens: int,
    heads: int = 6,
    kv_heads: int = 2,
    size: int = 32,
    norm: bool = False,
    room: int | None = None,
    seed: int = 0,
    **others: Any,
) -> Case:
    """A random step over a random past; what was never written holds something too."""
    rng = np.random.default_rng(seed)
    room = max(lengths) + 2 if room is None else room
    shape = (len(lengths), kv_heads, room, size)
    if kind == "int8":
        elements = tuple(rng.integers(-127, 128, shape).astype(np.int8) for _ in range(2))
        scales = tuple(rng.uniform(0.001, 0.02, shape[:3]).astype(np.float32) for _ in range(2))
    else:
        elements, scales = tuple(rng.standard_normal(shape).astype(np.float16) for _ in range(2)), ()
    return Case(
        heads,
        rng.standard_normal((len(lengths), tokens, (heads + 2 * kv_heads) * size)).astype(np.float32),
        Cache((elements[0], elements[1]), scales),
        np.array(lengths, dtype=np.int32),
        rng.uniform(-3, 3, (room + 1, size // 2)),
        tuple(rng.standard_normal(size).astype(np.float32) for _ in range(2)) if norm else (),
        size**-0.5,
        **others,
    )
