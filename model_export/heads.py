"""Attention heads as the operators want them: padded to a multiple of 16, rotary halves apart.

onnxruntime's GroupQueryAttention rotates heads whose size is a multiple of 16. Another size is padded with zeros
that never leave a head: the rotary pairs (i, i + head_dim / 2) stay pairs, and o_proj gets zero columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MULTIPLE = 16


@dataclass(frozen=True)
class HeadLayout:
    """Size of a head in the checkpoint and in the artefact.

    Attributes:
        head_dim: the size in the checkpoint.
        rotated: elements that are turned, the first ones; None for all.
    """

    head_dim: int
    rotated: int | None = None

    @property
    def stored(self) -> int:
        """Size of a head in the artefact and in the cache."""
        return -(-self.head_dim // MULTIPLE) * MULTIPLE

    @property
    def padded(self) -> bool:
        """Whether the two sizes differ."""
        return self.stored != self.head_dim

    @property
    def norm_factor(self) -> float:
        """What a mean over a padded head must be corrected by: weights by its root, epsilon by itself."""
        return self.head_dim / self.stored

    def index(self, heads: int) -> NDArray[np.int64] | None:
        """Map stored elements to the checkpoint's.

        Returns:
            int64 `(heads * stored,)`, -1 for padding; None when all are where they were.
        """
        rotated = self.head_dim if self.rotated is None else self.rotated
        if not self.padded and rotated == self.head_dim:
            return None
        half, stored_half = rotated // 2, self.stored // 2
        one = np.full(self.stored, -1, dtype=np.int64)
        one[:half] = np.arange(half)
        one[stored_half : stored_half + half] = np.arange(half, 2 * half)
        one[np.flatnonzero(one < 0)[: self.head_dim - rotated]] = np.arange(rotated, self.head_dim)
        all_heads = one[None, :] + np.arange(heads)[:, None] * self.head_dim
        return np.where(one[None, :] < 0, -1, all_heads).reshape(-1)


@dataclass(frozen=True)
class Heads:
    """Heads side by side, as rows or as columns of a weight."""

    count: int
    layout: HeadLayout

    @property
    def width(self) -> int:
        """Their elements in the checkpoint."""
        return self.count * self.layout.head_dim

    @property
    def stored(self) -> int:
        """Their elements in the artefact."""
        return self.count * self.layout.stored

    @property
    def index(self) -> NDArray[np.int64] | None:
        """Maps stored elements to the checkpoint's, as that of the layout."""
        return self.layout.index(self.count)
