from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from model_export.__main__ import main
from tests.conftest import ROOT


def test_an_export_prints_what_it_made(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(checkpoint), "--out", str(tmp_path / "out"), "--name", "mine/model"]) == 0
    assert capsys.readouterr().out.startswith("mine/model (llama), artefact format 1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--context", "1"], "--context 1: expected at least 2"),
        (["--context", "513"], "beyond the model's max_position_embeddings 512"),
        (["--threads", "0"], "--threads 0: expected at least 1"),
        (["--name", "two words"], "--name 'two words'"),
        (["--calibration", "a.txt"], "goes with --rounding calibrated"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(
    checkpoint: Path, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(checkpoint), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [["--block-size", "33"], ["--head-bits", "5"], ["--quantization", "int3"]])
def test_an_impossible_choice_is_refused_by_the_parser(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["model", "--out", str(tmp_path / "out"), *arguments])
    assert refused.value.code == 2


def test_help_needs_no_heavy_import() -> None:
    code = (
        "import sys; from model_export.__main__ import parser; parser().format_help(); print('onnx_ir' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "False\n"
