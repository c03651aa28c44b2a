"""The decoder's parts in onnxruntime's own operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from model_export.builder import MICROSOFT, Builder, activate, rms_norm
from model_export.heads import HeadLayout
from model_export.operators import CACHES, Inputs
from model_export.options import Activations
from model_export.weights import COSINES, EMBEDDING, SINES

# MatMulNBits' accuracy levels: 1 computes in float32, 4 with int8 activations.
ACCURACY_LEVELS: Mapping[Activations, int] = {"float32": 1, "int8": 4}


class StockOperators:
    """MatMulNBits, GatherBlockQuantized and GroupQueryAttention; unquantized, FusedMatMul and Gather."""

    def __init__(self, activations: Activations) -> None:
        """`activations`: what Int4 weights are multiplied with."""
        self._accuracy_level = ACCURACY_LEVELS[activations]
        self.domains: Mapping[str, int] = {}
        self.cache = CACHES["float32"]
        self.takes_slots = False

    def embedding(self, b: Builder, input_ids: ir.Value) -> ir.Value:
        weight = b.weights[EMBEDDING]
        name = "model.embed_tokens"
        if weight.bits is None:
            return b.op("Gather", [b.stored(EMBEDDING), input_ids], name, axis=0)
        values, scales = weight.tensors
        # The same bytes as a tied head's, seen as a matrix.
        matrix = b.stored(EMBEDDING, (values.shape[0], values.shape[1] * values.shape[2]), view=".rows")
        rows = b.op(
            "GatherBlockQuantized",
            [matrix, input_ids, b.stored(scales.name)],
            name,
            MICROSOFT,
            gather_axis=0,
            quantize_axis=1,
            block_size=weight.block_size,
            bits=weight.bits,
        )
        if b.config.hidden_size % weight.block_size == 0:
            return rows
        ends = b.constant("hidden_size", [b.config.hidden_size])
        return b.op("Slice", [rows, b.constant("zero", [0]), ends, b.constant("last_axis", [-1])], f"{name}.unpad")

    def linear(self, b: Builder, name: str, x: ir.Value, weight_name: str | None = None) -> ir.Value:
        weight = b.weights[weight_name or f"{name}.weight"]
        bias = b.stored(f"{name}.bias") if f"{name}.bias" in b.weights else None
        if weight.bits is None:
            product = b.op("FusedMatMul", [x, b.stored(weight.name)], name, MICROSOFT, transB=1)
            return product if bias is None else b.op("Add", [product, bias], f"{name}.add_bias")
        values, scales = weight.tensors
        return b.op(
            "MatMulNBits",
            [x, b.stored(values.name), b.stored(scales.name), None, None, bias],
            name,
            MICROSOFT,
            N=weight.rows.shape[0],
            K=weight.rows.shape[1],
            bits=weight.bits,
            block_size=weight.block_size,
            accuracy_level=self._accuracy_level,
        )

    def gated(self, b: Builder, name: str, down: str, gate_up: ir.Value) -> ir.Value:
        return self.linear(b, down, activate(b, name, gate_up))

    def attention(
        self, b: Builder, name: str, qkv: ir.Value, past: Sequence[ir.Value], present: Sequence[str], inputs: Inputs
    ) -> Sequence[ir.Value]:
        config = b.config
        query, key, value = split_heads(b, name, qkv) if config.qk_norm else (qkv, None, None)
        lengths = [inputs["seqlens_k"], inputs["total_sequence_length"]]
        return b.outputs(
            "GroupQueryAttention",
            [query, key, value, *past, *lengths, b.stored(COSINES), b.stored(SINES)],
            name,
            [f"{name}.output", *present],
            MICROSOFT,
            num_heads=config.num_attention_heads,
            kv_num_heads=config.num_key_value_heads,
            scale=config.head_dim**-0.5,
            do_rotary=1,
            rotary_interleaved=0,
        )


def split_heads(b: Builder, name: str, qkv: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Take q, k and v apart and norm every head of q and k."""
    config, heads = b.config, HeadLayout(b.config.head_dim)
    kv = config.num_key_value_heads * heads.stored
    sizes = b.constant("qkv_sizes", [config.num_attention_heads * heads.stored, kv, kv])
    query, key, value = b.outputs(
        "Split", [qkv, sizes], f"{name}.split", [f"{name}.{part}" for part in ("q", "k", "v")], axis=-1
    )
    return head_norm(b, f"{name}.q_norm", query), head_norm(b, f"{name}.k_norm", key), value


def head_norm(b: Builder, name: str, x: ir.Value) -> ir.Value:
    """RMSNorm of each head: `(B, S, heads * head_dim)`, same shape out."""
    heads = HeadLayout(b.config.head_dim)
    split = b.op("Reshape", [x, b.constant("by_head", [0, 0, -1, heads.stored])], f"{name}.by_head")
    # Padding adds zeros to the mean; the exporter corrected the weight, and epsilon shrinks alike.
    epsilon = b.config.rms_norm_eps * heads.norm_factor
    normed = rms_norm(b, name, split, b.stored(f"{name}.weight"), epsilon)
    return b.op("Reshape", [normed, b.constant("all_heads", [0, 0, -1])], f"{name}.all_heads")
