"""How quantized weights are stored: as onnxruntime's stock operators want them, or as our native kernels do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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

    def lean(self, bits: int) -> bool:
        """Whether the scales of so many bits are to be those that 8 bits can hold, by `model_export.quantize.snap`."""

    def tensors(self, name: str, shape: tuple[int, ...], bits: int, block_size: int) -> tuple[TensorSpec, ...]:
        """List the stored tensors of an `(N, K)` weight, in file order."""

    def encode(self, values: Values, scales: Scales, bits: int) -> tuple[NDArray[Any], ...]:
        """Store a slab of rows: what `model_export.quantize.quantize` gives → one array for each stored tensor."""

    def decode(self, arrays: Sequence[NDArray[Any]], shape: tuple[int, int], bits: int) -> tuple[Values, Scales]:
        """Undo `encode` for a slab of `(rows, K)`.

        Raises:
            ValueError: the arrays aren't what `encode` gives; the message says why.
        """


@dataclass(frozen=True)
class _Chosen:
    """What the ways to store have in common.

    Attributes:
        scale_bits: 16 or 8, of weights of 4 bits and of the head.
        head: whether the weight is multiplied with the hidden states that a token is chosen by.
    """

    scale_bits: int = 16
    head: bool = False

    def lean(self, bits: int) -> bool:
        return self.scale_bits == 8 and (bits == 4 or self.head)


class StockStorage(_Chosen):
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


class NativeStorage(_Chosen):
    """Groups of values and scales, `model_export.native`; a head of 8 bits in two planes."""

    row_group = native.ROWS

    def planes(self, bits: int) -> bool:
        """Whether a weight of so many bits lies in two planes."""
        return self.head and bits == 8

    def tensors(self, name: str, shape: tuple[int, ...], bits: int, block_size: int) -> tuple[TensorSpec, ...]:
        n, k = shape
        if not self.planes(bits):
            return (TensorSpec(name, "U8", self._shape(n, k, bits)),)
        return (
            TensorSpec(name, "U8", self._shape(n, k, 4)),
            TensorSpec(f"{name}_low", "U8", native.low_shape(n, k)),
            TensorSpec(f"{name}_spread", "F32", (n,)),
        )

    def encode(self, values: Values, scales: Scales, bits: int) -> tuple[NDArray[Any], ...]:
        if not self.planes(bits):
            return (self._pack(values, scales, bits),)
        high, low, spreads = native.split(values, scales)
        return self._pack(high, scales, 4), low, spreads

    def decode(self, arrays: Sequence[NDArray[Any]], shape: tuple[int, int], bits: int) -> tuple[Values, Scales]:
        if not self.planes(bits):
            return self._unpack(arrays[0], shape, bits)
        high, scales = self._unpack(arrays[0], shape, 4)
        return native.join(high, arrays[1], arrays[2], scales, shape[1]), scales

    def _shape(self, n: int, k: int, bits: int) -> tuple[int, ...]:
        return native.lean_shape(n, k) if self.lean(bits) else native.record_shape(n, k, bits)

    def _pack(self, values: Values, scales: Scales, bits: int) -> NDArray[np.uint8]:
        return native.pack_lean(values, scales) if self.lean(bits) else native.pack(values, scales, bits)

    def _unpack(self, packed: NDArray[np.uint8], shape: tuple[int, int], bits: int) -> tuple[Values, Scales]:
        return native.unpack_lean(packed, *shape) if self.lean(bits) else native.unpack(packed, *shape, bits)


class NativeStorage1(NativeStorage):
    """The same in artefacts of format 1: no planes, no scales in 8 bits."""

    def planes(self, bits: int) -> bool:
        return False


def storage_of(kernels: Kernels, scale_bits: int = 16, head: bool = False) -> Storage:
    """How a weight is stored for some kernels; the arguments are those of `_Chosen`."""
    kinds: dict[Kernels, type[StockStorage] | type[NativeStorage]] = {"stock": StockStorage, "native": NativeStorage}
    return kinds[kernels](scale_bits, head)


STOCK = storage_of("stock")
