from __future__ import annotations

import os
from pathlib import Path

import pytest

from handler import populate as module
from handler.populate import populate


def test_the_whole_file_is_asked_for_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, start, length, advice: asked.append((start, length, advice)))
    monkeypatch.setattr(module, "PIECE", 100)
    (tmp_path / "weights").write_bytes(bytes(250))
    assert populate(tmp_path / "weights") == 250
    assert asked == [(start, length, os.POSIX_FADV_WILLNEED) for start, length in [(0, 100), (100, 100), (200, 50)]]


def test_a_real_file_is_asked_for(demo_artefact: Path) -> None:
    path = demo_artefact / "model.safetensors"
    assert populate(path) == path.stat().st_size


def test_a_system_that_refuses_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no such advice")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    (tmp_path / "weights").write_bytes(bytes(250))
    assert populate(tmp_path / "weights") == 0


def test_a_file_that_is_gone_is_no_failure(tmp_path: Path) -> None:
    assert populate(tmp_path / "none") == 0
