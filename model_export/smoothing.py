"""Outlier channels: a norm's weight that stands out moves into the linear layer behind it, as far as that helps.

Activations are rounded to 8 bits, and weights to 4, in blocks of neighbours. A channel that is a thousand times larger
than its neighbours takes all levels for itself, and they become 0. The norm's weight divided by a factor and the
layer's column multiplied by it give the same product; the geometric mean shares what stands out between both
(SmoothQuant, Xiao et al., 2022). Factors are powers of two, so nothing is rounded, and other norms stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from model_export.parallel import ROWS, slices
from model_export.rows import Rows, ScaledRows
from model_export.weights import Weight

STANDS_OUT = (
    32.0  # times the median magnitude of the norm's weights; of real models' norms that we know, 14 is the most
)
LARGEST = 2.0**20
TINY = 1e-30
FOLLOWERS = {  # what a layer's norms are followed by, and by nothing else
    "input_layernorm.weight": "self_attn.qkv_proj.weight",
    "post_attention_layernorm.weight": "mlp.gate_up_proj.weight",
}

Array = NDArray[np.float32]


def smoothed(weights: Sequence[Weight]) -> list[Weight]:
    """Take outlier channels out of norms, and into the quantized layers behind them.

    Args:
        weights: from `model_export.weights.plan`.

    Returns:
        the weights in the same order.
    """
    named = {weight.name: weight for weight in weights}
    for norm in weights:
        pairs = [(kind, linear) for kind, linear in FOLLOWERS.items() if norm.name.endswith(f".{kind}")]
        for kind, follower in pairs:
            linear = named.get(norm.name.removesuffix(kind) + follower)
            if linear is not None and linear.bits is not None:
                factors = channel_factors(norm.rows.read(0, norm.rows.shape[0]), linear.rows)
                if (factors != 1).any():
                    named[norm.name] = replace(norm, rows=ScaledRows(norm.rows, (1 / factors).astype(np.float32)))
                    named[linear.name] = replace(linear, rows=ScaledRows(linear.rows, factors))
    return list(named.values())


def channel_factors(norm: Array, linear: Rows) -> Array:
    """What to divide a norm's weights `(K,)` by, and to multiply the columns of the layer behind it with: `(K,)`."""
    factors = np.ones_like(norm)
    sizes = np.abs(norm)
    outliers = sizes > STANDS_OUT * np.median(sizes)
    if outliers.any():
        columns = np.zeros_like(norm)
        for rows in slices(linear.shape[0], ROWS):
            np.maximum(columns, np.abs(linear.read(rows.start, rows.stop)).max(axis=0), out=columns)
        relative = [x.astype(np.float64) / max(float(np.median(x)), TINY) for x in (sizes, columns)]
        shares = relative[0] / np.maximum(relative[1], TINY)
        shared = np.exp2(np.rint(np.log2(np.clip(np.sqrt(shares), 1, LARGEST))))
        factors[outliers] = shared[outliers]
    return factors
