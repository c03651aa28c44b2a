"""The ONNX graph of a decoder: one function per block, fused operators, weights outside.

Inputs and outputs (`B` sequences, `S` new tokens each, `M` positions in the cache, `P` wanted logits):

- `input_ids` int64 `(B, S)`
- `seqlens_k` int32 `(B,)`: length of each sequence after this step, minus one
- `total_sequence_length` int32 `()`: the longest of these lengths
- `logits_indices` int64 `(P,)`: positions in the flattened `(B * S)` for which logits are wanted
- `slots` int32 `(B,)`, with native operators: where in the cache each sequence lies; several may lie in one slot,
  at positions that follow one another
- `past_key_values.{i}.key`/`.value` and `present.{i}.key`/`.value` float32, float16 or int8 `(slots,
  num_key_value_heads, M, head_dim)`, with stock operators `(B, …)`: bound to the same memory, so that the cache is
  updated in place
- with int8, the same with `.key_scale`/`.value_scale` float32 `(slots, num_key_value_heads, M)`
- `logits` float32 `(P, vocab_size)`

Graphs with a head in two planes have one more input:

- `choices` float32 `(P or 1, 4)`, which may be left out for exact logits everywhere: how the token after each wanted
  position will be chosen, `[temperature, top_k, top_p, min_p]` with 0, 0, 1 and 0 for the likeliest or for no
  truncation, and a temperature of -1 for exact logits. Those that the choice is made among are then exact, and of the
  untruncated ones those with 0.99 of the probability; the others have an error (docs/kernels.md)

Graphs of artefacts for embeddings have two more (`Q` wanted hidden states):

- `hidden_indices` int64 `(Q,)`, which may be left out for none: positions in the flattened `(B * S)`
- `hidden_states` float32 `(Q, hidden_size)`, after the final norm
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from model_export.builder import MICROSOFT, Builder, rms_norm
from model_export.config import ModelConfig
from model_export.native_operators import CHOICES, NativeOperators
from model_export.operators import SLOTS, Inputs, Operators, cache_names, cache_type
from model_export.options import ExportOptions
from model_export.stock_operators import StockOperators
from model_export.weights import EMBEDDING, HEAD, Weight

OPSET = 21
IR_VERSION = 10
PAST, PRESENT = "past_key_values", "present"
HIDDEN_INDICES = "hidden_indices"


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
    builder = Builder(config, {w.name: w for w in weights}, offsets)
    operators = _operators(options)
    inputs = _inputs(config, operators)
    hidden = operators.embedding(builder, inputs["input_ids"])
    branch: ir.Value | None = None
    presents: list[ir.Value] = []
    for layer in range(config.num_hidden_layers):
        hidden, branch, present = decoder_layer(builder, operators, layer, hidden, branch, inputs)
        presents += present
    flat = flatten(builder, hidden, branch)
    outputs = [lm_head(builder, operators, flat, inputs["logits_indices"])]
    if CHOICES in builder.initializers:
        inputs = {**inputs, CHOICES: builder.initializers[CHOICES]}
    if options.pooling is not None:
        inputs = {**inputs, HIDDEN_INDICES: hidden_indices(builder)}
        outputs.append(hidden_states(builder, flat, inputs[HIDDEN_INDICES]))
    graph = ir.Graph(
        list(inputs.values()),
        [*outputs, *presents],
        nodes=builder.tape.nodes,
        initializers=list(builder.initializers.values()),
        opset_imports={"": OPSET, MICROSOFT: 1, **operators.domains},
        name=config.family,
    )
    return ir.Model(graph, ir_version=IR_VERSION, producer_name="firebrick")


def _operators(options: ExportOptions) -> Operators:
    if options.kernels == "native":
        return NativeOperators(options.kv_cache_dtype)
    return StockOperators(options.activations)


def _inputs(config: ModelConfig, operators: Operators) -> Inputs:
    def value(name: str, dtype: ir.DataType, shape: Sequence[int | str]) -> ir.Value:
        return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape(shape))

    values = [
        value("input_ids", ir.DataType.INT64, ["batch", "sequence"]),
        value("seqlens_k", ir.DataType.INT32, ["batch"]),
        value("total_sequence_length", ir.DataType.INT32, []),
        value("logits_indices", ir.DataType.INT64, ["num_logits"]),
    ]
    if operators.takes_slots:
        values.append(value(SLOTS, ir.DataType.INT32, ["batch"]))
    for layer in range(config.num_hidden_layers):
        for part, name in zip(operators.cache, cache_names(layer, PAST, operators.cache), strict=True):
            kind, shape = cache_type(config, part, operators)
            values.append(value(name, kind.dtype, shape))
    return {v.name or "": v for v in values}


def decoder_layer(
    b: Builder, operators: Operators, layer: int, hidden: ir.Value, branch: ir.Value | None, inputs: Inputs
) -> tuple[ir.Value, ir.Value, Sequence[ir.Value]]:
    """One layer; the residual sum is left open, so that the next norm can do it.

    Returns:
        the residual stream, the branch still to be added to it (both `(B, S, hidden_size)`), and the layer's
        present cache.
    """
    prefix = f"model.layers.{layer}"
    normed, hidden = norm(b, f"{prefix}.input_layernorm", hidden, branch)
    branch, present = attention(b, operators, f"{prefix}.self_attn", layer, normed, inputs)
    normed, hidden = norm(b, f"{prefix}.post_attention_layernorm", hidden, branch)
    return hidden, mlp(b, operators, f"{prefix}.mlp", normed), present


def attention(
    b: Builder, operators: Operators, name: str, layer: int, x: ir.Value, inputs: Inputs
) -> tuple[ir.Value, Sequence[ir.Value]]:
    """The attention block: `(B, S, hidden_size)`, same shape out, and the layer's present cache."""
    cache = operators.cache
    qkv = operators.linear(b, f"{name}.qkv_proj", x)
    past = [inputs[part] for part in cache_names(layer, PAST, cache)]
    mixed, *present = operators.attention(b, name, qkv, past, cache_names(layer, PRESENT, cache), inputs)
    for part, value in zip(cache, present, strict=True):
        value.type, shape = cache_type(b.config, part, operators)
        value.shape = ir.Shape(shape)
    return operators.linear(b, f"{name}.o_proj", mixed), present


def mlp(b: Builder, operators: Operators, name: str, x: ir.Value) -> ir.Value:
    """Gated feed-forward (Shazeer, GLU variants, 2020): `down(activation(gate(x)) * up(x))`."""
    return operators.gated(b, name, f"{name}.down_proj", operators.linear(b, f"{name}.gate_up_proj", x))


def norm(b: Builder, name: str, hidden: ir.Value, branch: ir.Value | None) -> tuple[ir.Value, ir.Value]:
    """Add the branch to the residual stream and take its RMSNorm; both results are `(B, S, hidden_size)`."""
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


def flatten(b: Builder, hidden: ir.Value, branch: ir.Value | None) -> ir.Value:
    """The last layer's sum, a row a position: `(B, S, hidden_size)` → `(B * S, hidden_size)`."""
    if branch is not None:
        hidden = b.op("Add", [hidden, branch], "model.residual")
    return b.op("Reshape", [hidden, b.constant("flat_hidden", [-1, b.config.hidden_size])], "model.flatten")


def lm_head(b: Builder, operators: Operators, flat: ir.Value, indices: ir.Value) -> ir.Value:
    """Final norm and head, only where logits are wanted: `(B * S, hidden_size)` → `(P, vocab_size)`."""
    wanted = b.op("Gather", [flat, indices], "model.wanted", axis=0)
    normed = rms_norm(b, "model.norm", wanted, b.stored("model.norm.weight"), b.config.rms_norm_eps)
    logits = operators.linear(b, "lm_head", normed, HEAD if HEAD in b.weights else EMBEDDING)
    logits.name = "logits"
    logits.shape, logits.type = ir.Shape(["num_logits", b.config.vocab_size]), ir.TensorType(ir.DataType.FLOAT)
    return logits


def hidden_indices(b: Builder) -> ir.Value:
    """The input that says for which positions hidden states are wanted; by default for none.

    With the default, who only wants logits needn't know of it.
    """
    indices = b.constant(HIDDEN_INDICES, [])
    indices.shape = ir.Shape(["num_hidden"])
    return indices


def hidden_states(b: Builder, flat: ir.Value, indices: ir.Value) -> ir.Value:
    """Final norm, only where hidden states are wanted: `(B * S, hidden_size)` → `(Q, hidden_size)`.

    They have a norm of their own: the head's rows are others, and mostly there are none of the two.
    """
    wanted = b.op("Gather", [flat, indices], "model.wanted_hidden", axis=0)
    states = rms_norm(b, "model.hidden_norm", wanted, b.stored("model.norm.weight"), b.config.rms_norm_eps)
    states.name = "hidden_states"
    states.shape, states.type = ir.Shape(["num_hidden", b.config.hidden_size]), ir.TensorType(ir.DataType.FLOAT)
    return states


def serialize(model: ir.Model) -> bytes:
    """Serialize the graph, the same bytes every time."""
    serialized: bytes = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
    return serialized
