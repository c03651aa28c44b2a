"""How quantized weights are stored: as onnxruntime's stock operators want them, or as our native kernels do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from model_export import native
from model_export.options import Kernels
from model_export.quantize import blocks_per_row
from model_export.safetensors_file import TensorSpec

Values = NDArray[np.uint8]
Scales = NDArray[np.float16]


class Storage(Protocol):
    """The tensors of a quantized weight."""

    @property
    def row_group(self) -> int:
        """Rows that are stored together: a slab of a weight has a multiple of them, but for the last slab."""

    def tensors(self, name: str, shape: tuple[int, ...], bits: int, block_size: int) -> tuple[TensorSpec, ...]:
        """List the stored tensors of an `(N, K)` weight, in file order."""

    def encode(self, values: Values, scales: Scales, bits: int) -> tuple[NDArray[Any], ...]:
        """Store a slab of rows: what `model_export.quantize.quantize` gives → one array for each stored tensor."""

    def decode(self, arrays: Sequence[NDArray[Any]], shape: tuple[int, int], bits: int) -> tuple[Values, Scales]:
        """Undo `encode` for a slab of `(rows, K)`.

        Raises:
            ValueError: the arrays aren't what `encode` gives; the message says why.
        """


class StockStorage:
    """Values, and their scales in a tensor of their own: MatMulNBits' and GatherBlockQuantized's operands."""

    row_group = 1

    def tensors(self, name: str, shape: tuple[int, ...], bits: int, block_size: int) -> tuple[TensorSpec, ...]:
        blocks = blocks_per_row(shape[1], block_size)
        return (
            TensorSpec(name, "U8", (shape[0], blocks, block_size * bits // 8)),
            TensorSpec(f"{name}_scale", "F32", (shape[0], blocks)),
        )

    def encode(self, values: Values, scales: Scales, bits: int) -> tuple[NDArray[Any], ...]:
        # The values fit f16, but the stock operators want the activations' type; a cast in the graph doubled the time
        # of session creation and kept a copy.
        return values, scales.astype(np.float32)

    def decode(self, arrays: Sequence[NDArray[Any]], shape: tuple[int, int], bits: int) -> tuple[Values, Scales]:
        values, scales = arrays
        with np.errstate(over="ignore"):
            narrow = scales.astype(np.float16)
        if not (narrow == scales).all():
            raise ValueError("a scale is none that f16 can hold")
        return values, narrow


class NativeStorage:
    """Records of values and scales, `model_export.native`."""

    row_group = native.ROWS

    def tensors(self, name: str, shape: tuple[int, ...], bits: int, block_size: int) -> tuple[TensorSpec, ...]:
        return (TensorSpec(name, "U8", native.record_shape(shape[0], shape[1], bits)),)

    def encode(self, values: Values, scales: Scales, bits: int) -> tuple[NDArray[Any], ...]:
        return (native.pack(values, scales, bits),)

    def decode(self, arrays: Sequence[NDArray[Any]], shape: tuple[int, int], bits: int) -> tuple[Values, Scales]:
        return native.unpack(arrays[0], *shape, bits)


STORAGES: dict[Kernels, Storage] = {"stock": StockStorage(), "native": NativeStorage()}
