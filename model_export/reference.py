"""The same decoder in plain numpy, a layer at a time: what the graph is held against, without torch.

It follows the published equations over whole matrices, with no cache, no fused operators and no chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import erf

import numpy as np
from numpy.typing import NDArray

from model_export.config import ModelConfig
from model_export.decoder import EMBEDDING, HEAD, Decoder, decoder
from model_export.parts import Add, Attention, Gate, Linear, Norm, Part
from model_export.rope import table_names

Array = NDArray[np.float32]
Lookup = Callable[[str], Array | None]
Tables = tuple[Array, Array]


def logits(config: ModelConfig, weight: Lookup, input_ids: NDArray[np.int64]) -> Array:
    """Run the decoder over one sequence.

    Args:
        config: the model.
        weight: gives a weight of `model_export.weights.plan` by name, in float32 and without block padding, or None
            if the model has none of that name; called once a layer, so that only one layer is in memory.
        input_ids: int64 `(S,)`.

    Returns:
        float32 `(S, vocab_size)`.
    """
    hidden = hidden_states(config, weight, input_ids)
    head = weight(EMBEDDING if config.tie_word_embeddings else HEAD)
    assert head is not None
    product: Array = hidden @ head.T
    return finish_logits(decoder(config), product)


def finish_logits(model: Decoder, product: Array) -> Array:
    """Logits from the product of the last hidden states with the head, element by element."""
    scaled = scale(product, model.logits_factor)
    return scaled if model.logits_softcap is None else softcap(scaled, model.logits_softcap)


def scale(x: Array, factor: float) -> Array:
    """`x · factor`, without a copy where the factor is 1."""
    return x if factor == 1 else x * np.float32(factor)


def softcap(x: Array, cap: float) -> Array:
    """`cap · tanh(x / cap)`, element by element (Gemma 2, 2024, §2)."""
    capped: Array = np.tanh(x / np.float32(cap)) * np.float32(cap)
    return capped


def hidden_states(config: ModelConfig, weight: Lookup, input_ids: NDArray[np.int64]) -> Array:
    """Run the decoder over one sequence, as far as the final norm.

    Args:
        config: the model.
        weight: as for `logits`.
        input_ids: int64 `(S,)`.

    Returns:
        float32 `(S, hidden_size)`.
    """
    model = decoder(config)
    embedding = required(weight, EMBEDDING)
    hidden = scale(embedding[input_ids], model.embedding_factor)  # (S, hidden_size)
    del embedding
    tables = load_tables(config, weight, len(input_ids))
    for layer in model.layers:
        hidden = _layer(layer, weight, hidden, tables)
    return rms_norm(hidden, required(weight, model.norm.weight), model.norm.epsilon)


def load_tables(config: ModelConfig, weight: Lookup, length: int) -> Mapping[str, Tables]:
    """Cosines and sines of the first positions, each float32 `(length, D / 2)`, by the name of the rope."""
    found = {}
    for rope, _ in decoder(config).ropes:
        cosines, sines = (required(weight, name)[:length] for name in table_names(rope))
        found[rope] = cosines, sines
    return found


def _layer(layer: Sequence[Part], weight: Lookup, hidden: Array, tables: Mapping[str, Tables]) -> Array:
    x = hidden
    for part in layer:
        match part:
            case Norm():
                x = rms_norm(x, required(weight, part.weight), part.stored_epsilon)
            case Linear():
                x = _linear(weight, part, x)
            case Attention():
                x = attend(part, weight, x, tables.get(part.rope or ""))
            case Gate():
                x = gate(part, x)
            case Add():
                x = hidden = hidden + scale(x, part.factor)
    return hidden


def required(weight: Lookup, name: str) -> Array:
    """A weight that must be there; raises KeyError."""
    found = weight(name)
    if found is None:
        raise KeyError(name)
    return found


def _linear(weight: Lookup, part: Linear, x: Array) -> Array:
    product: Array = x @ required(weight, part.weight).T
    return product + required(weight, part.bias_name) if part.bias else product


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    """RMSNorm over the last axis, same shape out."""
    mean: Array = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
    normed: Array = x / np.sqrt(mean + np.float32(epsilon)) * weight
    return normed


def attend(part: Attention, weight: Lookup, qkv: Array, tables: Tables | None) -> Array:
    """Causal attention of one sequence.

    Args:
        part: of the layer.
        weight: gives the norms of queries and keys, if the model has them.
        qkv: float32 `(S, (heads + 2 * kv heads) * head_dim)`.
        tables: cosines and sines, each float32 `(S, head_dim / 2)`; None where positions aren't told apart.

    Returns:
        float32 `(S, heads * head_dim)`.
    """
    query, key, value = split_heads(part, qkv)
    if part.norms:
        query, key = (head_norm(norm, weight, x) for norm, x in zip(part.norms, (query, key), strict=True))
    if tables is not None:
        query, key = rotate(query, *tables), rotate(key, *tables)
    group = part.heads.count // part.kv_heads.count
    mixed = np.empty_like(query)
    for head in range(part.heads.count):
        shares = attention_shares(attention_scores(part, query[:, head], key[:, head // group]))
        mixed[:, head] = shares @ value[:, head // group]
    return mixed.reshape(len(qkv), -1)


def split_heads(part: Attention, qkv: Array) -> list[Array]:
    """Take q, k and v apart, each `(S, heads, head_dim)`."""
    split = qkv.reshape(len(qkv), -1, part.heads.layout.stored)
    return np.split(split, [part.heads.count, part.heads.count + part.kv_heads.count], axis=1)


def head_norm(norm: Norm, weight: Lookup, x: Array) -> Array:
    """Norm each head of `(S, heads, head_dim)`, or all of a position together, as wide as the weight is."""
    known = required(weight, norm.weight)
    return rms_norm(x.reshape(len(x), -1, len(known)), known, norm.stored_epsilon).reshape(x.shape)


def attention_scores(part: Attention, query: Array, key: Array) -> Array:
    """Of one head's queries and keys `(S, head_dim)`, -inf where a position doesn't see the other: `(S, S)`."""
    scores = query @ key.T * np.float32(part.scale)
    if part.softcap is not None:
        scores = softcap(scores, part.softcap)
    unseen = np.triu(np.full(scores.shape, -np.inf, dtype=np.float32), k=1)
    if part.window is not None:
        unseen += np.tril(np.full(scores.shape, -np.inf, dtype=np.float32), k=-part.window)
    result: Array = scores + unseen
    return result


def attention_shares(scores: Array) -> Array:
    """Softmax of each row."""
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Array = weights / weights.sum(axis=1, keepdims=True)
    return shares


def rotate(x: Array, cosines: Array, sines: Array) -> Array:
    """Turn heads `(S, heads, head_dim)` by their positions' angles."""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = cosines[:, None, :], sines[:, None, :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def gate(part: Gate, gate_up: Array) -> Array:
    """The gated activation between gate_up_proj and down_proj: `(S, 2 * intermediate_size)` → half of it."""
    first, up = np.split(gate_up, 2, axis=-1)
    product: Array = activate(part.activation, first) * up
    return product


def activate(kind: str, x: Array) -> Array:
    """The config's `hidden_act`, element by element."""
    match kind:
        case "silu":
            activated = x / (1 + np.exp(-x))
        case "gelu":
            activated = _gelu_exact(x)
        case "gelu_tanh":
            cubic = np.float32(0.7978845608) * (x + np.float32(0.044715) * x**3)
            activated = np.float32(0.5) * x * (1 + np.tanh(cubic))
        case "relu":
            activated = np.maximum(x, np.float32(0))
        case other:
            raise ValueError(other)
    result: Array = activated
    return result


def _gelu_exact(x: Array) -> Array:
    factors: Array = np.vectorize(lambda v: 0.5 * (1 + erf(v / 2**0.5)), otypes=[np.float32])(x)
    return x * factors
