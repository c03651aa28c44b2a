"""A directory to build in that is no one's, and programs in it that do as they are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.llama_cpp import build

Install = Callable[[str, str], Path]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where llama.cpp is built during a test."""
    monkeypatch.setattr(build, "DIRECTORY", tmp_path)
    monkeypatch.setattr(build, "SOURCE", tmp_path / "source")
    monkeypatch.setattr(build, "LLAMA", tmp_path / "source" / "vendor" / "llama.cpp")
    return tmp_path


@pytest.fixture
def install(directory: Path) -> Install:
    """Put a script where a program of the variant avx2 belongs."""

    def put(name: str, script: str) -> Path:
        path = directory / "avx2" / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
        return path

    return put
