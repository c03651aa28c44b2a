"""Rotary position embeddings: the cosine and sine tables that the attention operator reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_export.scalings import LongRope, RopeScaling, Scaling


@dataclass(frozen=True)
class Rope:
    """How heads are turned (Su et al., RoFormer, 2021).

    Attributes:
        theta: the base of the frequencies.
        scaling: how they are stretched.
        dim: elements of a head that are turned.
    """

    theta: float
    scaling: Scaling | None
    dim: int


def table_names(rope: str) -> tuple[str, str]:
    """What the cosines and the sines are called in the artefact."""
    return f"{rope}.cos_cached", f"{rope}.sin_cached"


def inverse_frequencies(rope: Rope, context: int) -> NDArray[np.float32]:
    """Compute the rotary frequencies of one head (Su et al., RoFormer, 2021, §3.2).

    Args:
        rope: how heads are turned.
        context: the longest text; LongRoPE has frequencies for long contexts and others for short ones.

    Returns:
        float32 `(dim / 2,)`, radians per token.
    """
    frequencies = _plain(rope)
    scaling = rope.scaling
    if scaling is None:
        return frequencies.astype(np.float32)
    if isinstance(scaling, LongRope):
        long = context > scaling.original_max_position_embeddings
        factors = np.array(scaling.long_factors if long else scaling.short_factors, dtype=np.float64)
        return (frequencies / factors).astype(np.float32)
    if scaling.kind == "linear":
        return (frequencies / scaling.factor).astype(np.float32)
    return _llama3(frequencies, scaling).astype(np.float32)


def _plain(rope: Rope) -> NDArray[np.float64]:
    exponents = np.arange(0, rope.dim, 2, dtype=np.float32) / np.float32(rope.dim)
    frequencies: NDArray[np.float64] = 1.0 / np.power(rope.theta, exponents.astype(np.float64))
    return frequencies


def llama3_factors(rope: Rope, scaling: RopeScaling) -> NDArray[np.float64]:
    """What Llama 3.1's scaling divides each frequency by, whatever the rope's is: float64 `(dim / 2,)`."""
    frequencies = _plain(rope)
    return frequencies / _llama3(frequencies, scaling)


def _llama3(frequencies: NDArray[np.float64], scaling: RopeScaling) -> NDArray[np.float64]:
    """Stretch long wavelengths by `factor`, keep short ones, blend between (Llama 3.1's scaling)."""
    turns = scaling.original_max_position_embeddings * frequencies / (2 * np.pi)
    blend = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)
    blend = np.clip(blend, 0.0, 1.0)
    return (1 - blend) * frequencies / scaling.factor + blend * frequencies


def tables(rope: Rope, context: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute the cosine and sine of every angle.

    Args:
        rope: how heads are turned.
        context: number of positions.
        width: columns, at least `dim / 2`; the rest turns nothing.

    Returns:
        two float32 arrays `(context, width)`.
    """
    # The product is rounded to float32 because that is what every trained checkpoint has seen.
    positions = np.arange(context, dtype=np.float32)
    angles = np.zeros((context, width), dtype=np.float32)
    angles[:, : rope.dim // 2] = positions[:, None] * inverse_frequencies(rope, context)[None, :]
    wide = angles.astype(np.float64)
    cosines, sines = np.cos(wide), np.sin(wide)
    if isinstance(rope.scaling, LongRope):
        cosines[:, : rope.dim // 2] *= rope.scaling.attention_factor
        sines *= rope.scaling.attention_factor
    return cosines.astype(np.float32), sines.astype(np.float32)
