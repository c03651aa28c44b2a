from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.tokenizer import main
from tests.conftest import ROOT


@pytest.mark.parametrize("directory", ["artefact", "checkpoint"])
def test_it_ends_in_one_json_line(directory: str, demo_artefact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = demo_artefact if directory == "artefact" else ROOT / "demo" / "checkpoint"
    assert main([str(path), "--runs", "1"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["load_ms"] > 0
    assert found["tokens_per_second"] > 0


def test_a_directory_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "tokenizer.json is missing" in capsys.readouterr().err
