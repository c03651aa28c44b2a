"""Files that others made; `make test-real` fetches them, and without them the tests are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_export.export import export
from model_export.options import ExportOptions
from model_export.source import resolve
from tests.conftest import ROOT

REAL = ROOT / "build" / "real"


def fetched(path: Path) -> Path:
    """A file or directory, or the test is skipped with the reason."""
    if not path.exists():
        pytest.skip(f"{path} isn't there: make test-real fetches it")
    return path


def unquantized(gguf: Path, out: Path) -> Path:
    """Export a GGUF file as floats; gives `out`."""
    export(resolve(str(gguf), None), out, ExportOptions(quantization="none"))
    return out


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as Q4_1."""
    return fetched(REAL / "SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def gemma3() -> Path:
    """Gemma 3 270M as Q4_K_M."""
    return fetched(REAL / "gemma-3-270m-q4_k_m.gguf")


@pytest.fixture(scope="session")
def llama31() -> Path:
    """Llama 3.1's tokenizer.json and tokenizer_config.json."""
    return fetched(REAL / "llama-3.1")
