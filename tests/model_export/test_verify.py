from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from model_export.artefact import FILES
from model_export.verify import main
from tests.conftest import ROOT
from tests.model_export.helpers import edit_json, export_to

MODEL = str(ROOT / "demo" / "checkpoint")


@pytest.fixture
def directory(demo_artefact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo_artefact, tmp_path / "artefact"))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_whole_artefact_passes(demo_artefact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(demo_artefact), "--against", MODEL]) == 0
    output = capsys.readouterr().out
    assert all(line in output for line in ("files      ok", "tokenizer  ok", "graph      ok"))


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_flipped_byte_is_found_and_its_file_named(
    directory: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray((directory / name).read_bytes())
    content[len(content) // 2] ^= 4
    (directory / name).write_bytes(content)
    error = refused(capsys, str(directory))
    assert name in error or name == "manifest.json"  # a wrong hash there blames the file that it is of


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named(directory: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / name).unlink()
    assert name in refused(capsys, str(directory))


def test_a_file_too_many_is_named(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / "notes.txt").write_text("mine")
    assert "notes.txt" in refused(capsys, str(directory))


def test_an_unknown_format_version_is_named(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(directory / "firebrick.json", format_version=99)
    assert "99" in refused(capsys, str(directory))


def test_a_manifest_without_files_is_refused(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit_json(directory / "manifest.json", files=...)
    assert "lists no files" in refused(capsys, str(directory))


def test_another_model_is_told_apart(
    demo_artefact: Path, checkpoints: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no export of that model" in refused(capsys, str(demo_artefact), "--against", str(checkpoints / "qwen2"))


def test_swapped_weights_fail_against_the_graphs_own_computation(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights whose hashes are right, in a graph that reads them elsewhere."""
    out = export_to(checkpoint, tmp_path / "out")
    other = export_to(checkpoint, tmp_path / "other", block_size=16)
    shutil.copy(other / "model.onnx", out / "model.onnx")
    manifest = json.loads((out / "manifest.json").read_text())
    manifest["files"]["model.onnx"] = json.loads((other / "manifest.json").read_text())["files"]["model.onnx"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    error = refused(capsys, str(out), "--against", str(checkpoint))
    assert "can't be loaded" in error or "logits differ" in error


def test_no_artefact_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "firebrick.json is missing" in refused(capsys, str(tmp_path))
    assert "no directory" in refused(capsys, str(tmp_path / "none"))
