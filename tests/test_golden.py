"""Logits against those that transformers computed (tests/reference/record.py), without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from model_export.options import ExportOptions
from tests.configs import CONFIGS
from tests.golden_cases import EXACT_INT4, FAST_INT4, FLOAT, GOLDEN, engine, lengths, relative_error, sequence


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN) as recorded:
        return dict(recorded)


def errors(
    golden: dict[str, NDArray[np.float32]], kind: str, name: str, checkpoints: Path, out: Path, options: ExportOptions
) -> list[float]:
    loaded = engine(checkpoints / name, out, options)
    return [
        relative_error(loaded.last_logits(sequence(loaded.vocab_size, length)), expected)
        for length, expected in zip(lengths(loaded.context_length), golden[f"{kind}/{name}"], strict=True)
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_float_logits_are_those_of_transformers(
    golden: dict[str, NDArray[np.float32]], name: str, checkpoints: Path, tmp_path: Path
) -> None:
    options = ExportOptions(quantization="none", context=CONFIGS[name]["max_position_embeddings"])
    assert max(errors(golden, "float", name, checkpoints, tmp_path / "out", options)) < 1e-4


@pytest.mark.parametrize("name", CONFIGS)
def test_int4_logits_are_those_of_transformers_with_dequantized_weights(
    golden: dict[str, NDArray[np.float32]], name: str, checkpoints: Path, tmp_path: Path
) -> None:
    assert max(errors(golden, "int4", name, checkpoints, tmp_path / "out", EXACT_INT4)) < 1e-4


@pytest.mark.parametrize("name", CONFIGS)
def test_int8_activations_cost_little(
    golden: dict[str, NDArray[np.float32]], name: str, checkpoints: Path, tmp_path: Path
) -> None:
    assert np.mean(errors(golden, "int4", name, checkpoints, tmp_path / "out", FAST_INT4)) < 0.03


def test_float_and_int4_differ_so_that_the_goldens_can_tell_them_apart(
    golden: dict[str, NDArray[np.float32]],
) -> None:
    for name in CONFIGS:
        assert relative_error(golden[f"int4/{name}"][0], golden[f"float/{name}"][0]) > 1e-2
    assert FLOAT.quantization != EXACT_INT4.quantization
