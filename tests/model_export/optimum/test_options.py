from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from model_export.__main__ import main
from tests.model_export.helpers import edit_json


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main([*map(str, arguments), "--builder", "optimum"]) == 2
    return capsys.readouterr().err


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_it_says_what_is_needed_and_how_to_get_it(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, checkpoint, "--out", tmp_path / "out")
    assert "needs torch, transformers and optimum-onnx" in told
    assert "BUILDER=optimum" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "option",
    [
        ("--kernels", "native"),
        ("--kv-cache", "f16"),
        ("--embeddings", "mean"),
        ("--rounding", "search"),
        ("--bits-per-weight", "5.0"),
        ("--calibration", "a.txt"),
        ("--quantization", "keep"),
    ],
)
def test_options_of_our_own_builder_are_refused(
    option: tuple[str, str], checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refused(capsys, checkpoint, "--out", tmp_path / "out", *option)
    assert f"{' '.join(option)} doesn't go with --builder optimum" in told


def test_a_checkpoint_without_config_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert "config.json is missing" in refused(capsys, tmp_path / "empty", "--out", tmp_path / "out")


def test_an_artefact_of_an_unknown_builder_is_refused_by_name(
    demo_artefact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from shutil import copytree

    from model_export.inspect import main as inspect

    copy = copytree(demo_artefact, tmp_path / "copy")
    edit_json(copy / "firebrick.json", builder="magic")
    assert inspect([str(copy)]) == 2
    assert "has builder 'magic'; this program knows firebrick, optimum" in capsys.readouterr().err
