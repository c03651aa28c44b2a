"""Our artefacts against transformers and against optimum's own export of the same checkpoint; needs torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from optimum.exporters.onnx import main_export

from model_export.config import load_config
from model_export.export import export
from model_export.options import ExportOptions
from model_export.reading import read_artefact
from model_export.running import run_graph
from model_export.source import Source
from tests.configs import CONFIGS
from tests.conftest import ROOT
from tests.golden_cases import EXACT_INT4, FLOAT, GOLDEN, relative_error, sequence
from tests.reference import models, record

LENGTH = 300


def ours(checkpoint: Path, out: Path, options: ExportOptions) -> np.ndarray:
    """All logits of the test sequence by our graph, `(LENGTH, vocab_size)`."""
    export(Source(checkpoint, checkpoint.name, None), out, options)
    config = load_config(checkpoint)
    return run_graph(read_artefact(out), sequence(config.vocab_size, LENGTH))


@pytest.mark.parametrize("name", [*CONFIGS, "demo"])
def test_every_position_is_that_of_transformers(name: str, checkpoints: Path, tmp_path: Path) -> None:
    checkpoint = ROOT / "demo" / "checkpoint" if name == "demo" else checkpoints / name
    found = ours(checkpoint, tmp_path / "out", FLOAT)
    expected = models.logits(models.load(checkpoint), sequence(found.shape[1], LENGTH))
    assert relative_error(found, expected) < 1e-4


@pytest.mark.parametrize("name", [*CONFIGS, "demo"])
def test_int4_is_transformers_with_dequantized_weights(name: str, checkpoints: Path, tmp_path: Path) -> None:
    checkpoint = ROOT / "demo" / "checkpoint" if name == "demo" else checkpoints / name
    found = ours(checkpoint, tmp_path / "out", EXACT_INT4)
    model = models.load_with_artefact_weights(checkpoint, tmp_path / "out")
    assert relative_error(found, models.logits(model, sequence(found.shape[1], LENGTH))) < 1e-4


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith(("llama", "mistral", "qwen2"))])
def test_optimum_agrees(name: str, checkpoints: Path, tmp_path: Path) -> None:
    main_export(str(checkpoints / name), tmp_path / "optimum", task="text-generation", no_post_process=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "optimum" / "model.onnx"))
    found = ours(checkpoints / name, tmp_path / "out", FLOAT)
    ids = sequence(found.shape[1], LENGTH)[None, :]
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "position_ids": np.arange(LENGTH)[None, :]}
    wanted = {i.name for i in session.get_inputs()}
    (expected,) = session.run(["logits"], {k: v for k, v in feeds.items() if k in wanted})
    assert relative_error(found, expected[0]) < 1e-4


def test_the_golden_file_is_up_to_date(tmp_path: Path) -> None:
    with np.load(GOLDEN) as recorded:
        for name, expected in record.compute(tmp_path).items():
            assert relative_error(recorded[name], expected) < 1e-5, name
