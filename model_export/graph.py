"""The ONNX graph of a decoder: one function per block, fused operators, weights outside.

Inputs and outputs (``B`` sequences, ``S`` new tokens each, ``M`` positions in the cache, ``P`` wanted logits):

- ``input_ids`` int64 ``(B, S)``
- ``seqlens_k`` int32 ``(B,)``: length of each sequence after this step, minus one
- ``total_sequence_length`` int32 ``()``: the longest of these lengths
- ``logits_indices`` int64 ``(P,)``: positions in the flattened ``(B * S)`` for which logits are wanted
- ``past_key_values.{i}.key``/``.value`` and ``present.{i}.key``/``.value`` float32 ``(B, num_key_value_heads, M,
  head_dim)``: bound to the same memory, so that the cache is updated in place
- ``logits`` float32 ``(P, vocab_size)``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir import tape

from model_export.config import ModelConfig
from model_export.heads import HeadLayout
from model_export.options import ExportOptions
from model_export.weights import COSINES, EMBEDDING, HEAD, SINES, Weight

OPSET = 21
IR_VERSION = 10
MICROSOFT = "com.microsoft"
WEIGHTS_FILE = "model.safetensors"
# MatMulNBits' accuracy levels: 1 computes in float32, 4 with int8 activations.
ACCURACY_LEVELS = {"float32": 1, "int8": 4}
DTYPES = {"U8": ir.DataType.UINT8, "F32": ir.DataType.FLOAT}


@dataclass
class Builder:
    """A graph in the making.

    Attributes:
        weights: planned weights by name.
        offsets: stored tensor name → offset in the weights file.
        accuracy_level: of the quantized matrix products.
        tape: the nodes so far.
        initializers: weights used so far, by the name of the graph value.
    """

    config: ModelConfig
    weights: Mapping[str, Weight]
    offsets: Mapping[str, int]
    accuracy_level: int
    tape: tape.Tape = field(default_factory=tape.Tape)
    initializers: dict[str, ir.Value] = field(default_factory=dict)

    def op(
        self, kind: str, inputs: Sequence[ir.Value | None], name: str, domain: str = "", **attributes: float | int
    ) -> ir.Value:
        """Add a node with one output."""
        output = ir.Value(name=f"{name}.output")
        return self.tape.op(kind, inputs, attributes, domain=domain, name=name, output=output)

    def outputs(
        self,
        kind: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        names: Sequence[str],
        domain: str = "",
        **attributes: float | int,
    ) -> Sequence[ir.Value]:
        """Add a node with several outputs; an empty name leaves one out."""
        values = [ir.Value(name=n) for n in names]
        return self.tape.op_multi_out(kind, inputs, attributes, outputs=values, domain=domain, name=name)

    def constant(self, name: str, value: Sequence[int]) -> ir.Value:
        """An int64 vector, inside the graph."""
        if name not in self.initializers:
            tensor = ir.tensor(np.array(value, dtype=np.int64), name=name)
            self.initializers[name] = ir.Value(
                name=name, shape=ir.Shape([len(value)]), type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        return self.initializers[name]

    def stored(self, name: str, shape: tuple[int, ...] | None = None, view: str = "") -> ir.Value:
        """A tensor in the weights file, under its own shape or, with a ``view`` name, under another."""
        value_name = name + view
        if value_name not in self.initializers:
            weight = self.weights[name.removesuffix("_scale")]
            spec = next(spec for spec in weight.tensors if spec.name == name)
            tensor = ir.ExternalTensor(
                WEIGHTS_FILE,
                self.offsets[name],
                spec.nbytes,
                DTYPES[spec.dtype],
                shape=ir.Shape(shape or spec.shape),
                name=value_name,
            )
            self.initializers[value_name] = ir.Value(
                name=value_name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor
            )
        return self.initializers[value_name]


def build(
    config: ModelConfig, options: ExportOptions, weights: Sequence[Weight], offsets: Mapping[str, int]
) -> ir.Model:
    """Build the whole decoder.

    Args:
        config: the model.
        options: of the export.
        weights: from `model_export.weights.plan`.
        offsets: where each stored tensor starts in the weights file, in bytes.

    Returns:
        a model whose weights are all external.
    """
    builder = Builder(config, {w.name: w for w in weights}, offsets, ACCURACY_LEVELS[options.activations])
    inputs = _inputs(config)
    hidden = embedding(builder, inputs["input_ids"])
    branch: ir.Value | None = None
    presents: list[ir.Value] = []
    for layer in range(config.num_hidden_layers):
        hidden, branch, present = decoder_layer(builder, layer, hidden, branch, inputs)
        presents += present
    logits = lm_head(builder, hidden, branch, inputs["logits_indices"])
    logits.shape, logits.type = ir.Shape(["num_logits", config.vocab_size]), ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph(
        list(inputs.values()),
        [logits, *presents],
        nodes=builder.tape.nodes,
        initializers=list(builder.initializers.values()),
        opset_imports={"": OPSET, MICROSOFT: 1},
        name=config.family,
    )
    return ir.Model(graph, ir_version=IR_VERSION, producer_name="firebrick")


def _inputs(config: ModelConfig) -> dict[str, ir.Value]:
    def value(name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
        return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))

    values = [
        value("input_ids", ir.DataType.INT64, ["batch", "sequence"]),
        value("seqlens_k", ir.DataType.INT32, ["batch"]),
        value("total_sequence_length", ir.DataType.INT32, []),
        value("logits_indices", ir.DataType.INT64, ["num_logits"]),
    ]
    for name in _cache_names(config, "past_key_values"):
        values.append(value(name, ir.DataType.FLOAT, _cache_shape(config)))
    return {v.name or "": v for v in values}


def _cache_names(config: ModelConfig, prefix: str) -> list[str]:
    return [f"{prefix}.{i}.{part}" for i in range(config.num_hidden_layers) for part in ("key", "value")]


def _cache_shape(config: ModelConfig) -> list[int | str]:
    return ["batch", config.num_key_value_heads, "max_sequence", HeadLayout(config.head_dim).stored]


def embedding(b: Builder, input_ids: ir.Value) -> ir.Value:
    """Look rows up: ``(B, S)`` → ``(B, S, hidden_size)``."""
    weight = b.weights[EMBEDDING]
    name = "model.embed_tokens"
    if weight.bits is None:
        return b.op("Gather", [b.stored(EMBEDDING), input_ids], name, axis=0)
    spec = weight.tensors[0]
    row = spec.shape[1] * spec.shape[2]
    # The same bytes as a tied head's, seen as a matrix.
    values = b.stored(EMBEDDING, (spec.shape[0], row), view=".rows")
    rows = b.op(
        "GatherBlockQuantized",
        [values, input_ids, b.stored(weight.scale_name)],
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


def decoder_layer(
    b: Builder, layer: int, hidden: ir.Value, branch: ir.Value | None, inputs: Mapping[str, ir.Value]
) -> tuple[ir.Value, ir.Value, list[ir.Value]]:
    """One layer; the residual sum is left open, so that the next norm can do it.

    Returns:
        the residual stream, the branch still to be added to it (both ``(B, S, hidden_size)``), and the layer's
        present key and value.
    """
    prefix = f"model.layers.{layer}"
    normed, hidden = norm(b, f"{prefix}.input_layernorm", hidden, branch)
    branch, present = attention(b, f"{prefix}.self_attn", layer, normed, inputs)
    normed, hidden = norm(b, f"{prefix}.post_attention_layernorm", hidden, branch)
    return hidden, mlp(b, f"{prefix}.mlp", normed), present


def norm(b: Builder, name: str, hidden: ir.Value, branch: ir.Value | None) -> tuple[ir.Value, ir.Value]:
    """Add the branch to the residual stream and take its RMSNorm; both results are ``(B, S, hidden_size)``."""
    weight = b.stored(f"{name}.weight")
    epsilon = b.config.rms_norm_eps
    if branch is None:
        return rms_norm(b, name, hidden, weight, epsilon), hidden
    normed, _, _, total = b.outputs(
        "SkipSimplifiedLayerNormalization",
        [hidden, branch, weight],
        name,
        [f"{name}.output", "", "", f"{name}.residual"],
        MICROSOFT,
        epsilon=epsilon,
    )
    return normed, total


def rms_norm(b: Builder, name: str, x: ir.Value, weight: ir.Value, epsilon: float) -> ir.Value:
    """RMSNorm over the last axis (Zhang and Sennrich, 2019)."""
    return b.op("SimplifiedLayerNormalization", [x, weight], name, axis=-1, epsilon=epsilon, stash_type=1)


def linear(b: Builder, name: str, x: ir.Value, weight_name: str | None = None) -> ir.Value:
    """``x @ weight.T + bias``: ``(…, K)`` → ``(…, N)``."""
    weight = b.weights[weight_name or f"{name}.weight"]
    bias = b.stored(f"{name}.bias") if f"{name}.bias" in b.weights else None
    if weight.bits is None:
        product = b.op("FusedMatMul", [x, b.stored(weight.name)], name, MICROSOFT, transB=1)
        return product if bias is None else b.op("Add", [product, bias], f"{name}.add_bias")
    return b.op(
        "MatMulNBits",
        [x, b.stored(weight.name), b.stored(weight.scale_name), None, None, bias],
        name,
        MICROSOFT,
        N=weight.rows.shape[0],
        K=weight.rows.shape[1],
        bits=weight.bits,
        block_size=weight.block_size,
        accuracy_level=b.accuracy_level,
    )


def attention(
    b: Builder, name: str, layer: int, x: ir.Value, inputs: Mapping[str, ir.Value]
) -> tuple[ir.Value, list[ir.Value]]:
    """Grouped-query attention with rotary embedding over the cache (Ainslie et al., 2023)."""
    config = b.config
    qkv = linear(b, f"{name}.qkv_proj", x)
    query, key, value = split_heads(b, name, qkv) if config.qk_norm else (qkv, None, None)
    presents = [f"present.{layer}.key", f"present.{layer}.value"]
    output, *present = b.outputs(
        "GroupQueryAttention",
        [
            query,
            key,
            value,
            inputs[f"past_key_values.{layer}.key"],
            inputs[f"past_key_values.{layer}.value"],
            inputs["seqlens_k"],
            inputs["total_sequence_length"],
            b.stored(COSINES),
            b.stored(SINES),
        ],
        name,
        [f"{name}.output", *presents],
        MICROSOFT,
        num_heads=config.num_attention_heads,
        kv_num_heads=config.num_key_value_heads,
        scale=config.head_dim**-0.5,
        do_rotary=1,
        rotary_interleaved=0,
    )
    for value_ in present:
        value_.shape, value_.type = ir.Shape(_cache_shape(config)), ir.TensorType(ir.DataType.FLOAT)
    return linear(b, f"{name}.o_proj", output), present


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
    """RMSNorm of each head: ``(B, S, heads * head_dim)``, same shape out."""
    heads = HeadLayout(b.config.head_dim)
    split = b.op("Reshape", [x, b.constant("by_head", [0, 0, -1, heads.stored])], f"{name}.by_head")
    # Padding adds zeros to the mean; the exporter corrected the weight, and epsilon shrinks alike.
    epsilon = b.config.rms_norm_eps * heads.norm_factor
    normed = rms_norm(b, name, split, b.stored(f"{name}.weight"), epsilon)
    return b.op("Reshape", [normed, b.constant("all_heads", [0, 0, -1])], f"{name}.all_heads")


def mlp(b: Builder, name: str, x: ir.Value) -> ir.Value:
    """Gated feed-forward (Shazeer, GLU variants, 2020): ``down(activation(gate(x)) * up(x))``."""
    gate_up = linear(b, f"{name}.gate_up_proj", x)
    gate, up = b.outputs("Split", [gate_up], f"{name}.split", [f"{name}.gate", f"{name}.up"], axis=-1, num_outputs=2)
    product = b.op("Mul", [activation(b, f"{name}.act_fn", gate), up], f"{name}.mul")
    return linear(b, f"{name}.down_proj", product)


def activation(b: Builder, name: str, x: ir.Value) -> ir.Value:
    """The config's ``hidden_act``, element by element."""
    match b.config.hidden_act:
        case "silu":
            return b.op("QuickGelu", [x], name, MICROSOFT, alpha=1.0)
        case "gelu":
            return b.op("Gelu", [x], name, MICROSOFT)
        case "gelu_tanh":
            return b.op("FastGelu", [x], name, MICROSOFT)
        case "relu":
            return b.op("Relu", [x], name)
        case other:
            raise ValueError(other)


def lm_head(b: Builder, hidden: ir.Value, branch: ir.Value | None, indices: ir.Value) -> ir.Value:
    """Final norm and head, only where logits are wanted: ``(B, S, hidden_size)`` → ``(P, vocab_size)``."""
    if branch is not None:
        hidden = b.op("Add", [hidden, branch], "model.residual")
    flat = b.op("Reshape", [hidden, b.constant("flat_hidden", [-1, b.config.hidden_size])], "model.flatten")
    wanted = b.op("Gather", [flat, indices], "model.wanted", axis=0)
    normed = rms_norm(b, "model.norm", wanted, b.stored("model.norm.weight"), b.config.rms_norm_eps)
    logits = linear(b, "lm_head", normed, HEAD if HEAD in b.weights else EMBEDDING)
    logits.name = "logits"
    return logits


def serialize(model: ir.Model) -> bytes:
    """Serialize the graph, the same bytes every time."""
    serialized: bytes = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
    return serialized
