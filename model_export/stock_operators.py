"""The decoder's parts in onnxruntime's own operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from model_export.builder import MICROSOFT, Builder, activate, normed_heads
from model_export.decoder import EMBEDDING
from model_export.operators import CACHES, Inputs
from model_export.options import Activations
from model_export.parts import Attention, Gate
from model_export.rope import table_names

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

    def gated(self, b: Builder, gate: Gate, down: str, gate_up: ir.Value) -> ir.Value:
        return self.linear(b, down, activate(b, gate, gate_up))

    def attention(
        self,
        b: Builder,
        part: Attention,
        qkv: ir.Value,
        past: Sequence[ir.Value],
        present: Sequence[str],
        inputs: Inputs,
    ) -> Sequence[ir.Value]:
        query, key, value = (qkv, None, None)
        if part.norms:
            query, key, value = normed_heads(b, part, part.norms, qkv)
        lengths = [inputs["seqlens_k"], inputs["total_sequence_length"]]
        tables = [] if part.rope is None else map(b.stored, table_names(part.rope))
        return b.outputs(
            "GroupQueryAttention",
            [query, key, value, *past, *lengths, *tables],
            part.name,
            [f"{part.name}.output", *present],
            MICROSOFT,
            num_heads=part.heads.count,
            kv_num_heads=part.kv_heads.count,
            scale=part.scale,
            do_rotary=int(part.rope is not None),
            rotary_interleaved=0,
            **({} if part.window is None else {"local_window_size": part.window}),
            **({} if part.softcap is None else {"softcap": part.softcap}),
        )
