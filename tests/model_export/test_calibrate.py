from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.logits import Judged
from bench.quality import Scores, judge, statistics, windows
from demo.heldout import text as heldout
from model_export.tokenizer import load_tokenizer
from tests.conftest import ROOT
from tests.model_export.helpers import export_to

MODEL = ROOT / "demo" / "checkpoint"


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Scores]:
    """The demo model by several roundings, against itself, on held-out text."""
    work = tmp_path_factory.mktemp("calibrate")
    rng = random.Random(5)
    syllables = ("ba", "ko", "ri", "tu", "ven", "mas", "lop", "qui", "zer", "dan", "fy", "hul")
    words = " ".join("".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(14000))
    (work / "words.txt").write_text(words)
    model = Judged(export_to(MODEL, work / "float", quantization="none"), 2)
    ids = windows(load_tokenizer(MODEL), heldout(), model.artefact.prefix_ids, 256, 10)
    options: dict[str, dict[str, Any]] = {
        "nearest": {"rounding": "nearest"},
        "search": {"rounding": "search"},
        "calibrated": {"rounding": "calibrated"},
        "unrelated": {"rounding": "calibrated", "calibration": work / "words.txt"},
        "mixed": {"rounding": "calibrated", "bits_per_weight": 4.8},
    }
    made = {name: export_to(MODEL, work / name, **{"head_bits": 4, **chosen}) for name, chosen in options.items()}
    return {name: judge(Judged(directory, 2), model, ids, 1) for name, directory in made.items()}


def test_search_and_calibration_keep_what_they_promise(judged: dict[str, Scores]) -> None:
    found = {name: scores.divergence.mean() for name, scores in judged.items()}
    assert found["search"] <= 0.9 * found["nearest"]
    assert found["calibrated"] <= 0.5 * found["nearest"]


def test_an_unrelated_text_never_hurts(judged: dict[str, Scores]) -> None:
    limit = statistics(judged["search"])["kl_mean_ci"][1]
    assert judged["unrelated"].divergence.mean() <= limit


def test_more_bits_are_nearer(judged: dict[str, Scores]) -> None:
    assert judged["mixed"].divergence.mean() < judged["calibrated"].divergence.mean()


def weights_made_with(blas: int, threads: int, work: Path, model: Path) -> bytes:
    """Export as a process of its own, calibrated and mixed."""
    out = work / f"{blas}-{threads}"
    command = [sys.executable, "-m", "model_export", str(model), "--out", str(out), "--threads", str(threads)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(blas)}
    options = ["--rounding", "calibrated", "--bits-per-weight", "5", "--head-bits", "4"]
    subprocess.run([*command, *options], check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return (out / "manifest.json").read_bytes()


def test_neither_threads_nor_blas_s_threads_change_a_byte(tmp_path: Path) -> None:
    made = {weights_made_with(blas, threads, tmp_path, MODEL) for blas, threads in ((1, 1), (4, 2))}
    assert len(made) == 1


@pytest.mark.parametrize("name", ["qwen2", "qwen3", "llama-gqa2-bf16"])
def test_any_family_is_calibrated_and_mixed(checkpoints: Path, tmp_path: Path, name: str) -> None:
    out = export_to(checkpoints / name, tmp_path / "out", rounding="calibrated", bits_per_weight=6.5)
    logits = Judged(out, 1).logits(np.arange(8, dtype=np.int64))
    assert np.isfinite(logits).all()
