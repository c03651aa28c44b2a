"""The artefact's weights: which there are, in order of use, and how each becomes the bytes of its tensors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from model_export.checkpoint import Checkpoint
from model_export.config import ModelConfig
from model_export.decoder import EMBEDDING, HEAD, decoder
from model_export.options import ExportOptions, Rounding
from model_export.parts import Attention, Linear, Norm
from model_export.quantize import pack, quantize
from model_export.rope import table_names
from model_export.rope import tables as rope_tables
from model_export.rows import CheckpointRows, ComputedRows, Rows, StackedRows
from model_export.safetensors_file import TensorSpec
from model_export.storage import STOCK, Scales, Storage, Values, storage_of

SLAB = 4 * 1024 * 1024  # weights quantized at a time, by one thread


@dataclass(frozen=True)
class Weight:
    """A weight of the artefact.

    Attributes:
        name: the checkpoint's, or for a fused weight its parts' common name.
        rows: where the values come from.
        bits: 4 or 8, or None for float32.
        block_size: weights that share a scale.
        rounding: how 4-bit scales are chosen, or "kept" where the checkpoint's own are.
        storage: how the quantized values are stored.
    """

    name: str
    rows: Rows
    bits: int | None = None
    block_size: int = 32
    rounding: Rounding = "nearest"
    storage: Storage = STOCK

    @property
    def lean(self) -> bool:
        """Whether its scales are those that 8 bits can hold."""
        return self.bits is not None and self.storage.lean(self.bits)

    @property
    def tensors(self) -> tuple[TensorSpec, ...]:
        """The stored tensors, in file order."""
        if self.bits is None:
            return (TensorSpec(self.name, "F32", self.rows.shape),)
        return self.storage.tensors(self.name, self.rows.shape, self.bits, self.block_size)

    def slabs(self) -> list[tuple[int, int]]:
        """First and last-but-one row of what is made at a time; whole groups of rows that are stored together."""
        rows, group = self.rows.shape[0], self.storage.row_group
        step = max(1, SLAB // max(1, int(np.prod(self.rows.shape[1:]))) // group) * group
        return [(start, min(start + step, rows)) for start in range(0, rows, step)]

    def contents(self, pool: Executor, window: int) -> Iterator[tuple[str, Iterable[memoryview]]]:
        """Give the bytes of each stored tensor, made slab by slab on the pool's threads."""
        bits = self.bits
        if bits is None:
            slabs = ordered(pool, lambda slab: self.rows.read(*slab), self.slabs(), window)
            yield self.name, (array_bytes(rows) for rows in slabs)
            return

        def quantized(slab: tuple[int, int]) -> tuple[Values, Scales]:
            if self.rounding == "kept":
                codes, scales = self.rows.codes(*slab, bits)
                return pack(codes, bits), scales
            return quantize(self.rows.read(*slab), bits, self.block_size, self.name, self.rounding, self.lean)

        yield from self.stored(quantized, pool, window)

    def stored(
        self, quantized: Callable[[tuple[int, int]], tuple[Values, Scales]], pool: Executor, window: int
    ) -> Iterator[tuple[str, Iterable[memoryview]]]:
        """Give the bytes of each stored tensor of a quantized weight.

        Args:
            quantized: gives values and scales of one of `slabs`; called on the pool's threads.
            pool: for that.
            window: slabs that may wait.
        """
        assert self.bits is not None
        bits, later = self.bits, list[tuple[NDArray[Any], ...]]()

        def first() -> Iterator[memoryview]:
            # What the other tensors take, scales, is small and waits in memory.
            encode = self.storage.encode
            for arrays in ordered(pool, lambda slab: encode(*quantized(slab), bits), self.slabs(), window):
                later.append(arrays[1:])
                yield array_bytes(arrays[0])

        yield self.tensors[0].name, first()
        for index, spec in enumerate(self.tensors[1:]):
            yield spec.name, (array_bytes(arrays[index]) for arrays in later)


def plan(config: ModelConfig, options: ExportOptions, checkpoint: Checkpoint) -> list[Weight]:
    """List the weights of an artefact in order of use."""
    model = decoder(config)
    width, quantized = model.attention[0].heads.layout.stored // 2, options.quantization == "int4"

    def matrix(name: str, rows: Rows, bits: int | None) -> Weight:
        return Weight(name, rows, bits if quantized else None, options.block_size, options.rounding)

    def norm(part: Norm) -> Weight:
        rows = CheckpointRows(checkpoint, part.weight, part.index, factor=part.factor, offset=part.offset)
        return Weight(part.weight, rows)

    def linear(part: Linear) -> Iterator[Weight]:
        columns = None if part.heads is None else part.heads.index
        rows = [CheckpointRows(checkpoint, f"{s.name}.weight", s.index, columns) for s in part.sources]
        yield matrix(part.weight, _stack(rows), 4)
        if part.bias:
            biases = [CheckpointRows(checkpoint, f"{s.name}.bias", s.index) for s in part.sources]
            yield Weight(part.bias_name, _stack(biases))

    head_bits = options.default_head_bits
    weights = [matrix(EMBEDDING, CheckpointRows(checkpoint, EMBEDDING), head_bits)]
    for name, rope in model.ropes:
        tables = rope_tables(rope, options.context_length(config), width)
        weights += [Weight(n, ComputedRows(table)) for n, table in zip(table_names(name), tables, strict=True)]
    for part in chain.from_iterable(model.layers):
        match part:
            case Norm():
                weights.append(norm(part))
            case Linear():
                weights += linear(part)
            case Attention(norms=norms):
                weights += map(norm, norms or ())
    weights.append(norm(model.norm))
    if not config.tie_word_embeddings:
        weights.append(matrix(HEAD, CheckpointRows(checkpoint, HEAD), head_bits))
    return [stored_for(weight, config, options) for weight in weights]


def stored_for(weight: Weight, config: ModelConfig, options: ExportOptions) -> Weight:
    """The weight, stored as the options say.

    The head's second pass knows what logits mean for a token's choice only if nothing is done to them behind it.
    """
    head = weight.name == (EMBEDDING if config.tie_word_embeddings else HEAD) and decoder(config).plain_logits
    return replace(weight, storage=storage_of(options.kernels, options.scales, head))


T = TypeVar("T")
S = TypeVar("S")


def ordered(pool: Executor, function: Callable[[S], T], items: Sequence[S], window: int) -> Iterator[T]:
    """Map over the pool in order, with at most `window` results waiting, so that memory stays bounded."""
    pending: deque[Future[T]] = deque()
    try:
        for item in items:
            if len(pending) >= window:
                yield pending.popleft().result()
            pending.append(pool.submit(function, item))
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


def _stack(parts: Sequence[Rows]) -> Rows:
    return parts[0] if len(parts) == 1 else StackedRows(parts)


def array_bytes(array: NDArray[np.generic]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
