"""Weights as matrices whose rows are read a few at a time, from one checkpoint tensor or from several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model_export.checkpoint import Checkpoint

Codes = tuple[NDArray[np.uint8], NDArray[np.float16]]


class Rows(Protocol):
    """A float32 tensor of which any rows can be had."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape, rows first."""

    @property
    def source_bytes(self) -> int:
        """Bytes that reading all rows takes from the checkpoint."""

    @property
    def dtype(self) -> str:
        """The type that the checkpoint has it in."""

    @property
    def exact_bits(self) -> int | None:
        """The fewest bits, 4 or 8, that hold all rows exactly in blocks of 32; None if none do."""

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Rows `start:stop`."""

    def codes(self, start: int, stop: int, bits: int) -> Codes:
        """The same rows exactly, where `exact_bits` are at most `bits`.

        Returns:
            values with the zero point added, uint8 `(rows, blocks, 32)`; scales, float16 `(rows, blocks)`.
        """


@dataclass(frozen=True)
class CheckpointRows:
    """One tensor of a checkpoint; with an index, its rows or columns reordered and padded with zeros.

    Where there are an offset and a factor, values are (what the checkpoint has + offset) · factor, but for padding.
    """

    checkpoint: Checkpoint
    name: str
    row_index: NDArray[np.int64] | None = None
    column_index: NDArray[np.int64] | None = None
    factor: float = 1.0
    offset: float = 0.0

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

    @property
    def dtype(self) -> str:
        return self.checkpoint.dtype(self.name)

    @property
    def exact_bits(self) -> int | None:
        # Padded heads have none: o_proj's padding lies within its blocks, and the others' cache would have to be too.
        changed = (
            self.row_index is not None or self.column_index is not None or (self.factor, self.offset) != (1.0, 0.0)
        )
        return None if changed else self.checkpoint.exact_bits(self.name)

    def codes(self, start: int, stop: int, bits: int) -> Codes:
        return self.checkpoint.codes(self.name, start, stop, bits)

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        if self.row_index is None:
            rows = self.checkpoint.read(self.name, start, stop)
            rows = rows + np.float32(self.offset) if self.offset else rows
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
            gathered[real] += np.float32(self.offset)
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

    @property
    def dtype(self) -> str:
        return ", ".join(dict.fromkeys(part.dtype for part in self.parts))

    @property
    def exact_bits(self) -> int | None:
        bits = [part.exact_bits for part in self.parts]
        found = [b for b in bits if b is not None]
        return max(found) if len(found) == len(bits) else None

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        pieces = [part.read(*rows) for part, rows in self._within(start, stop)]
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def codes(self, start: int, stop: int, bits: int) -> Codes:
        values, scales = zip(*(part.codes(*rows, bits) for part, rows in self._within(start, stop)), strict=True)
        return np.concatenate(values), np.concatenate(scales)

    def _within(self, start: int, stop: int) -> Iterator[tuple[Rows, tuple[int, int]]]:
        """The parts that these rows are of, and which rows of each."""
        for part in self.parts:
            length = part.shape[0]
            if start < length and stop > 0:
                yield part, (max(start, 0), min(stop, length))
            start, stop = start - length, stop - length


class _Inexact:
    """What no blocks of ours hold exactly."""

    @property
    def exact_bits(self) -> int | None:
        return None

    def codes(self, start: int, stop: int, bits: int) -> Codes:
        raise NotImplementedError("exact_bits is None")


@dataclass(frozen=True)
class ScaledRows(_Inexact):
    """Another tensor, each column times a factor of its own; a vector's values are its columns."""

    rows: Rows
    factors: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    @property
    def source_bytes(self) -> int:
        return self.rows.source_bytes

    @property
    def dtype(self) -> str:
        return self.rows.dtype

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        factors = self.factors if len(self.shape) > 1 else self.factors[start:stop]
        return self.rows.read(start, stop) * factors


@dataclass(frozen=True)
class ComputedRows(_Inexact):
    """An array that isn't in the checkpoint."""

    array: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def source_bytes(self) -> int:
        return self.array.nbytes

    @property
    def dtype(self) -> str:
        return "F32"

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        return self.array[start:stop]
