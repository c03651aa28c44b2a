from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.checkpoint import SHAPES, write_checkpoint
from bench.logits import Judged, Remembered
from bench.quality import Scores, artefact_bits, judge, main, statistics, windows
from model_export.export import export
from model_export.inspect import summary
from model_export.options import ExportOptions
from model_export.reading import read_artefact
from model_export.source import Source
from model_export.tokenizer import load_tokenizer
from model_export.verify import log_softmax

TEXT = "Anyone can measure what a rounded model has lost. " * 200


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tiny") / "checkpoint"
    write_checkpoint(SHAPES["tiny"], directory)
    for name, options in (("int4", ExportOptions()), ("float", ExportOptions(quantization="none"))):
        export(Source(directory, "tiny", None), directory.parent / name, options)
    return directory


def test_a_model_has_lost_nothing_against_itself(tiny: Path) -> None:
    model = Judged(tiny.parent / "float", 1)
    ids = np.random.default_rng(0).integers(5, 500, (3, 20), dtype=np.int64)
    found = statistics(judge(model, model, ids, 4))
    assert (found["kl_mean"], found["kl_p99"], found["top1_agreement"]) == (0, 0, 1)
    assert found["kl_mean_ci"] == [0, 0]


def test_a_remembered_model_answers_as_it_did(tiny: Path, tmp_path: Path) -> None:
    model = Judged(tiny.parent / "float", 1)
    remembered, ids = Remembered(model, tmp_path), np.arange(5, 25, dtype=np.int64)
    for _ in range(2):
        np.testing.assert_array_equal(remembered.logits(ids), model.logits(ids))
        assert remembered.greedy(ids.tolist(), 3) == model.greedy(ids.tolist(), 3)
    assert len(list(tmp_path.iterdir())) == 1


def test_perplexity_is_that_of_the_text(tiny: Path) -> None:
    model = Judged(tiny.parent / "float", 1)
    ids = np.array([[0, 9, 30, 77], [0, 10, 31, 78]], dtype=np.int64)
    found = statistics(judge(model, model, ids, 1))
    nll = [-log_softmax(model.logits(row))[at, row[at + 1]] for row in ids for at in range(3)]
    assert found["perplexity"] == pytest.approx(np.exp(np.mean(nll)), rel=1e-5)


def test_intervals_hold_the_mean() -> None:
    rng = np.random.default_rng(0)
    scores = Scores(rng.random((30, 8)), rng.random((30, 8)), rng.random((30, 8)), rng.random(30))
    found = statistics(scores)
    for name in ("perplexity", "kl_mean", "top1_agreement"):
        low, high = found[f"{name}_ci"]
        assert low < found[name] < high


def test_bits_are_counted_with_scales_as_stored_and_as_f16(tiny: Path) -> None:
    read = read_artefact(tiny.parent / "int4")
    found = artefact_bits(read)
    scales = sum(tensor.nbytes for name, tensor in read.tensors.items() if name.endswith("_scale"))
    saved = found["bits_per_weight"] - found["bits_per_weight_f16_scales"]
    assert saved == pytest.approx(8 * scales / 2 / summary(read)["parameters"], abs=2e-3)


def test_a_float_artefact_has_no_scales_to_count(tiny: Path) -> None:
    found = artefact_bits(read_artefact(tiny.parent / "float"))
    assert found["bits_per_weight"] == found["bits_per_weight_f16_scales"] == 32


def test_windows_begin_as_the_tokenizer_begins_a_text(tiny: Path) -> None:
    ids = windows(load_tokenizer(tiny), TEXT, (0,), length=32, count=5)
    assert ids.shape == (5, 32)
    assert (ids[:, 0] == 0).all()


def test_a_text_that_is_too_short_is_refused(tiny: Path) -> None:
    with pytest.raises(SystemExit, match="give a longer one"):
        windows(load_tokenizer(tiny), "short", (0,), length=32, count=5)


def test_the_figures_are_printed_and_written(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, out = tmp_path / "text.txt", tmp_path / "quality.json"
    text.write_text(TEXT)
    directory = str(tiny.parent / "int4")
    options = ["--window", "32", "--windows", "3", "--greedy", "3", "--json", str(out)]
    assert main([directory, "--against", str(tiny), "--text", str(text), *options]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])["artefacts"]
    assert result == json.loads(out.read_text())["artefacts"]
    keys = {"bits_per_weight", "perplexity", "kl_mean", "kl_p99", "top1_agreement"}
    assert keys <= result[directory].keys()
    assert result[directory]["kl_mean"] > result["float"]["kl_mean"] == 0


def test_a_missing_text_is_one_line(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [str(tiny.parent / "int4"), "--against", str(tiny), "--text", str(tmp_path / "none.txt")]
    assert main(arguments) == 2
    assert "none.txt" in capsys.readouterr().err
