"""The same decoder in plain numpy, a layer at a time: what the graph is held against, without torch.

It follows the published equations over whole matrices, with no cache, no fused operators and no chunks.
"""

from __future__ import annotations

from collections.abc import Callable
from math import erf

import numpy as np
from numpy.typing import NDArray

from model_export.config import ModelConfig
from model_export.heads import HeadLayout
from model_export.weights import COSINES, EMBEDDING, HEAD, SINES

Array = NDArray[np.float32]
Lookup = Callable[[str], Array | None]


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
    return product


def hidden_states(config: ModelConfig, weight: Lookup, input_ids: NDArray[np.int64]) -> Array:
    """Run the decoder over one sequence, as far as the final norm.

    Args:
        config: the model.
        weight: as for `logits`.
        input_ids: int64 `(S,)`.

    Returns:
        float32 `(S, hidden_size)`.
    """
    embedding = _required(weight, EMBEDDING)
    hidden = embedding[input_ids]  # (S, hidden_size)
    del embedding
    cosines, sines = (_required(weight, name)[: len(input_ids)] for name in (COSINES, SINES))
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}"
        normed = rms_norm(hidden, _required(weight, f"{prefix}.input_layernorm.weight"), config.rms_norm_eps)
        qkv = _linear(weight, f"{prefix}.self_attn.qkv_proj", normed)
        mixed = attend(config, weight, f"{prefix}.self_attn", qkv, cosines, sines)
        hidden = hidden + _linear(weight, f"{prefix}.self_attn.o_proj", mixed)
        normed = rms_norm(hidden, _required(weight, f"{prefix}.post_attention_layernorm.weight"), config.rms_norm_eps)
        product = gate(config, _linear(weight, f"{prefix}.mlp.gate_up_proj", normed))
        hidden = hidden + _linear(weight, f"{prefix}.mlp.down_proj", product)
    return rms_norm(hidden, _required(weight, "model.norm.weight"), config.rms_norm_eps)


def _required(weight: Lookup, name: str) -> Array:
    found = weight(name)
    if found is None:
        raise KeyError(name)
    return found


def _linear(weight: Lookup, name: str, x: Array) -> Array:
    bias = weight(f"{name}.bias")
    product: Array = x @ _required(weight, f"{name}.weight").T
    return product if bias is None else product + bias


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    """RMSNorm over the last axis, same shape out."""
    mean: Array = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
    normed: Array = x / np.sqrt(mean + np.float32(epsilon)) * weight
    return normed


def attend(config: ModelConfig, weight: Lookup, name: str, qkv: Array, cosines: Array, sines: Array) -> Array:
    """Causal attention of one sequence, between qkv_proj and o_proj.

    Args:
        config: the model.
        weight: gives q_norm and k_norm, if the model has them.
        name: of the attention block.
        qkv: float32 `(S, (heads + 2 * kv heads) * head_dim)`.
        cosines: float32 `(S, head_dim / 2)`.
        sines: the same.

    Returns:
        float32 `(S, heads * head_dim)`.
    """
    heads = HeadLayout(config.head_dim)
    q_heads, kv_heads, length = config.num_attention_heads, config.num_key_value_heads, len(qkv)
    split = qkv.reshape(length, q_heads + 2 * kv_heads, heads.stored)
    query, key, value = np.split(split, [q_heads, q_heads + kv_heads], axis=1)  # (S, heads, head_dim)
    if config.qk_norm:
        epsilon = config.rms_norm_eps * heads.norm_factor
        query = rms_norm(query, _required(weight, f"{name}.q_norm.weight"), epsilon)
        key = rms_norm(key, _required(weight, f"{name}.k_norm.weight"), epsilon)
    query, key = rotate(query, cosines, sines), rotate(key, cosines, sines)
    group = q_heads // kv_heads
    future = np.triu(np.full((length, length), -np.inf, dtype=np.float32), k=1)
    mixed = np.empty_like(query)
    for head in range(q_heads):
        scores = query[:, head] @ key[:, head // group].T * np.float32(config.head_dim**-0.5) + future
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        mixed[:, head] = scores / scores.sum(axis=1, keepdims=True) @ value[:, head // group]
    return mixed.reshape(length, -1)


def rotate(x: Array, cosines: Array, sines: Array) -> Array:
    """Turn heads `(S, heads, head_dim)` by their positions' angles."""
    first, second = np.split(x, 2, axis=-1)
    cos, sin = cosines[:, None, :], sines[:, None, :]
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def gate(config: ModelConfig, gate_up: Array) -> Array:
    """The gated activation between gate_up_proj and down_proj: `(S, 2 * intermediate_size)` → half of it."""
    first, up = np.split(gate_up, 2, axis=-1)
    product: Array = activate(config.hidden_act, first) * up
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
