"""`--quantization keep`: weights whose file has them in blocks that ours hold exactly aren't rounded again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from model_export.decoder import EMBEDDING, HEAD
from model_export.errors import WeightsNotKept
from model_export.weights import Weight


def keep(weights: Sequence[Weight]) -> list[Weight]:
    """Take quantized weights over as they are.

    Args:
        weights: from `model_export.weights.plan`.

    Returns:
        the same, with as many bits as each one's values take, 4 or 8, and the rounding "kept"; but an embedding or a
        head that can't be kept stays as planned, since quantizers mostly give it another type than the rest.

    Raises:
        WeightsNotKept: a linear layer can't be kept, or nothing can.
    """
    quantized = [weight for weight in weights if weight.bits is not None]
    lost = [w for w in quantized if w.rows.exact_bits is None and w.name not in (EMBEDDING, HEAD)]
    if lost:
        raise WeightsNotKept(
            f"--quantization keep: {lost[0].name} can't be kept, since it is {lost[0].rows.dtype} ({len(lost)} of "
            f"{len(quantized)} weights like it); Q4_0, Q5_0, Q8_0 and IQ4_NL can, where heads are a multiple of 16: "
            f"leave the option out"
        )
    return [_kept(weight) if weight.bits is not None else weight for weight in weights]


def _kept(weight: Weight) -> Weight:
    bits = weight.rows.exact_bits
    if bits is None:
        return replace(weight, rounding="nearest")  # 8 bits have nothing to gain from a search
    return replace(weight, bits=bits, rounding="kept")


def rounded(weights: Sequence[Weight]) -> list[str]:
    """Names of the quantized weights that aren't kept."""
    return [weight.name for weight in weights if weight.bits is not None and weight.rounding != "kept"]
