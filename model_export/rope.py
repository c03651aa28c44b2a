"""Rotary position embeddings: the cosine and sine tables that the attention operator reads."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model_export.config import ModelConfig, RopeScaling


def inverse_frequencies(config: ModelConfig) -> NDArray[np.float32]:
    """Compute the rotary frequencies of one head (Su et al., RoFormer, 2021, §3.2).

    Returns:
        float32 `(head_dim / 2,)`, radians per token.
    """
    frequencies = _plain(config)
    scaling = config.rope_scaling
    if scaling is None:
        return frequencies.astype(np.float32)
    if scaling.kind == "linear":
        return (frequencies / scaling.factor).astype(np.float32)
    return _llama3(frequencies, scaling).astype(np.float32)


def _plain(config: ModelConfig) -> NDArray[np.float64]:
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    frequencies: NDArray[np.float64] = 1.0 / np.power(config.rope_theta, exponents.astype(np.float64))
    return frequencies


def llama3_factors(config: ModelConfig, scaling: RopeScaling) -> NDArray[np.float64]:
    """What Llama 3.1's scaling divides each frequency by, whatever the config's is: float64 `(head_dim / 2,)`."""
    frequencies = _plain(config)
    return frequencies / _llama3(frequencies, scaling)


def _llama3(frequencies: NDArray[np.float64], scaling: RopeScaling) -> NDArray[np.float64]:
    """Stretch long wavelengths by `factor`, keep short ones, blend between (Llama 3.1's scaling)."""
    turns = scaling.original_max_position_embeddings * frequencies / (2 * np.pi)
    blend = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    blend = np.clip(blend, 0.0, 1.0)
    return (1 - blend) * frequencies / scaling.factor + blend * frequencies


def tables(config: ModelConfig, context: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute the cosine and sine of every angle.

    Args:
        context: number of positions.
        width: columns, at least `head_dim / 2`; the rest belongs to padding and turns nothing.

    Returns:
        two float32 arrays `(context, width)`.
    """
    # The product is rounded to float32 because that is what every trained checkpoint has seen.
    positions = np.arange(context, dtype=np.float32)
    angles = np.zeros((context, width), dtype=np.float32)
    angles[:, : config.head_dim // 2] = positions[:, None] * inverse_frequencies(config)[None, :]
    wide = angles.astype(np.float64)
    return np.cos(wide).astype(np.float32), np.sin(wide).astype(np.float32)
