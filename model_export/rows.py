"""Weights as matrices whose rows are read a few at a time, from one checkpoint tensor or from several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_export.checkpoint import Checkpoint


class Rows(Protocol):
    """A float32 tensor of which any rows can be had."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""

    @property
    def source_bytes(self) -> int:
        """Bytes that reading all rows takes from the checkpoint."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start:stop`."""


@dataclass(frozen=True)
class CheckpointRows:
    """One tensor of a checkpoint; with an index, its rows or columns reordered and padded with zeros."""

    checkpoint: Checkpoint
    name: str
    row_index: NDArray[np.int64] | None = None
    column_index: NDArray[np.int64] | None = None
    factor: float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        shape = list(self.checkpoint.shape(self.name))
        if self.row_index is not None:
            shape[0] = len(self.row_index)
        if self.column_index is not None:
            shape[1] = len(self.column_index)
        return tuple(shape)

    @property
    def source_bytes(self) -> int:
        return self.checkpoint.stored_bytes(self.name)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        if self.row_index is None:
            rows = self.checkpoint.read(self.name, start, stop)
        else:
            rows = self._gather_rows(self.row_index[start:stop])
        if self.column_index is not None:
            rows = np.where(self.column_index < 0, np.float32(0), rows[:, self.column_index])
        return rows if self.factor == 1.0 else rows * np.float32(self.factor)

    def _gather_rows(self, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        real = wanted >= 0
        gathered = np.zeros((len(wanted), *self.shape[1:]), dtype=np.float32)
        if real.any():
            first, last = int(wanted[real].min()), int(wanted[real].max())
            gathered[real] = self.checkpoint.read(self.name, first, last + 1)[wanted[real] - first]
        return gathered


@dataclass(frozen=True)
class StackedRows:
    """Several tensors on top of each other, such as q, k and v."""

    parts: Sequence[Rows]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(part.shape[0] for part in self.parts), *self.parts[0].shape[1:])

    @property
    def source_bytes(self) -> int:
        return sum(part.source_bytes for part in self.parts)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        pieces = []
        for part in self.parts:
            length = part.shape[0]
            if start < length and stop > 0:
                pieces.append(part.read(max(start, 0), min(stop, length)))
            start, stop = start - length, stop - length
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


@dataclass(frozen=True)
class ComputedRows:
    """An array that isn't in the checkpoint."""

    array: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def source_bytes(self) -> int:
        return self.array.nbytes

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        return self.array[start:stop]
