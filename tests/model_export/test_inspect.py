from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_export.inspect import main, summary
from model_export.reading import read_artefact
from tests.model_export.helpers import export_to


def test_bits_per_weight_are_those_computed_by_hand(checkpoint: Path, tmp_path: Path) -> None:
    found = summary(read_artefact(export_to(checkpoint, tmp_path / "out", head_bits=4)))
    # llama-mha-tied: embedding 320 x 64, two layers of 4 x 64 x 64 and 3 x 64 x 160, five norms of 64.
    quantized, norms = 320 * 64 + 2 * (4 * 64 * 64 + 3 * 64 * 160), 5 * 64
    assert found["parameters"] == quantized + norms
    assert found["bits_per_weight"] == round((quantized * (4 + 32 / 32) + norms * 32) / (quantized + norms), 3)


def test_an_unquantized_artefact_has_32_bits(checkpoint: Path, tmp_path: Path) -> None:
    assert summary(read_artefact(export_to(checkpoint, tmp_path / "out", quantization="none")))["bits_per_weight"] == 32


def test_a_person_reads_what_it_is(demo_artefact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(demo_artefact)]) == 0
    output = capsys.readouterr().out
    assert output.startswith("firebrick-demo (llama), artefact format 1\n")
    assert all(word in output for word in ("int4 (search", "model.safetensors", "vocabulary", "tokens"))


def test_a_program_reads_the_same(demo_artefact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(demo_artefact), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"]["id"] == "firebrick-demo"
    assert 4 < found["bits_per_weight"] < 9


def test_something_else_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
