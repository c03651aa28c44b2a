"""`python -m tests.kernels.head_cases FILE`: what this process' instructions compute of heads, for a list of cases."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import onnxruntime

from model_export.quantize import quantize
from model_export.storage import Scales, Values, storage_of
from tests.kernels.models import constant, node_model, session, value
from tests.kernels.plain import Floats

EXACT = (-1.0, 0.0, 1.0, 0.0)
GREEDY = (0.0, 0.0, 1.0, 0.0)
CHOICES = (GREEDY, (1.0, 0.0, 1.0, 0.0), (0.7, 40.0, 1.0, 0.0), (0.6, 0.0, 0.9, 0.0), (1.3, 0.0, 1.0, 0.05))


@dataclass(frozen=True)
class Quantized:
    """A head's weight: values, scales, columns, and the width of its scales."""

    values: Values
    scales: Scales
    k: int
    scale_bits: int


@dataclass(frozen=True)
class Case:
    """One run of Head."""

    weight: Quantized
    x: Floats
    choices: Floats


def some_head(n: int, k: int, scale_bits: int, seed: int = 0) -> Quantized:
    """A random weight in 8 bits, whose rows have different sizes as an embedding's do."""
    rng = np.random.default_rng(seed)
    weight = rng.standard_normal((n, k)).astype(np.float32) * rng.uniform(0.5, 1.5, (n, 1)).astype(np.float32)
    return Quantized(*quantize(weight / np.float32(k**0.5), 8, 32, lean=scale_bits == 8), k, scale_bits)


def some_states(rows: int, k: int, seed: int = 0) -> Floats:
    """Hidden states with a few large columns, as after a model's last norm."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, k)) * (1 + 8 * (rng.random(k) < 0.02)) * 3).astype(np.float32)


def head_session(weight: Quantized, threads: int = 1) -> onnxruntime.InferenceSession:
    """A session of one Head: x and choices → y."""
    n = len(weight.scales)
    arrays = storage_of("native", weight.scale_bits, head=True).encode(weight.values, weight.scales, 8)
    planes = [constant(name, array) for name, array in zip(("w", "w_low", "w_spread"), arrays, strict=True)]
    inputs = [value("x", ir.DataType.FLOAT, 2), *planes, value("choices", ir.DataType.FLOAT, 2)]
    sizes = {"n": n, "k": weight.k, "bits": 8, "scale_bits": weight.scale_bits}
    return session(node_model("Head", inputs, [value("y", ir.DataType.FLOAT, 2)], **sizes), threads)


def logits(head: onnxruntime.InferenceSession, x: Floats, choices: Sequence[Sequence[float]] | Floats) -> Floats:
    """Run a head: `(rows, n)`."""
    found: Floats = head.run(None, {"x": x, "choices": np.array(choices, dtype=np.float32)})[0]
    return found


def cases() -> Iterator[Case]:
    """Shapes at and around every border, every choice, and several rows."""
    for index, (n, k) in enumerate([(1, 1), (17, 33), (300, 130), (500, 192), (1000, 320)]):
        for scale_bits in (8, 16):
            weight = some_head(n, k, scale_bits, index)
            for rows in (1, 2, 5, 13):
                rng = np.random.default_rng(rows)
                choices = np.array([(EXACT, *CHOICES)[i] for i in rng.integers(0, 6, rows)], dtype=np.float32)
                yield Case(weight, some_states(rows, k, rows), choices)


if __name__ == "__main__":
    np.savez(sys.argv[1], *[logits(head_session(case.weight, 2), case.x, case.choices) for case in cases()])
