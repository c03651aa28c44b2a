from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.sensitivity import main

TEXT = "Anyone can measure what a rounded model has lost. " * 200


@pytest.mark.parametrize("single", [False, True])
def test_every_class_and_every_weight(
    single: bool, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    options = ["--window", "16", "--windows", "2", "--threads", "1", *(["--single"] if single else [])]
    assert main([str(checkpoint), "--text", str(tmp_path / "text.txt"), *options]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])["groups"]
    classes = ["embed_tokens", "qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
    assert len(found) == 9 if single else list(found) == classes
    for row in found.values():
        assert row["kl_mean_ci"][0] <= row["kl_mean"] <= row["kl_mean_ci"][1]
        assert row["kl_expected"] > 0


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    assert main([str(tmp_path / "none"), "--text", str(tmp_path / "text.txt")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
