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
from dataclasses import dataclass

import onnx_ir as ir

from model_export.builder import MICROSOFT, Builder, rms_norm
from model_export.config import ModelConfig
from model_export.decoder import EMBEDDING, HEAD, Decoder, decoder
from model_export.native_operators import CHOICES, NativeOperators
from model_export.operators import SLOTS, Inputs, Operators, cache_names, cache_type
from model_export.options import ExportOptions
from model_export.parts import Add, Attention, Gate, Linear, Norm, Part
from model_export.stock_operators import StockOperators
from model_export.weights import Weight

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
    model = decoder(config)
    embedded = operators.embedding(builder, inputs["input_ids"])
    stream = Stream(builder.scaled(embedded, model.embedding_factor, "model.embed_tokens.scale"))
    presents: list[ir.Value] = []
    for layer, parts in enumerate(model.layers):
        stream, present = decoder_layer(builder, operators, layer, parts, stream, inputs)
        presents += present
    flat = flatten(builder, stream)
    outputs = [lm_head(builder, operators, model, flat, inputs["logits_indices"])]
    if CHOICES in builder.initializers:
        inputs = {**inputs, CHOICES: builder.initializers[CHOICES]}
    if options.pooling is not None:
        inputs = {**inputs, HIDDEN_INDICES: hidden_indices(builder)}
        outputs.append(hidden_states(builder, model, flat, inputs[HIDDEN_INDICES]))
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


@dataclass(frozen=True)
class Stream:
    """The residual stream; its last sum is left open, so that a norm can do it.

    Attributes:
        hidden: `(B, S, hidden_size)`.
        branch: still to be added to it, of the same shape; None for nothing.
        name: of the sum.
    """

    hidden: ir.Value
    branch: ir.Value | None = None
    name: str = ""

    def sum(self, b: Builder, name: str | None = None) -> ir.Value:
        """Add the branch, in a node of its own."""
        return self.hidden if self.branch is None else b.op("Add", [self.hidden, self.branch], name or self.name)


def decoder_layer(
    b: Builder, operators: Operators, layer: int, parts: Sequence[Part], stream: Stream, inputs: Inputs
) -> tuple[Stream, Sequence[ir.Value]]:
    """One layer; gives the residual stream after it, and its present cache."""
    x: ir.Value | None = None  # beside the stream; None for the stream itself
    gate: Gate | None = None
    present: Sequence[ir.Value] = []
    for part in parts:
        match part:
            case Norm() if x is None:
                x, stream = skip_norm(b, part, stream)
            case Norm():
                x = rms_norm(b, part, _known(x))
            case Linear():
                if x is None:
                    x = stream.sum(b)
                    stream = Stream(x)
                x = operators.linear(b, part.name, x) if gate is None else operators.gated(b, gate, part.name, x)
                gate = None
            case Attention():
                x, present = attention(b, operators, part, layer, _known(x), inputs)
            case Gate():
                gate = part  # the linear layer after it may do it
            case Add():
                x = b.scaled(_known(x), part.factor, f"{part.name}.scale")
                stream, x = Stream(stream.hidden, x, part.name), None
    return stream, present


def _known(x: ir.Value | None) -> ir.Value:
    assert x is not None, "a norm or a linear layer comes first"
    return x


def attention(
    b: Builder, operators: Operators, part: Attention, layer: int, qkv: ir.Value, inputs: Inputs
) -> tuple[ir.Value, Sequence[ir.Value]]:
    """Attention over the cache: `(B, S, (heads + 2 kv heads) * head_dim)` → `(B, S, heads * head_dim)`, the present."""
    cache = operators.cache
    past = [inputs[name] for name in cache_names(layer, PAST, cache)]
    mixed, *present = operators.attention(b, part, qkv, past, cache_names(layer, PRESENT, cache), inputs)
    for piece, value in zip(cache, present, strict=True):
        value.type, shape = cache_type(b.config, piece, operators)
        value.shape = ir.Shape(shape)
    return mixed, present


def skip_norm(b: Builder, part: Norm, stream: Stream) -> tuple[ir.Value, Stream]:
    """Sum the residual stream up and take its RMSNorm `(B, S, hidden_size)`."""
    if stream.branch is None:
        return rms_norm(b, part, stream.hidden), stream
    normed, _, _, total = b.outputs(
        "SkipSimplifiedLayerNormalization",
        [stream.hidden, stream.branch, b.stored(part.weight)],
        part.name,
        [f"{part.name}.output", "", "", f"{part.name}.residual"],
        MICROSOFT,
        epsilon=part.epsilon,
    )
    return normed, Stream(total)


def flatten(b: Builder, stream: Stream) -> ir.Value:
    """The last layer's sum, a row a position: `(B, S, hidden_size)` → `(B * S, hidden_size)`."""
    hidden = stream.sum(b, "model.residual")
    return b.op("Reshape", [hidden, b.constant("flat_hidden", [-1, b.config.hidden_size])], "model.flatten")


def lm_head(b: Builder, operators: Operators, model: Decoder, flat: ir.Value, indices: ir.Value) -> ir.Value:
    """Final norm and head, only where logits are wanted: `(B * S, hidden_size)` → `(P, vocab_size)`."""
    wanted = b.op("Gather", [flat, indices], "model.wanted", axis=0)
    normed = rms_norm(b, model.norm, wanted)
    logits = operators.linear(b, "lm_head", normed, HEAD if HEAD in b.weights else EMBEDDING)
    if (cap := model.logits_softcap) is None:
        logits = b.scaled(logits, model.logits_factor, "lm_head.scale")
    else:
        logits = b.op("Tanh", [b.scaled(logits, model.logits_factor / cap, "lm_head.scale")], "lm_head.tanh")
        logits = b.scaled(logits, cap, "lm_head.softcap")
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


def hidden_states(b: Builder, model: Decoder, flat: ir.Value, indices: ir.Value) -> ir.Value:
    """Final norm, only where hidden states are wanted: `(B * S, hidden_size)` → `(Q, hidden_size)`.

    They have a norm of their own: the head's rows are others, and mostly there are none of the two.
    """
    wanted = b.op("Gather", [flat, indices], "model.wanted_hidden", axis=0)
    states = rms_norm(b, model.norm, wanted, "model.hidden_norm")
    states.name = "hidden_states"
    states.shape, states.type = ir.Shape(["num_hidden", b.config.hidden_size]), ir.TensorType(ir.DataType.FLOAT)
    return states


def serialize(model: ir.Model) -> bytes:
    """Serialize the graph, the same bytes every time."""
    serialized: bytes = ir.serde.serialize_model(model).SerializeToString(deterministic=True)
    return serialized
