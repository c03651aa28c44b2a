"""What a set of operators builds: the parts of a decoder that differ between stock and native kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import onnx_ir as ir

from model_export.builder import Builder
from model_export.config import ModelConfig
from model_export.heads import HeadLayout
from model_export.parts import Attention, Gate

SLOTS = "slots"  # the graph's input of that name, and the first axis of its cache
Inputs = Mapping[str, ir.Value]  # of the graph, by name
# What a layer's cache consists of, by the dtype that firebrick.json names; the order is that of inputs and outputs.
CACHES: Mapping[str, Mapping[str, ir.DataType]] = {
    "float32": {"key": ir.DataType.FLOAT, "value": ir.DataType.FLOAT},
    "float16": {"key": ir.DataType.FLOAT16, "value": ir.DataType.FLOAT16},
    "int8": {
        "key": ir.DataType.INT8,
        "value": ir.DataType.INT8,
        "key_scale": ir.DataType.FLOAT,
        "value_scale": ir.DataType.FLOAT,
    },
}


class Operators(Protocol):
    """Builds the nodes that do the work; everything around them is the same for all."""

    @property
    def domains(self) -> Mapping[str, int]:
        """Operator sets beyond ONNX' and onnxruntime's own, with their versions."""

    @property
    def takes_slots(self) -> bool:
        """Whether sequences may lie anywhere in the cache; else each has the place of its number in the batch."""

    @property
    def cache(self) -> Mapping[str, ir.DataType]:
        """What a layer's cache consists of, one of `CACHES`."""

    def embedding(self, b: Builder, input_ids: ir.Value) -> ir.Value:
        """Look rows up: `(B, S)` → `(B, S, hidden_size)`."""

    def linear(self, b: Builder, name: str, x: ir.Value, weight_name: str | None = None) -> ir.Value:
        """`x @ weight.T + bias`: `(…, K)` → `(…, N)`; the weight is the name's own unless another is given."""

    def gated(self, b: Builder, gate: Gate, down: str, gate_up: ir.Value) -> ir.Value:
        """`down(activation(gate) * up)` of a block: `(B, S, 2 * intermediate_size)` → `(B, S, hidden_size)`."""

    def attention(
        self,
        b: Builder,
        part: Attention,
        qkv: ir.Value,
        past: Sequence[ir.Value],
        present: Sequence[str],
        inputs: Inputs,
    ) -> Sequence[ir.Value]:
        """Grouped-query attention with rotary embedding over the cache (Ainslie et al., 2023).

        Args:
            b: the graph.
            part: of the layer.
            qkv: float32 `(B, S, (heads + 2 * kv heads) * head_dim)`.
            past: the layer's cache, in the order of `cache`.
            present: names for the same after this step.
            inputs: of the graph.

        Returns:
            float32 `(B, S, heads * head_dim)`, then the cache.
        """


def cache_names(layer: int, prefix: str, cache: Mapping[str, ir.DataType]) -> list[str]:
    """Names of a layer's inputs (prefix "past_key_values") or outputs ("present")."""
    return [f"{prefix}.{layer}.{part}" for part in cache]


def cache_type(config: ModelConfig, part: str, operators: Operators) -> tuple[ir.TensorType, list[int | str]]:
    """Type and shape of a part: `(slots or B, kv heads, M, head_dim)`, scales without the last."""
    first = SLOTS if operators.takes_slots else "batch"
    shape: list[int | str] = [first, config.num_key_value_heads, "max_sequence", HeadLayout(config.head_dim).stored]
    return ir.TensorType(operators.cache[part]), shape[:3] if part.endswith("_scale") else shape
