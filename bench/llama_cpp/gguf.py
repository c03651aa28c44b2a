"""What a quantizer made of a GGUF file's tensors: their bits, and which types it chose."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from model_export.gguf.header import TensorInfo, read_header

NO_WEIGHTS = ("rope_freqs.", "rope_factors_")  # tables that follow from the config; ours aren't counted either


def read_tensors(path: Path) -> list[TensorInfo]:
    """List a file's tensors; raises as `model_export.gguf.header.read_header`."""
    return list(read_header(path).tensors.values())


def bits_per_weight(tensors: list[TensorInfo], parameters: int) -> float:
    """Bits of all tensors, scales included, over the checkpoint's weights; as `model_export.inspect.summary` counts.

    Args:
        tensors: of the file.
        parameters: weights of the checkpoint, a tied head once.
    """
    return 8 * sum(t.nbytes for t in tensors if not t.name.startswith(NO_WEIGHTS)) / parameters


def types_by_class(tensors: list[TensorInfo]) -> dict[str, dict[str, int]]:
    """Which types a quantizer chose: tensors of each type by class, `{"ffn_down": {"Q6_K": 2, "Q4_K": 3}, …}`."""
    found: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for tensor in tensors:
        kind = tensor.name.removesuffix(".weight").split(".")[-1]
        found[kind][tensor.type.name] += 1
    return {kind: dict(types) for kind, types in found.items() if not f"{kind}.".startswith(NO_WEIGHTS)}
