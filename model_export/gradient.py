"""Gradients through the parts of the decoder that `model_export.reference` computes, in plain numpy."""

from __future__ import annotations

import numpy as np

from model_export.parts import Attention, Gate, Norm
from model_export.reference import (
    Array,
    Lookup,
    Tables,
    activate,
    attention_scores,
    attention_shares,
    head_norm,
    required,
    rotate,
    split_heads,
)

STEP = np.float32(1 / 64)  # of the difference that an activation's slope is taken from


def rms_norm_gradient(x: Array, weight: Array, epsilon: float, gradient: Array) -> Array:
    """The gradient at an RMSNorm's input, from that at its output; all of x's shape."""
    mean: Array = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
    inverse: Array = 1 / np.sqrt(mean + np.float32(epsilon))
    scaled = gradient * weight
    along: Array = np.mean(scaled * x, axis=-1, keepdims=True, dtype=np.float32)
    result: Array = inverse * (scaled - x * (along * inverse**2))
    return result


def gate_gradient(part: Gate, gate_up: Array, gradient: Array) -> Array:
    """The gradient at gate_up_proj's output `(S, 2 * intermediate_size)`, from that at down_proj's input."""
    first, up = np.split(gate_up, 2, axis=-1)
    kind = part.activation
    slope = (activate(kind, first + STEP) - activate(kind, first - STEP)) / (2 * STEP)
    return np.concatenate([gradient * up * slope, gradient * activate(kind, first)], axis=-1)


def attend_gradient(part: Attention, weight: Lookup, qkv: Array, tables: Tables | None, gradient: Array) -> Array:
    """The gradient at qkv_proj's output, from that at o_proj's input.

    Args:
        part: of the layer.
        weight: gives the norms of queries and keys, if the model has them.
        qkv: of one sequence, float32 `(S, (heads + 2 * kv heads) * head_dim)`.
        tables: cosines and sines, each float32 `(S, head_dim / 2)`; None where positions aren't told apart.
        gradient: float32 `(S, heads * head_dim)`.

    Returns:
        float32, of qkv's shape.
    """
    *parts, value = split_heads(part, qkv)
    norms = part.norms or (None, None)
    query, key = (
        _turn(x if norm is None else head_norm(norm, weight, x), tables) for norm, x in zip(norms, parts, strict=True)
    )
    *found, by_value = _scores_gradient(part, query, key, value, gradient.reshape(query.shape))
    # A rotation's transpose is the rotation back.
    back = None if tables is None else (tables[0], -tables[1])
    turned = [_turn(g, back) for g in found]
    undone = [
        g if norm is None else _head_norm_gradient(norm, weight, x, g)
        for norm, x, g in zip(norms, parts, turned, strict=True)
    ]
    return np.concatenate([*undone, by_value], axis=1).reshape(len(qkv), -1)


def _turn(x: Array, tables: Tables | None) -> Array:
    return x if tables is None else rotate(x, *tables)


def _scores_gradient(
    part: Attention, query: Array, key: Array, value: Array, gradient: Array
) -> tuple[Array, Array, Array]:
    """Gradients at rotated queries and keys and at values, each `(S, heads, head_dim)`."""
    group, scale = query.shape[1] // key.shape[1], np.float32(part.scale)
    by_query, by_key, by_value = np.zeros_like(query), np.zeros_like(key), np.zeros_like(value)
    for head in range(query.shape[1]):
        other = head // group
        scores = attention_scores(part, query[:, head], key[:, other])
        shares = attention_shares(scores)
        by_value[:, other] += shares.T @ gradient[:, head]
        by_share = gradient[:, head] @ value[:, other].T
        by_score = shares * (by_share - (by_share * shares).sum(axis=1, keepdims=True)) * scale
        if part.softcap is not None:
            by_score *= softcap_slope(np.maximum(scores, -np.float32(part.softcap)), part.softcap)
        by_query[:, head] = by_score @ key[:, other]
        by_key[:, other] += by_score.T @ query[:, head]
    return by_query, by_key, by_value


def softcap_slope(capped: Array, cap: float) -> Array:
    """The slope of `model_export.reference.softcap`, from what it gave."""
    slope: Array = 1 - (capped / np.float32(cap)) ** 2
    return slope


def _head_norm_gradient(norm: Norm, weight: Lookup, x: Array, gradient: Array) -> Array:
    """The gradient at heads `(S, heads, head_dim)`, from that after their norm."""
    known = required(weight, norm.weight)
    shape = (len(x), -1, len(known))
    found = rms_norm_gradient(x.reshape(shape), known, norm.stored_epsilon, gradient.reshape(shape))
    return found.reshape(x.shape)
