"""The artefact's weights: which there are, in order of use, and how each becomes the bytes of its tensors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from model_export import rope
from model_export.checkpoint import Checkpoint
from model_export.config import ModelConfig
from model_export.heads import HeadLayout
from model_export.options import ExportOptions, Rounding
from model_export.quantize import pack, quantize
from model_export.rows import CheckpointRows, ComputedRows, Rows, StackedRows
from model_export.safetensors_file import TensorSpec
from model_export.storage import STOCK, Scales, Storage, Values, storage_of

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
COSINES = "model.rotary_emb.cos_cached"
SINES = "model.rotary_emb.sin_cached"
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
    heads = HeadLayout(config.head_dim)
    query = heads.index(config.num_attention_heads)
    key = heads.index(config.num_key_value_heads)
    quantized = options.quantization == "int4"
    head_bits = options.default_head_bits if quantized else None

    def vector(name: str) -> Weight:
        return Weight(name, CheckpointRows(checkpoint, name))

    def linear(name: str, parts: dict[str, NDArray[np.int64] | None], bias: bool) -> Iterator[Weight]:
        """A linear layer over the rows of its parts (checkpoint name → row index)."""
        columns = query if name.endswith("o_proj") else None
        weights = [CheckpointRows(checkpoint, f"{part}.weight", i, columns) for part, i in parts.items()]
        yield Weight(f"{name}.weight", _stack(weights), 4 if quantized else None, options.block_size, options.rounding)
        if bias:
            yield Weight(f"{name}.bias", _stack([CheckpointRows(checkpoint, f"{p}.bias", i) for p, i in parts.items()]))

    def head_norm(name: str) -> Weight:
        return Weight(name, CheckpointRows(checkpoint, name, heads.index(1), factor=heads.norm_factor**0.5))

    cosines, sines = rope.tables(config, options.context_length(config), heads.stored // 2)
    weights = [
        Weight(EMBEDDING, CheckpointRows(checkpoint, EMBEDDING), head_bits, options.block_size, options.rounding),
        Weight(COSINES, ComputedRows(cosines)),
        Weight(SINES, ComputedRows(sines)),
    ]
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}"
        attention, mlp = f"{prefix}.self_attn", f"{prefix}.mlp"
        weights.append(vector(f"{prefix}.input_layernorm.weight"))
        projections = {f"{attention}.{part}_proj": i for part, i in (("q", query), ("k", key), ("v", key))}
        weights += linear(f"{attention}.qkv_proj", projections, config.qkv_bias)
        if config.qk_norm:
            weights += [head_norm(f"{attention}.q_norm.weight"), head_norm(f"{attention}.k_norm.weight")]
        weights += linear(f"{attention}.o_proj", {f"{attention}.o_proj": None}, config.output_bias)
        weights.append(vector(f"{prefix}.post_attention_layernorm.weight"))
        gate_up: dict[str, NDArray[np.int64] | None] = {f"{mlp}.gate_proj": None, f"{mlp}.up_proj": None}
        weights += linear(f"{mlp}.gate_up_proj", gate_up, config.mlp_bias)
        weights += linear(f"{mlp}.down_proj", {f"{mlp}.down_proj": None}, config.mlp_bias)
    weights.append(vector("model.norm.weight"))
    if not config.tie_word_embeddings:
        weights.append(Weight(HEAD, CheckpointRows(checkpoint, HEAD), head_bits, options.block_size, options.rounding))
    return [stored_for(weight, config, options) for weight in weights]


def stored_for(weight: Weight, config: ModelConfig, options: ExportOptions) -> Weight:
    """The weight, stored as the options say."""
    head = weight.name == (EMBEDDING if config.tie_word_embeddings else HEAD)
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
