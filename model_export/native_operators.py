"""The decoder's parts in the operators of our native kernels, domain `firebrick`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from model_export.builder import Builder, activate
from model_export.heads import HeadLayout
from model_export.operators import CACHES, SLOTS, Inputs
from model_export.weights import COSINES, EMBEDDING, SINES, Weight

FIREBRICK = "firebrick"
CHOICES = "choices"
ALL_EXACT = (-1.0, 0.0, 1.0, 0.0)  # temperature, top_k, top_p, min_p
ATTENTION = {"float16": "AttentionF16", "int8": "AttentionInt8"}


class NativeOperators:
    """Linear, Head, Embedding, AttentionF16 and AttentionInt8."""

    def __init__(self, kv_cache_dtype: str) -> None:
        """`kv_cache_dtype`: "float16" or "int8"."""
        self._attention = ATTENTION[kv_cache_dtype]
        self.domains: Mapping[str, int] = {FIREBRICK: 1}
        self.cache = CACHES[kv_cache_dtype]
        self.takes_slots = True

    def embedding(self, b: Builder, input_ids: ir.Value) -> ir.Value:
        weight = b.weights[EMBEDDING]
        planes = [b.stored(f"{EMBEDDING}{part}") for part in _parts(weight)[:2]]
        return b.op("Embedding", [input_ids, *planes], "model.embed_tokens", FIREBRICK, **_sizes(weight))

    def linear(self, b: Builder, name: str, x: ir.Value, weight_name: str | None = None) -> ir.Value:
        return _linear(b, name, x, weight_name or f"{name}.weight", gated=0)

    def gated(self, b: Builder, name: str, down: str, gate_up: ir.Value) -> ir.Value:
        if b.config.hidden_act == "silu":  # the operator's own: one pass less over the activations
            return _linear(b, down, gate_up, f"{down}.weight", gated=1)
        return self.linear(b, down, activate(b, name, gate_up))

    def attention(
        self, b: Builder, name: str, qkv: ir.Value, past: Sequence[ir.Value], present: Sequence[str], inputs: Inputs
    ) -> Sequence[ir.Value]:
        config = b.config
        norms = [b.stored(f"{name}.{part}_norm.weight") if config.qk_norm else None for part in ("q", "k")]
        return b.outputs(
            self._attention,
            [qkv, *past, inputs["seqlens_k"], b.stored(COSINES), b.stored(SINES), *norms, inputs[SLOTS]],
            name,
            [f"{name}.output", *present],
            FIREBRICK,
            num_heads=config.num_attention_heads,
            kv_num_heads=config.num_key_value_heads,
            scale=config.head_dim**-0.5,
            # Padding adds zeros to a head's mean; the exporter corrected the weight, and epsilon shrinks alike.
            epsilon=config.rms_norm_eps * HeadLayout(config.head_dim).norm_factor,
        )


def _sizes(weight: Weight) -> dict[str, int]:
    assert weight.bits is not None
    scale_bits = 8 if weight.lean else 16
    return {"n": weight.rows.shape[0], "k": weight.rows.shape[1], "bits": weight.bits, "scale_bits": scale_bits}


def _parts(weight: Weight) -> list[str]:
    """What the names of a weight's tensors end with."""
    return [spec.name.removeprefix(weight.name) for spec in weight.tensors]


def _linear(b: Builder, name: str, x: ir.Value, weight_name: str, gated: int) -> ir.Value:
    bias = [b.stored(f"{name}.bias")] if f"{name}.bias" in b.weights else []
    weight = b.weights[weight_name]
    parts = [b.stored(f"{weight_name}{part}") for part in _parts(weight)]
    if len(parts) > 1:
        return b.op("Head", [x, *parts, choices(b)], name, FIREBRICK, **_sizes(weight))
    return b.op("Linear", [x, *parts, *bias], name, FIREBRICK, **_sizes(weight), gated=gated)


def choices(b: Builder) -> ir.Value:
    """The input that says among which logits a token is chosen; by default all are exact."""
    if CHOICES not in b.initializers:
        tensor = ir.tensor(np.array([ALL_EXACT], dtype=np.float32), name=CHOICES)
        shape = ir.Shape(["num_choices", len(ALL_EXACT)])
        kind = ir.TensorType(tensor.dtype)
        b.initializers[CHOICES] = ir.Value(name=CHOICES, shape=shape, type=kind, const_value=tensor)
    return b.initializers[CHOICES]
