"""llama.cpp's rows in the table of bench.quality."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench.checkpoint import SHAPES, write_checkpoint
from bench.llama_cpp import convert
from bench.quality import main
from tests.bench.llama_cpp.conftest import Install
from tests.bench.llama_cpp.test_gguf import Q4_0, gguf

# In place of our program: any of 512 tokens is as likely as any other.
GUESSER = f"""#!{sys.executable}
import struct, sys
sys.stdout.buffer.write(struct.pack("<i", 512))
sys.stdout.buffer.flush()
while head := sys.stdin.buffer.read(8):
    past, count = struct.unpack("<2i", head)
    sys.stdin.buffer.read(4 * count)
    sys.stdout.buffer.write(bytes(4 * 512 * count))
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    checkpoint, text = tmp_path / "checkpoint", tmp_path / "text.txt"
    write_checkpoint(SHAPES["tiny"], checkpoint)
    text.write_text("Anyone can measure what a rounded model has lost. " * 40)
    size = ["--window", "16", "--windows", "2", "--greedy", "2", "--threads", "1"]
    return ["--against", str(checkpoint), "--text", str(text), *size, "--llama", "Q4_0"]


def test_a_type_of_theirs_is_judged_by_its_own_logits(
    arguments: list[str],
    install: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(convert, "LLAMA", tmp_path)
    quantized = gguf(tmp_path / "q.gguf", ("token_embd.weight", Q4_0, (64, 512)))
    install("llama-quantize", f'#!/bin/sh\ncp {quantized} "$2"\n')
    install("firebrick-logits", GUESSER)
    python = install("python", '#!/bin/sh\necho > "$7"\n')
    assert main([*arguments, "--reference-python", str(python)]) == 0
    output = capsys.readouterr().out.splitlines()
    row = json.loads(output[-1])["artefacts"]["llama.cpp Q4_0"]
    assert row["perplexity"] == pytest.approx(512)
    assert row["types"] == {"token_embd": {"Q4_0": 1}}
    assert row["bits_per_weight"] == row["bits_per_weight_f16_scales"] > 0
    assert any(line.startswith("| llama.cpp Q4_0 |") for line in output)


def test_without_the_reference_environment_it_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--reference-python", str(tmp_path / "none")]) == 2
    assert "--reference-python" in capsys.readouterr().err
