"""Gradients through the parts of the decoder that `model_export.reference` computes, in plain numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model_export.config import ModelConfig
from model_export.heads import HeadLayout
from model_export.reference import Array, Lookup, activate, rms_norm, rotate

STEP = np.float32(1 / 64)  # of the difference that an activation's slope is taken from


def rms_norm_gradient(x: Array, weight: Array, epsilon: float, gradient: Array) -> Array:
    """The gradient at an RMSNorm's input, from that at its output; all of x's shape."""
    mean: Array = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
    inverse: Array = 1 / np.sqrt(mean + np.float32(epsilon))
    scaled = gradient * weight
    along: Array = np.mean(scaled * x, axis=-1, keepdims=True, dtype=np.float32)
    result: Array = inverse * (scaled - x * (along * inverse**2))
    return result


def gate_gradient(config: ModelConfig, gate_up: Array, gradient: Array) -> Array:
    """The gradient at gate_up_proj's output `(S, 2 * intermediate_size)`, from that at down_proj's input."""
    first, up = np.split(gate_up, 2, axis=-1)
    kind = config.hidden_act
    slope = (activate(kind, first + STEP) - activate(kind, first - STEP)) / (2 * STEP)
    return np.concatenate([gradient * up * slope, gradient * activate(kind, first)], axis=-1)


def attend_gradient(
    config: ModelConfig, weight: Lookup, name: str, qkv: Array, cosines: Array, sines: Array, gradient: Array
) -> Array:
    """The gradient at qkv_proj's output, from that at o_proj's input.

    Args:
        config: the model.
        weight: gives q_norm and k_norm, if the model has them.
        name: of the attention block.
        qkv: of one sequence, float32 `(S, (heads + 2 * kv heads) * head_dim)`.
        cosines: float32 `(S, head_dim / 2)`.
        sines: the same.
        gradient: float32 `(S, heads * head_dim)`.

    Returns:
        float32, of qkv's shape.
    """
    heads, length = HeadLayout(config.head_dim), len(qkv)
    q_heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    parts = np.split(qkv.reshape(length, -1, heads.stored), [q_heads, q_heads + kv_heads], axis=1)
    norms = [_head_norm(config, weight, f"{name}.{part}_norm.weight") for part in ("q", "k")]
    query, key = (rotate(norm[0](x), cosines, sines) for norm, x in zip(norms, parts, strict=False))
    found = _scores_gradient(config, query, key, parts[2], gradient.reshape(query.shape))
    # A rotation's transpose is the rotation back.
    turned = [rotate(g, cosines, -sines) for g in found[:2]]
    undone = [norm[1](x, g) for norm, x, g in zip(norms, parts, turned, strict=False)]
    return np.concatenate([*undone, found[2]], axis=1).reshape(length, -1)


def _scores_gradient(
    config: ModelConfig, query: Array, key: Array, value: Array, gradient: Array
) -> tuple[Array, Array, Array]:
    """Gradients at rotated queries and keys and at values, each `(S, heads, head_dim)`."""
    group, scale = query.shape[1] // key.shape[1], np.float32(config.head_dim**-0.5)
    future = np.triu(np.full((len(query), len(query)), -np.inf, dtype=np.float32), k=1)
    by_query, by_key, by_value = np.zeros_like(query), np.zeros_like(key), np.zeros_like(value)
    for head in range(query.shape[1]):
        other = head // group
        scores = query[:, head] @ key[:, other].T * scale + future
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares = scores / scores.sum(axis=1, keepdims=True)
        by_value[:, other] += shares.T @ gradient[:, head]
        by_share = gradient[:, head] @ value[:, other].T
        by_score = shares * (by_share - (by_share * shares).sum(axis=1, keepdims=True)) * scale
        by_query[:, head] = by_score @ key[:, other]
        by_key[:, other] += by_score.T @ query[:, head]
    return by_query, by_key, by_value


def _head_norm(
    config: ModelConfig, weight: Lookup, name: str
) -> tuple[Callable[[Array], Array], Callable[[Array, Array], Array]]:
    """A head's norm and its gradient; both pass things on if the model has none."""
    factors = weight(name) if config.qk_norm else None
    if factors is None:
        return lambda x: x, lambda x, gradient: gradient
    known, epsilon = factors, config.rms_norm_eps * HeadLayout(config.head_dim).norm_factor
    return (
        lambda x: rms_norm(x, known, epsilon),
        lambda x, gradient: rms_norm_gradient(x, known, epsilon, gradient),
    )
