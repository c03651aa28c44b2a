from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model_export.calibration import load_windows
from model_export.checkpoint import Checkpoint
from model_export.config import load_config
from model_export.decoder import EMBEDDING
from model_export.options import ExportOptions
from model_export.parallel import workers
from model_export.reference import logits
from model_export.sensitivity import Sensitivity, rounding_errors
from model_export.tokenizer import load_tokenizer, read_facts
from model_export.verify import log_softmax
from model_export.weights import Weight, plan
from tests.conftest import ROOT
from tests.model_export.helpers import export_to

MODEL = ROOT / "demo" / "checkpoint"
FEW = [EMBEDDING, "model.layers.0.self_attn.o_proj.weight", "model.layers.1.self_attn.qkv_proj.weight"]
FEW += ["model.layers.0.mlp.down_proj.weight", "model.layers.2.mlp.gate_up_proj.weight"]


def measured(weights: dict[str, Weight], rounded: str, ids: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> float:
    """The divergence when one weight is in 4 bits."""
    config = load_config(MODEL)

    def read(name: str, change: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
        if name not in weights:
            return None
        matrix = weights[name].rows.read(0, weights[name].rows.shape[0])
        return matrix - rounding_errors(matrix, weights[name]) if change and name == rounded else matrix

    total = []
    for row in ids:
        expected, found = (log_softmax(logits(config, lambda n: read(n, c), row)) for c in (False, True))  # noqa: B023
        total.append((np.exp(expected) * (expected - found)).sum(axis=1).mean())
    return float(np.mean(total))


def test_costs_are_those_that_are_measured() -> None:
    config, tokenizer = load_config(MODEL), load_tokenizer(MODEL)
    ids = load_windows(None, tokenizer, read_facts(MODEL, config, tokenizer), 1024, config.vocab_size)[:8]
    weights = plan(config, ExportOptions(), Checkpoint.open(MODEL, config))
    with workers(2) as threads:
        costs = Sensitivity(config, weights, ids, threads).costs()
    by_name = {weight.name: weight for weight in weights}
    ratios = [costs[name] / measured(by_name, name, ids[:2]) for name in FEW]
    assert max(ratios) / min(ratios) < 3
    assert 0.4 < float(np.median(ratios)) < 2.5


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama-gqa2-bf16"])
def test_every_quantized_weight_has_a_cost(checkpoints: Path, name: str) -> None:
    config = load_config(checkpoints / name)
    weights = plan(config, ExportOptions(), Checkpoint.open(checkpoints / name, config))
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (2, 24), dtype=np.int64)
    with workers(1) as threads:
        costs = Sensitivity(config, weights, ids, threads, calibrated=True).costs()
    assert costs.keys() == {weight.name for weight in weights if weight.bits is not None}
    assert all(np.isfinite(cost) and cost > 0 for cost in costs.values())


def test_the_plan_is_in_the_artefact(checkpoint: Path, tmp_path: Path) -> None:
    from model_export.reading import read_artefact

    read = read_artefact(export_to(checkpoint, tmp_path / "out", bits_per_weight=6.0))
    wide = read.description["quantization"]["wide"]
    assert 0 < len(wide) < 9
    for name, tensor in read.tensors.items():
        if f"{name}_scale" in read.tensors:
            assert tensor.shape[2] == (32 if name in wide else 16)
    assert read.description["quantization"]["bits_per_weight"] <= 6.0
