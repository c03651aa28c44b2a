from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.checkpoint import write_checkpoint
from model_export.artefact import FILES, sha256
from model_export.reading import read_artefact
from model_export.verify import compare, main, verify_logits
from tests.configs import CONFIGS
from tests.model_export.helpers import edit_json, export_to, flip_byte

NAME = "llama-gqa2-bf16"


@pytest.fixture(scope="module")
def original(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_to(checkpoints / NAME, tmp_path_factory.mktemp("verify") / "artefact")


@pytest.fixture
def directory(original: Path, tmp_path: Path) -> Path:
    """An artefact to be damaged."""
    return Path(shutil.copytree(original, tmp_path / "artefact"))


def accept_change(directory: Path, name: str) -> None:
    """Write the manifest anew for a file, as nobody should."""
    manifest = json.loads((directory / "manifest.json").read_text())
    path = directory / name
    manifest["files"][name] = {"sha256": sha256(path), "size": path.stat().st_size}
    (directory / "manifest.json").write_text(json.dumps(manifest))


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a failing verification says."""
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_good_artefact(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(original)]) == 0
    files, tokenizer = capsys.readouterr().out.splitlines()
    assert files.startswith("files      ok, ")
    assert tokenizer.startswith("tokenizer  ok, both forms agree on ")


@pytest.mark.parametrize("name", CONFIGS)
def test_a_good_artefact_against_its_model(
    name: str, checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artefact = export_to(checkpoints / name, tmp_path / name)
    assert main([str(artefact), "--against", str(checkpoints / name)]) == 0
    assert "graph      ok, logits within" in capsys.readouterr().out


def test_an_unquantized_artefact_is_its_model(checkpoints: Path, tmp_path: Path) -> None:
    artefact = read_artefact(export_to(checkpoints / NAME, tmp_path / "plain", quantization="none"))
    report = verify_logits(artefact, str(checkpoints / NAME), None)
    assert report.graph_error < 1e-5
    assert report.model_error < 1e-5
    assert report.kl_mean == pytest.approx(0, abs=1e-8)
    assert report.top1_agreement == 1


@pytest.mark.parametrize("where", [0.0, 0.3, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", sorted(FILES - {"manifest.json"}))
def test_a_flipped_byte_is_named(name: str, where: float, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip_byte(directory / name, int((directory / name).stat().st_size * where))
    assert name in said(capsys, directory)


def test_a_flipped_byte_anywhere_in_what_the_manifest_says_of_files(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (directory / "manifest.json").read_bytes()
    for position in range(0, content.index(b'"tools"'), 7):
        flip_byte(directory / "manifest.json", position)
        said(capsys, directory)
        (directory / "manifest.json").write_bytes(content)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(name: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / name).unlink()
    assert f"{name} is missing" in said(capsys, directory)


@pytest.mark.parametrize("name", sorted(FILES))
def test_an_empty_file_is_named(name: str, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / name).write_bytes(b"")
    assert name in said(capsys, directory)


def test_a_directory_that_is_no_artefact(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "firebrick.json is missing" in said(capsys, tmp_path)


def test_an_extra_file_is_named(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "notes.txt").touch()
    assert "notes.txt is not in manifest.json" in said(capsys, directory)


@pytest.mark.parametrize("version", [0, 3, "1", True, None, ...])
@pytest.mark.parametrize("name", ["firebrick.json", "manifest.json"])
def test_another_format_version_is_refused(
    name: str, version: Any, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit_json(directory / name, format_version=version)
    assert f"{name} has format_version" in said(capsys, directory)


def test_two_forms_of_the_tokenizer_that_differ(
    directory: Path, demo_artefact: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(demo_artefact / "tokenizer.kit", directory)
    accept_change(directory, "tokenizer.kit")
    assert "the two forms of the tokenizer differ" in said(capsys, directory)


def test_a_graph_that_computes_something_else(
    directory: Path, checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The same tensors in the same places, another activation.
    write_checkpoint({**CONFIGS[NAME], "hidden_act": "relu"}, tmp_path / "other")
    shutil.copy(export_to(tmp_path / "other", tmp_path / "relu") / "model.onnx", directory)
    accept_change(directory, "model.onnx")
    assert main([str(directory)]) == 0
    assert "from a plain computation with the same weights" in said(capsys, directory, "--against", checkpoints / NAME)


def test_a_graph_that_reads_its_weights_elsewhere(
    directory: Path, checkpoints: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(export_to(checkpoints / NAME, tmp_path / "other", block_size=16) / "model.onnx", directory)
    accept_change(directory, "model.onnx")
    error = said(capsys, directory, "--against", checkpoints / NAME)
    assert "can't be loaded" in error or "logits differ" in error


def test_a_graph_that_is_none(directory: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "model.onnx").write_bytes(b"not a graph")
    accept_change(directory, "model.onnx")
    assert "model.onnx can't be loaded" in said(capsys, directory, "--against", checkpoints / NAME)


@pytest.mark.parametrize("other", sorted(set(CONFIGS) - {NAME}))
def test_another_model_is_refused(
    other: str, original: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is no export of that model" in said(capsys, original, "--against", checkpoints / other)


@pytest.mark.parametrize(
    "change",
    [
        {"tie_word_embeddings": True},
        {"attention_bias": True},
        {"head_dim": 24},
        {"intermediate_size": 128},
        {"rope_theta": 5e5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_model_that_differs_in_one_thing_is_refused(
    change: dict[str, Any], original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint({**CONFIGS[NAME], **change}, tmp_path / "other")
    assert "is no export of that model" in said(capsys, original, "--against", tmp_path / "other")


def test_a_model_that_is_not_there(original: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "neither a directory nor a GGUF file nor a hub id" in said(capsys, original, "--against", "nonsense")


def test_logits_of_the_same_shape_and_other_weights_are_reported(
    original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(CONFIGS[NAME], tmp_path / "other", seed=1)
    assert main([str(original), "--against", str(tmp_path / "other")]) == 0
    report = verify_logits(read_artefact(original), str(tmp_path / "other"), None)
    assert report.model_error > 0.3
    assert report.kl_mean > 0.1


def test_the_comparison_by_hand() -> None:
    ours = np.array([[0, np.log(3)], [0, 0]], dtype=np.float32)
    theirs = np.zeros((2, 2), dtype=np.float32)
    theirs[1] = [0, 1]
    report = compare(ours, ours, theirs)
    assert report.graph_error == 0
    assert report.model_error == pytest.approx(np.log(3))
    first = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    p = 1 / (1 + np.e)
    second = p * np.log(p / 0.5) + (1 - p) * np.log((1 - p) / 0.5)
    assert report.kl_mean == pytest.approx((first + second) / 2)
    assert report.top1_agreement == 0
