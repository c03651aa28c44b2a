from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from model_export.config import parse_config
from model_export.decoder import decoder
from model_export.gradient import attend_gradient, gate_gradient, rms_norm_gradient
from model_export.parts import Gate
from model_export.reference import attend, gate, rms_norm
from tests.configs import CONFIGS

Floats = NDArray[np.float32]


def floats(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def slope(before: Floats, after: Floats, gradient: Floats) -> float:
    """How much the sum of outputs times gradient grew."""
    return float(((after - before).astype(np.float64) * gradient).sum())


def test_of_a_norm() -> None:
    x, weight, gradient, step = floats(4, 32), floats(32, seed=1), floats(4, 32, seed=2), 1e-2 * floats(4, 32, seed=3)
    grown = slope(rms_norm(x - step, weight, 1e-5), rms_norm(x + step, weight, 1e-5), gradient)
    found = rms_norm_gradient(x, weight, 1e-5, gradient)
    assert float((found * step).sum()) * 2 == pytest.approx(grown, rel=1e-2)


@pytest.mark.parametrize("kind", ["silu", "gelu", "gelu_tanh"])
def test_of_a_gated_activation(kind: str) -> None:
    part = Gate("mlp", kind)
    x, gradient, step = floats(4, 64), floats(4, 32, seed=2), 1e-2 * floats(4, 64, seed=3)
    grown = slope(gate(part, x - step), gate(part, x + step), gradient)
    assert float((gate_gradient(part, x, gradient) * step).sum()) * 2 == pytest.approx(grown, rel=1e-2)


@pytest.mark.parametrize("name", ["llama-gqa2-bf16", "qwen3"])
def test_of_attention(name: str) -> None:
    part = decoder(parse_config(CONFIGS[name])).attention[0]
    size = part.heads.layout.stored
    x = floats(6, part.heads.stored + 2 * part.kv_heads.stored)
    step = 1e-2 * floats(*x.shape, seed=3)
    gradient = floats(6, part.heads.stored, seed=2)
    angles = floats(6, size // 2, seed=4)
    tables = np.cos(angles), np.sin(angles)

    def norm(name: str) -> Floats:
        return floats(size, seed=5)

    before, after = (attend(part, norm, value, tables) for value in (x - step, x + step))
    found = attend_gradient(part, norm, x, tables, gradient)
    assert float((found * step).sum()) * 2 == pytest.approx(slope(before, after, gradient), rel=2e-2)
