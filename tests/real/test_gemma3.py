"""Gemma 3 270M, from a GGUF file that others made: a tokenizer with runs of blanks, logits and text."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.reading import read_artefact
from model_export.tokenizer import load_tokenizer
from model_export.verify import verify_logits
from tests.real.conftest import unquantized
from tests.real.greedy import hold_against_llama_cpp

BEGINNINGS = (
    *("The capital of France is", "def add(a, b):\n    return", "Once upon a time", "The largest ocean is the"),
    *("1, 2, 3, 4,", "# Shopping list\n\n- milk\n-", "Der Himmel ist", "for i in range(10):\n        print("),
)


@pytest.fixture(scope="module")
def floats(gemma3: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its artefact, unquantized."""
    return unquantized(gemma3, tmp_path_factory.mktemp("gemma3") / "floats")


def test_logits_are_those_of_a_plain_computation_with_its_weights(gemma3: Path, floats: Path) -> None:
    assert verify_logits(read_artefact(floats), str(gemma3), None).model_error < 1e-4


def test_greedy_text_is_llama_cpp_s(
    gemma3: Path, floats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load_tokenizer(floats)
    prompts = [tokenizer.encode(text).ids for text in BEGINNINGS]
    hold_against_llama_cpp(gemma3, floats, prompts, tmp_path, capsys)
