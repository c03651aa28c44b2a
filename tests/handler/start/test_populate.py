from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from handler.engine.kernels import populate_function
from handler.engine.weights import Weights
from handler.start import populate as module
from handler.start.populate import populate, read_ahead
from tests.kernels.models import LIBRARY, needs_library


def test_the_whole_file_is_asked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, advice: asked.append((start, length, advice)))
    monkeypatch.setattr(module, "PIECE", 100)
    (tmp_path / "weights").write_bytes(bytes(250))
    assert read_ahead(tmp_path / "weights") == 250
    assert asked == [(start, length, os.POSIX_FADV_WILLNEED) for start, length in [(0, 100), (100, 100), (200, 50)]]


def test_a_real_file_is_asked_for(demo_artefact: Path) -> None:
    path = demo_artefact / "model.safetensors"
    assert read_ahead(path) == path.stat().st_size


def test_a_system_that_refuses_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no such advice")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    (tmp_path / "weights").write_bytes(bytes(250))
    assert read_ahead(tmp_path / "weights") == 0


def test_a_file_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    assert read_ahead(tmp_path / "none") == 0


def resident_bytes(address: int) -> int:
    """What is in the page tables of the mapping at an address."""
    mappings = re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text())
    text = next(mapping for mapping in mappings if mapping.startswith(f"{address:x}-"))
    return int(text.split("Rss:")[1].split()[0]) * 1024


@needs_library
def test_populated_weights_are_in_the_page_tables(tmp_path: Path) -> None:
    save_file({"w": np.zeros(20_000_001, dtype=np.uint8)}, tmp_path / "w.safetensors")
    weights = Weights(tmp_path / "w.safetensors")
    assert resident_bytes(weights.address) < weights.nbytes / 2
    populate(weights, populate_function(LIBRARY))
    assert resident_bytes(weights.address) >= weights.nbytes
