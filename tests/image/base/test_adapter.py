"""The adapter out of its crate."""

from __future__ import annotations

from pathlib import Path

import pytest

from image.base.adapter import compile_adapter
from image.errors import ToolMissing


def test_a_machine_without_cargo_is_told_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"cargo is missing, which compiles the Web Adapter: https://rustup\.rs"):
        compile_adapter(tmp_path, {})
